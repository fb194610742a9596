//! The fact of what a run is: all that its roles must agree on before any of them does anything.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::codec::{Message, MessageError, from_json, to_json};
use super::learner::{Learner, TooManyShards};
use super::scheme::Scheme;
use crate::checkpoint::NUMERICS;
use crate::config::{Config, ConfigError};
use crate::space::{Space, SpaceError};

/// The longest time of a run's settings: a hundred years.
const MOST_SECONDS: u64 = 3_155_760_000;

/// What a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFact {
    /// Version of the program that began it.
    pub version: String,
    /// Version of the bits that training and the controller give.
    pub numerics: u32,
    /// Its settings, as a configuration file has them, without where data lie and what trains.
    pub config: String,
    /// SHA-256 of those that decide results.
    pub config_sha256: String,
    /// SHA-256 of the data.
    pub data_sha256: String,
    /// How the work is spread.
    pub scheme: Scheme,
    /// Seconds that a job is a worker's own unless it is kept.
    pub lease_seconds: u64,
    /// Seconds that a child may be trained for, all attempts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_seconds: Option<u64>,
}

impl Message for RunFact {
    const WHAT: &'static str = "the fact of the run";
}

/// Why a run's settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The fact cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its settings break a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its space breaks a rule.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// Its shards are too many.
    #[error(transparent)]
    Shards(#[from] TooManyShards),
    /// Another version of the program, whose numbers may differ.
    #[error(
        "the run was begun by nas-engine {theirs}, and this is {}, whose results may differ in bits; use the \
         same version everywhere", env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The version that began it.
        theirs: String,
    },
    /// Its parts do not agree.
    #[error("the fact of the run does not agree with itself: begin it again under another name")]
    Scheme,
    /// Nothing learns in it.
    #[error("--strategy {0} has no controller to spread; use `search`, or --strategy policy")]
    NoController(&'static str),
}

impl RunFact {
    /// That of a new run.
    pub fn new(config: &Config, data_sha256: String, lease_seconds: u64) -> RunFact {
        let mut kept = config.clone();
        kept.data.path = None;
        kept.device.threads = None;
        RunFact {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            numerics: NUMERICS,
            config: kept.to_toml(),
            config_sha256: config.sha256(),
            data_sha256,
            scheme: Scheme::of(&config.search),
            lease_seconds,
            child_seconds: None,
        }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }

    /// From bytes, of a run that this program may take part in.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<RunFact, SettingsError> {
        let fact: RunFact = from_json(bytes)?;
        match fact.numerics == NUMERICS {
            true => Ok(fact),
            false => Err(SettingsError::OtherVersion {
                theirs: fact.version,
            }),
        }
    }

    /// Its settings.
    ///
    /// # Errors
    /// A setting that breaks a rule.
    pub fn config(&self) -> Result<Config, SettingsError> {
        let path = Path::new("the run's settings");
        let config = Config::resolve_text(path, self.config.clone(), &[], "sample")?;
        Ok(config)
    }

    /// Its controller.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn learner(&self) -> Result<Learner, SettingsError> {
        let config = self.config()?;
        let times = [Some(self.lease_seconds), self.child_seconds];
        let is_sound = times.into_iter().flatten().all(|time| time <= MOST_SECONDS);
        if self.scheme != Scheme::of(&config.search) || !is_sound {
            return Err(SettingsError::Scheme);
        }
        if !config.search.strategy.learns() {
            return Err(SettingsError::NoController(config.search.strategy.name()));
        }
        let space = Space::new(&config.space)?;
        let seed = config.search.seed;
        let learner = Learner::new(self.scheme.clone(), space, config.controller, seed)?;
        Ok(learner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Staleness;

    fn fact() -> RunFact {
        let mut config = Config::preset("sample").unwrap();
        (config.search.shards, config.search.replicas) = (2, 3);
        config.search.staleness = Staleness::Scale { tau0: 2.5 };
        RunFact::new(&config, "abc".into(), 60)
    }

    #[test]
    fn a_run_is_read_back() {
        let bytes = fact().to_bytes();
        let read = RunFact::from_bytes(&bytes).unwrap();
        assert_eq!(read, fact());
        assert_eq!(read.config().unwrap().sha256(), read.config_sha256);
        assert_eq!(read.learner().unwrap().scheme(), &fact().scheme);
    }

    #[test]
    fn other_versions_and_schemes_are_refused() {
        let refused = |fact: &RunFact| {
            RunFact::from_bytes(&fact.to_bytes())
                .unwrap_err()
                .to_string()
        };
        let other = RunFact {
            numerics: NUMERICS + 1,
            version: "9.0".into(),
            ..fact()
        };
        assert!(refused(&other).contains("nas-engine 9.0"));
        let newer = String::from_utf8(fact().to_bytes()).unwrap();
        let newer = newer.replacen("\"schema\":1", "\"schema\":2", 1);
        let error = RunFact::from_bytes(newer.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("schema 2"), "{error}");
        assert!(RunFact::from_bytes(b"{}").is_err());
        let mut torn = fact();
        torn.scheme.replicas = 0;
        assert!(matches!(torn.learner(), Err(SettingsError::Scheme)));
        let mut config = Config::preset("sample").unwrap();
        config.search.shards = 1_000_000;
        let many = RunFact::new(&config, "abc".into(), 60);
        let error = many.learner().unwrap_err().to_string();
        assert!(error.contains("parameters"), "{error}");
    }
}
