//! The fields of a JSON object, taken one by one, with a message for each that is missing or unknown.

use super::ArchitectureError;
use super::json::{Json, quoted};
use crate::text::nearest;

/// How messages name the outermost object.
pub(super) const TOP: &str = "the architecture";

/// A small architecture, to copy from.
pub(super) const EXAMPLE: &str =
    r#"{"space":"conv","layers":[{"filter":[3,3],"filters":16,"inputs":[0]}]}"#;

/// The fields of one object, each taken once; what is left at the end is unknown.
pub(super) struct Fields {
    pub(super) place: String,
    fields: Vec<(String, Json)>,
}

impl Fields {
    pub(super) fn new(place: String, json: Json) -> Result<Self, ArchitectureError> {
        let Json::Object(fields) = json else {
            let text = format!("must be an object in curly brackets, not {json}; see {EXAMPLE}");
            return Err(rule(&place, text));
        };
        for (i, (key, _)) in fields.iter().enumerate() {
            if fields[..i].iter().any(|(earlier, _)| earlier == key) {
                return Err(rule(
                    &place,
                    format!("{} stands twice; keep one", quoted(key)),
                ));
            }
        }
        Ok(Fields { place, fields })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == key)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Json> {
        let at = self.fields.iter().position(|(name, _)| name == key)?;
        Some(self.fields.remove(at).1)
    }

    pub(super) fn require(&mut self, key: &str, advice: &str) -> Result<Json, ArchitectureError> {
        if let Some(json) = self.take(key) {
            return Ok(json);
        }
        // A misspelt key is the likeliest reason for one to be missing.
        let close = self.fields.iter().map(|(name, _)| name.as_str());
        let instead = match nearest(key, close) {
            Some(found) => format!("; is {} meant to be it?", quoted(found)),
            None => format!("; {advice}"),
        };
        Err(rule(&self.place, format!("`{key}` is missing{instead}")))
    }

    /// Refuses what is left.
    pub(super) fn finish(self, known: &[&str], owner: &str) -> Result<(), ArchitectureError> {
        let Some((key, _)) = self.fields.first() else {
            return Ok(());
        };
        let suggestion = did_you_mean(key, known);
        let keys = known
            .iter()
            .map(|k| format!("`{k}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let text = format!(
            "{owner} has no key {}{suggestion}; its keys are {keys}",
            quoted(key)
        );
        Err(rule(&self.place, text))
    }
}

/// What breaks a rule, and where.
pub(super) fn rule(place: &str, rule: String) -> ArchitectureError {
    ArchitectureError::Rule {
        place: place.to_owned(),
        rule,
    }
}

/// `, did you mean ...?` where one of the names is close.
pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(found) => format!(" (did you mean `{found}`?)"),
        None => String::new(),
    }
}
