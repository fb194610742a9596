//! Names of what an engine keeps.

use std::fmt;

/// What is written once and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// What the run is: its settings and the scheme.
    Run,
    /// The device model that trains its children, as the first worker has it.
    Device,
    /// Round t: who claimed it, and its architectures.
    Round(u64),
    /// How child i ended.
    Child(u64),
    /// All rounds are in the first shard: nothing is left to train.
    End,
}

/// What changes, one writer at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cell {
    /// A share of the controller's parameters.
    Shard(u32),
    /// Where a replica of the controller stands.
    Replica(u32),
    /// Who has begun child i.
    Attempts(u64),
    /// The newest checkpoint of child i.
    Checkpoint(u64),
    /// Whether anybody is to work on the run.
    Control,
}

/// As subjects of a broker have it.
impl fmt::Display for Fact {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Fact::Run => write!(out, "fact.run"),
            Fact::Device => write!(out, "fact.device"),
            Fact::Round(t) => write!(out, "fact.round.{t}"),
            Fact::Child(i) => write!(out, "fact.child.{i}"),
            Fact::End => write!(out, "fact.end"),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Cell::Shard(s) => write!(out, "cell.shard.{s}"),
            Cell::Replica(r) => write!(out, "cell.replica.{r}"),
            Cell::Attempts(i) => write!(out, "cell.try.{i}"),
            Cell::Checkpoint(i) => write!(out, "cell.ckpt.{i}"),
            Cell::Control => write!(out, "cell.control"),
        }
    }
}
