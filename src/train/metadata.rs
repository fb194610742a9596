//! What a weights file says of itself: strings by name, as formats.md, section 3, has them.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::weights_error::WeightsError;
use crate::data::corpus::Level;
use crate::data::{Augment, MIN_LIMIT};
use crate::graph::step::NORM_EPSILON;
use crate::space::Architecture;

/// Entry of what wrote a file.
pub(super) const FORMAT: &str = "format";

/// Its value where the file has an entry [`DIGEST`] (`nas-engine` alone where it has none).
pub(super) const WITH_DIGEST: &str = "nas-engine 2";

/// Entry of the digest of all else.
pub(super) const DIGEST: &str = "content_sha256";

/// What a weights file says of itself.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The child.
    pub architecture: Architecture,
    /// Seed it was trained with.
    pub seed: u64,
    /// Digest of the data.
    pub data_sha256: String,
    /// Epochs trained.
    pub epochs: usize,
    /// What there is to say of its kind.
    pub facts: Facts,
}

/// What there is to say of a kind of child.
#[derive(Clone, Debug)]
pub enum Facts {
    /// Of a network.
    Images {
        /// Seed of the split between training and validation.
        split_seed: u64,
        /// Whether the split was drawn; else validation is the last records. `true` where not said.
        shuffle: bool,
        /// The limit that the split was made under, where there was one.
        limit: Option<usize>,
        /// Training records that the split was made of; nothing where not said.
        training_records: Option<usize>,
        /// Views it was trained on.
        augment: Augment,
        /// Names of the classes.
        classes: Vec<String>,
        /// After the last epoch; where nothing was held out, of records that were trained on.
        validation_accuracy: f64,
        /// What batch normalisation adds to a variance; 1e-5 where not said.
        batch_norm_epsilon: f64,
        /// Whether the validation records were held out of training. `true` where not said.
        hold_out: bool,
    },
    /// Of a language model.
    Text {
        /// What a token is. A word where not said.
        level: Level,
        /// Most words that were to be told apart, where that was limited.
        limit: Option<usize>,
        /// The words, by token.
        words: Vec<String>,
        /// Tokens of the training, validation and test part; nothing where not said.
        part_tokens: Option<[usize; 3]>,
        /// Digest of the words joined by newlines.
        vocabulary_sha256: String,
        /// After the last epoch; where nothing was held out, of a part that was trained on.
        validation_perplexity: f64,
        /// Whether the validation part was held out of training. `true` where not said.
        hold_out: bool,
    },
}

impl Metadata {
    /// The strings, in the order of the file.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut json = Map::new();
        let mut add = |key: &str, text: String| json.insert(key.to_owned(), text.into());
        add(FORMAT, WITH_DIGEST.to_owned());
        add("architecture", self.architecture.to_json());
        add("seed", self.seed.to_string());
        let list = |names: &[String]| json!(names).to_string();
        match &self.facts {
            Facts::Images {
                split_seed,
                shuffle,
                limit,
                training_records,
                augment,
                classes,
                validation_accuracy,
                batch_norm_epsilon,
                hold_out,
            } => {
                add("split_seed", split_seed.to_string());
                add("shuffle", shuffle.to_string());
                if let Some(limit) = limit {
                    add("limit", limit.to_string());
                }
                if let Some(n) = training_records {
                    add("training_records", n.to_string());
                }
                add("augment", augment.to_string());
                add("classes", list(classes));
                add("data_sha256", self.data_sha256.clone());
                add("epochs", self.epochs.to_string());
                add("validation_accuracy", validation_accuracy.to_string());
                if *batch_norm_epsilon != NORM_EPSILON {
                    add("batch_norm_epsilon", batch_norm_epsilon.to_string());
                }
                if !hold_out {
                    add("held_out", "none".to_owned());
                }
            }
            Facts::Text {
                level,
                limit,
                words,
                part_tokens,
                vocabulary_sha256,
                validation_perplexity,
                hold_out,
            } => {
                // The parts of a text are no draw, and it has one view.
                add("split_seed", "0".to_owned());
                add("augment", Augment::None.to_string());
                add("classes", list(words));
                add("level", level.to_string());
                if let Some(limit) = limit {
                    add("vocabulary_limit", limit.to_string());
                }
                if let Some(tokens) = part_tokens {
                    add("part_tokens", json!(tokens).to_string());
                }
                add("vocabulary_sha256", vocabulary_sha256.clone());
                add("data_sha256", self.data_sha256.clone());
                add("epochs", self.epochs.to_string());
                add("validation_perplexity", validation_perplexity.to_string());
                if !hold_out {
                    add("held_out", "none".to_owned());
                }
            }
        }
        json
    }

    /// Reads the strings.
    pub(super) fn read(entries: &Entries) -> Result<Metadata, WeightsError> {
        let architecture = Architecture::from_json(entries.get("architecture")?)
            .map_err(|error| entries.bad("architecture", error.to_string()))?;
        let facts = match architecture {
            Architecture::Conv(_) => Facts::Images {
                split_seed: entries.parse("split_seed")?,
                shuffle: entries.find("shuffle") != Some("false"),
                limit: match entries.optional("limit")? {
                    Some(limit) if limit < MIN_LIMIT => {
                        return Err(entries.bad("limit", format!("cannot be `{limit}`")));
                    }
                    limit => limit,
                },
                training_records: entries.optional("training_records")?,
                augment: entries.parse("augment")?,
                classes: entries.list("classes")?,
                validation_accuracy: entries.parse("validation_accuracy")?,
                batch_norm_epsilon: match entries.optional::<f64>("batch_norm_epsilon")? {
                    None => NORM_EPSILON,
                    Some(epsilon) if epsilon.is_finite() && epsilon >= 0.0 => epsilon,
                    Some(other) => {
                        let why = format!("cannot be `{other}`");
                        return Err(entries.bad("batch_norm_epsilon", why));
                    }
                },
                hold_out: entries.find("held_out") != Some("none"),
            },
            Architecture::Bench(_) => {
                let why = "is a cell of NAS-Bench-201, which has no weights";
                return Err(entries.bad("architecture", why.to_owned()));
            }
            Architecture::Cell(_) => Facts::Text {
                level: match entries.find("level") {
                    None | Some("word") => Level::Word,
                    Some("char") => Level::Char,
                    Some(other) => return Err(entries.bad("level", format!("cannot be `{other}`"))),
                },
                limit: match entries.find("vocabulary_limit") {
                    None => None,
                    Some(text) => match entries.parse("vocabulary_limit")? {
                        0 | 1 => {
                            return Err(
                                entries.bad("vocabulary_limit", format!("cannot be `{text}`"))
                            );
                        }
                        limit => Some(limit),
                    },
                },
                words: match entries.find("classes") {
                    None => vec![],
                    Some(_) => entries.list("classes")?,
                },
                part_tokens: match entries.find("part_tokens") {
                    None => None,
                    Some(text) => serde_json::from_str(text)
                        .map_err(|error| entries.bad("part_tokens", error.to_string()))?,
                },
                vocabulary_sha256: entries.get("vocabulary_sha256")?.to_owned(),
                validation_perplexity: entries.parse("validation_perplexity")?,
                hold_out: entries.find("held_out") != Some("none"),
            },
        };
        Ok(Metadata {
            architecture,
            seed: entries.parse("seed")?,
            data_sha256: entries.get("data_sha256")?.to_owned(),
            epochs: entries.parse("epochs")?,
            facts,
        })
    }
}

/// The strings of a file.
pub(super) struct Entries<'a> {
    /// The file.
    pub path: &'a Path,
    /// By name.
    pub entries: &'a HashMap<String, String>,
}

impl Entries<'_> {
    fn find(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    fn get(&self, key: &'static str) -> Result<&str, WeightsError> {
        let missing = || self.bad(key, "is missing".to_owned());
        self.find(key).ok_or_else(missing)
    }

    fn parse<T: FromStr>(&self, key: &'static str) -> Result<T, WeightsError> {
        let text = self.get(key)?;
        text.parse()
            .map_err(|_| self.bad(key, format!("cannot be `{text}`")))
    }

    /// As `parse`, of an entry that need not be there.
    fn optional<T: FromStr>(&self, key: &'static str) -> Result<Option<T>, WeightsError> {
        self.find(key).map(|_| self.parse(key)).transpose()
    }

    fn list(&self, key: &'static str) -> Result<Vec<String>, WeightsError> {
        serde_json::from_str(self.get(key)?).map_err(|error| self.bad(key, error.to_string()))
    }

    fn bad(&self, key: &'static str, reason: String) -> WeightsError {
        WeightsError::Metadata {
            path: self.path.to_path_buf(),
            key,
            reason,
        }
    }
}
