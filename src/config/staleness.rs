//! What is made of late gradients, where replicas of the controller learn side by side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is made of a gradient whose parameters have moved on meanwhile, τ versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Staleness {
    /// It counts in full, as in the paper.
    #[default]
    Paper,
    /// It counts 1 / (1 + τ/τ0).
    Scale {
        /// The τ at which it counts half.
        tau0: f64,
    },
    /// It counts in full up to a τ, and is set aside above.
    Bound {
        /// The largest τ that counts.
        most: u64,
    },
}

impl Staleness {
    /// Weight of a gradient; nothing where it is set aside.
    pub fn weight(self, tau: u64) -> Option<f64> {
        match self {
            Staleness::Paper => Some(1.0),
            Staleness::Scale { tau0 } => Some(1.0 / (1.0 + tau as f64 / tau0)),
            Staleness::Bound { most } => (tau <= most).then_some(1.0),
        }
    }
}

/// From `paper`, `scale:TAU0` or `bound:TAU`.
impl FromStr for Staleness {
    type Err = String;

    fn from_str(text: &str) -> Result<Staleness, String> {
        let wrong = || {
            format!(
                "`{text}`: give paper, scale:T (weight 1 / (1 + lateness / T)), or bound:T (those later than T \
                 versions are set aside)"
            )
        };
        match text.split_once(':') {
            None if text == "paper" => Ok(Staleness::Paper),
            Some(("scale", tau0)) => match tau0.parse() {
                Ok(tau0) if f64::is_finite(tau0) && tau0 > 0.0 => Ok(Staleness::Scale { tau0 }),
                _ => Err(wrong()),
            },
            Some(("bound", most)) => {
                let most = most.parse().map_err(|_| wrong())?;
                Ok(Staleness::Bound { most })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Staleness {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Staleness::Paper => write!(out, "paper"),
            Staleness::Scale { tau0 } => write!(out, "scale:{tau0}"),
            Staleness::Bound { most } => write!(out, "bound:{most}"),
        }
    }
}

impl From<Staleness> for String {
    fn from(staleness: Staleness) -> String {
        staleness.to_string()
    }
}

impl TryFrom<String> for Staleness {
    type Error = String;

    fn try_from(text: String) -> Result<Staleness, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_names() {
        let parsed = |text: &str| text.parse::<Staleness>().ok();
        assert_eq!(parsed("paper"), Some(Staleness::Paper));
        assert_eq!(parsed("scale:4"), Some(Staleness::Scale { tau0: 4.0 }));
        assert_eq!(parsed("bound:0"), Some(Staleness::Bound { most: 0 }));
        for text in ["paper", "scale:2.5", "bound:7"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "scale",
            "scale:0",
            "scale:nan",
            "scale:-1",
            "bound:x",
            "bound:-1",
            "paper:1",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn late_gradients_are_weighed() {
        assert_eq!(Staleness::Paper.weight(99), Some(1.0));
        assert_eq!(Staleness::Scale { tau0: 4.0 }.weight(4), Some(0.5));
        let bound = Staleness::Bound { most: 3 };
        assert_eq!((bound.weight(3), bound.weight(4)), (Some(1.0), None));
    }
}
