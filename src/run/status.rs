//! How a child ended.

use serde::{Deserialize, Serialize};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was trained to the end.
    Ok,
    /// Its loss or weights stopped being finite.
    Diverged,
    /// It needs more memory than there is for one child.
    TooLarge,
    /// It cannot be built: a pooling window is larger than its input, say.
    Invalid,
    /// The machine ran out of memory although the plan fitted.
    OutOfMemory,
    /// The training stopped with a fault of the program.
    Crash,
    /// It took longer than allowed.
    Timeout,
    /// It took down every machine that tried it.
    Poison,
}

impl Status {
    /// Whether this says something of the architecture; the other endings are faults of a machine.
    /// A verdict has a reward, enters the gradient, and answers for every repeat.
    pub fn is_verdict(self) -> bool {
        matches!(
            self,
            Status::Ok | Status::Diverged | Status::TooLarge | Status::Invalid
        )
    }

    /// Whether a child that ended so is tried again where the search goes on: the machine was at
    /// fault, and may not be any more.
    pub fn is_tried_again(self) -> bool {
        matches!(self, Status::OutOfMemory | Status::Crash | Status::Timeout)
    }

    /// The word that stands for it in journals and tables.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Diverged => "diverged",
            Status::TooLarge => "too_large",
            Status::Invalid => "invalid",
            Status::OutOfMemory => "out_of_memory",
            Status::Crash => "crash",
            Status::Timeout => "timeout",
            Status::Poison => "poison",
        }
    }
}
