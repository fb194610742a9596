//! Whether what is called validation or test was held out of what saved weights were trained on.

use super::metadata::{Facts, Metadata};
use super::{Course, Held, NetworkConfig};
use crate::data::{Dataset, Split};

/// What speaks against a validation or a test of these weights on these data, in words that follow the
/// name of their file; nothing where the validation records are those that were held out, or no test
/// record was trained on.
pub fn doubt(metadata: &Metadata, course: &Course, held: Held) -> Option<String> {
    let found = course.data_sha256();
    if metadata.data_sha256 != found {
        return Some(format!(
            "was trained on other data (sha256 {}) than this (sha256 {found}); what is read here may \
             be among what it was trained on",
            metadata.data_sha256
        ));
    }
    match (course, &metadata.facts) {
        (Course::Images(dataset, config), facts) => of_images(facts, dataset, config, held),
        (
            Course::Text(..),
            Facts::Text {
                hold_out: false, ..
            },
        ) if held == Held::Validation => Some("was trained on the validation part too".to_owned()),
        (Course::Text(corpus, _), Facts::Text { part_tokens, .. }) => {
            let moved = part_tokens.is_some_and(|tokens| tokens != corpus.part_tokens());
            moved.then(|| {
                "was trained on this text cut into other parts; what is read here may be among \
                 what it was trained on"
                    .to_owned()
            })
        }
        _ => None,
    }
}

fn of_images(
    facts: &Facts,
    dataset: &Dataset,
    config: &NetworkConfig,
    held: Held,
) -> Option<String> {
    let Facts::Images {
        split_seed,
        shuffle,
        training_records,
        hold_out,
        ..
    } = facts
    else {
        return None;
    };
    if !hold_out && held == Held::Validation {
        return Some(
            "was trained on all training records, those that validate among them".to_owned(),
        );
    }
    let Some(n) = *training_records else {
        return (held == Held::Validation).then(|| {
            "does not say how many records it was trained on (an earlier version wrote it); if that \
             was not with this --limit, what validates here may be among them"
                .to_owned()
        });
    };
    // Records in the order of the files, those of the test file last: the files may have been cut
    // elsewhere. A number from outside gives no list that is longer than that.
    let [n_train, n_test] = dataset.n_whole();
    let theirs = Split::new(n.min(n_train + n_test), *split_seed, *shuffle);
    let ours = match held {
        Held::Validation => {
            Split::new(dataset.n_train(), config.split_seed, config.shuffle).validation
        }
        Held::Test => (n_train as u32..).take(dataset.n_test()).collect(),
    };
    let is_trained_on = |record: &&u32| theirs.train.binary_search(record).is_ok();
    let n_trained_on = ours.iter().filter(is_trained_on).count();
    let is_as_it_should_be = match held {
        Held::Validation => theirs.validation == ours,
        Held::Test => n_trained_on == 0,
    };
    (!is_as_it_should_be).then(|| {
        format!(
            "was trained on a split of the first {n} records: {n_trained_on} of the {} that are read \
             here are among those that it was trained on",
            ours.len()
        )
    })
}
