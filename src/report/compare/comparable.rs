//! Whether the rewards of two runs mean the same.

use crate::report::record::Record;

/// Why the rewards of two runs do not mean the same, if they do not.
pub fn why_not(a: &Record, b: &Record) -> Option<String> {
    let (kind_a, kind_b) = (a.config.space.kind().name(), b.config.space.kind().name());
    if kind_a != kind_b {
        return Some(format!(
            "{} searches the space {kind_a} and {} the space {kind_b}, whose rewards say nothing of one another",
            a.name, b.name
        ));
    }
    if a.config.space != b.config.space {
        return Some(format!(
            "{} and {} have different settings in [space] of their config.toml: what one may find the other may not",
            a.name, b.name
        ));
    }
    let data = |record: &Record| {
        let first = record.history.runs.first();
        first.map(|run| run.data_sha256.clone())
    };
    (data(a) != data(b)).then(|| {
        format!(
            "{} and {} were trained on different data (their data_sha256 differ), so that their rewards say nothing \
             of one another",
            a.name, b.name
        )
    })
}
