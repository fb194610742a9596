//! What is wrong with a space's settings, with tokens, or with an architecture for a space.

/// Why a space cannot be made, or cannot say something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// A setting of the space breaks a rule.
    #[error("`{key}` of the search space {rule}")]
    Config {
        /// The setting.
        key: &'static str,
        /// The rule, and what to write instead.
        rule: String,
    },
    /// Tokens are not those of an architecture of this space.
    #[error("token {position} {fault}; are these the tokens of another search space?")]
    Tokens {
        /// Index in the list of tokens, from 0.
        position: usize,
        /// What is wrong there.
        fault: String,
    },
    /// An architecture that no tokens of this space stand for.
    #[error("this search space cannot say the architecture: {reason}")]
    CannotSay {
        /// The layer or node, the value, and what the space has in its place.
        reason: String,
    },
}

impl SpaceError {
    pub(super) fn cannot_say(reason: impl Into<String>) -> SpaceError {
        SpaceError::CannotSay {
            reason: reason.into(),
        }
    }
}

pub(super) fn wrong(key: &'static str, rule: String) -> Result<(), SpaceError> {
    Err(SpaceError::Config { key, rule })
}

/// That a list of choices has one, and each once.
pub(super) fn check_distinct<T: PartialEq>(
    key: &'static str,
    values: &[T],
    show: impl Fn(&T) -> String,
) -> Result<(), SpaceError> {
    if values.is_empty() {
        return wrong(key, "is empty; give at least one value".to_owned());
    }
    let repeated = values
        .iter()
        .enumerate()
        .find(|(i, value)| values[..*i].contains(value));
    match repeated {
        Some((_, value)) => wrong(key, format!("holds {} twice; keep one", show(value))),
        None => Ok(()),
    }
}
