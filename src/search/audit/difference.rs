//! What an audit can find on a line.

use serde::Serialize;
use serde_json::{Value, json};

use crate::search::SearchError;

/// A line of a journal that is not what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The line, from 1.
    pub line: usize,
    /// What of it: the name of a field, `event` where another kind of line should stand there, or
    /// `line` where the line cannot be read.
    pub what: String,
    /// As it stands there.
    pub recorded: Value,
    /// As it should; null where there is nothing that it could be.
    pub recomputed: Value,
}

/// Updates whose controllers have other bits than those of today, because they were made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// The field.
    pub what: &'static str,
    /// How many updates.
    pub updates: u64,
    /// What the run was on.
    pub recorded_device: String,
    /// What they were recomputed on.
    pub device: String,
}

/// A field that is not what it should be, of a line that the caller knows.
pub(crate) struct Wrong(Box<Difference>);

impl Wrong {
    pub fn new(what: &str, recorded: impl Serialize, recomputed: impl Serialize) -> Wrong {
        Wrong(Box::new(Difference {
            line: 0,
            what: what.to_owned(),
            recorded: json!(recorded),
            recomputed: json!(recomputed),
        }))
    }

    pub fn on(self, line: usize) -> Difference {
        Difference { line, ..*self.0 }
    }
}

/// A line that is wrong, or one that cannot be recomputed.
pub(crate) enum Stopped {
    Wrong(Wrong),
    Search(SearchError),
}

impl From<Wrong> for Stopped {
    fn from(wrong: Wrong) -> Stopped {
        Stopped::Wrong(wrong)
    }
}

/// That two values are the same.
pub(crate) fn same<T: Serialize + PartialEq>(
    what: &str,
    recorded: &T,
    recomputed: &T,
) -> Result<(), Wrong> {
    match recorded == recomputed {
        true => Ok(()),
        false => Err(Wrong::new(what, recorded, recomputed)),
    }
}
