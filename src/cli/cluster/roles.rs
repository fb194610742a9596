//! `nas-engine cluster replica` and `apply`: the roles that hold nothing of their own.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;

use clap::Args;
use tokio::task::JoinSet;

use super::connection;
use super::end::EndFlags;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::cluster::RoleError;
use crate::cluster::applier::applier;
use crate::cluster::control;
use crate::cluster::learner::Learner;
use crate::cluster::nats::{Nats, Role};
use crate::cluster::replica;

/// Flags of `cluster replica`.
#[derive(Args)]
pub struct ReplicaFlags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    /// Which replicas, such as 0-9; all by default. Others may be the same ones
    #[arg(long, value_name = "A-B", value_parser = range)]
    slots: Option<RangeInclusive<u32>>,
    #[command(flatten)]
    end: EndFlags,
}

/// Flags of `cluster apply`.
#[derive(Args)]
pub struct ApplyFlags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    /// Which shards, such as 0-9; all by default. Others may keep the same ones
    #[arg(long, value_name = "A-B", value_parser = range)]
    shards: Option<RangeInclusive<u32>>,
    #[command(flatten)]
    end: EndFlags,
}

/// A number, or two of which the first is not the larger.
fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let words = || format!("`{text}` is no range; give a number from 0, or two such as 0-9");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(words()),
    }
}

/// Numbers in words, where there are several.
fn several(numbers: &RangeInclusive<u32>) -> Option<String> {
    let (first, last) = (numbers.start(), numbers.end());
    (first < last).then(|| format!("{first} to {last}"))
}

/// Runs `cluster replica`.
pub fn replica(flags: &ReplicaFlags, output: &Output) -> Result<(), Failure> {
    let role = async |engine: Nats, learner: Arc<Learner>, number: u32| {
        replica::replica(&engine, &learner, number).await
    };
    let part = Part {
        flag: "--slots",
        words: |numbers| match several(numbers) {
            Some(numbers) => format!("replicas {numbers}"),
            None => format!("replica {}", numbers.start()),
        },
        asked: flags.slots.as_ref(),
        n: |learner| learner.scheme().replicas,
    };
    part.run((&flags.connection, Role::Replica), &flags.end, role, output)
}

/// Runs `cluster apply`.
pub fn apply(flags: &ApplyFlags, output: &Output) -> Result<(), Failure> {
    let role = async |engine: Nats, learner: Arc<Learner>, number: u32| {
        applier(&engine, &learner, number).await
    };
    let part = Part {
        flag: "--shards",
        words: |numbers| match several(numbers) {
            Some(numbers) => format!("keeping shards {numbers}"),
            None => format!("keeping shard {}", numbers.start()),
        },
        asked: flags.shards.as_ref(),
        n: |learner| learner.scheme().shards,
    };
    part.run((&flags.connection, Role::Applier), &flags.end, role, output)
}

/// Which of a role's numbers a process is.
struct Part<'a> {
    flag: &'static str,
    /// What it is, where it is these numbers.
    words: fn(&RangeInclusive<u32>) -> String,
    asked: Option<&'a RangeInclusive<u32>>,
    n: fn(&Learner) -> u32,
}

impl Part<'_> {
    fn run<F, R>(
        &self,
        (connection, who): (&connection::ConnectionFlags, Role),
        end: &EndFlags,
        role: F,
        output: &Output,
    ) -> Result<(), Failure>
    where
        F: Fn(Nats, Arc<Learner>, u32) -> R,
        R: Future<Output = Result<(), RoleError>> + Send + 'static,
    {
        let stop = end.flag()?;
        super::runtime()?.block_on(async {
            let (engine, fact) = connection.open_as(who).await?;
            let learner = Arc::new(fact.learner()?);
            let n = (self.n)(&learner);
            let numbers = self.asked.cloned().unwrap_or(0..=n - 1);
            if *numbers.end() >= n {
                let message = format!(
                    "{} {}-{}: the run has {n}, 0 to {}; give some of these",
                    self.flag,
                    numbers.start(),
                    numbers.end(),
                    n - 1
                );
                return Err(Failure::new(Kind::Usage, message));
            }
            output.note(&format!(
                "{} of run {} on {}, until it is done",
                (self.words)(&numbers),
                connection.name(),
                connection.server()
            ));
            let mut roles = JoinSet::new();
            for number in numbers {
                roles.spawn(role(engine.handle().await, Arc::clone(&learner), number));
            }
            let all = async {
                while let Some(ended) = roles.join_next().await {
                    ended.expect("a role does not panic")?;
                }
                Ok::<(), RoleError>(())
            };
            let name = connection.name();
            let ended = tokio::select! {
                ended = control::unless_drained(&engine, all) => ended?,
                () = super::set(stop) => {
                    let message = format!("run {name} goes on without this process; the same command joins it again");
                    return Err(end.stopped(message));
                }
            };
            super::ended(name, ended, output)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("3"), Ok(3..=3));
        assert_eq!(range("0-9"), Ok(0..=9));
        for text in ["", "-", "9-0", "a", "1-", "-1", "0-1-2"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
