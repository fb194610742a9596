//! `nas-engine compare`: runs of several strategies and seeds side by side.

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, Kind};
use super::output::Output;
use super::runs;
use crate::config::StrategyKind;
use crate::report::compare::{self, Comparison};
use crate::report::record::Record;
use crate::train::TrainConfig;

/// Flags of `compare`.
#[derive(Args)]
pub struct Flags {
    /// Directories of runs of one space on the same data: strategies, and seeds of each
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Also write a page with curves to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    if let Some(out) = &flags.out {
        runs::check_out("--out", out, flags.force)?;
    }
    runs::read(&flags.runs, |records| {
        check_comparable(records)?;
        let comparison = Comparison::new(records);
        let mut json = comparison.json();
        if let Some(out) = &flags.out {
            let page = compare::page(records, &comparison);
            runs::write("--out", out, page.html.as_bytes())?;
            output.note(&format!("{} has the curves", out.display()));
            json["out"] = out.display().to_string().into();
        }
        output.result(&json, &comparison.words())
    })
}

/// That rewards of the runs mean the same, and that no search is counted twice.
fn check_comparable(records: &[Record]) -> Result<(), Failure> {
    let Some((first, others)) = records.split_first() else {
        return Ok(());
    };
    for other in others {
        if let Some(why) = compare::why_not(first, other) {
            let message = format!("{why}; compare runs of one space on the same data");
            return Err(Failure::new(Kind::Usage, message));
        }
    }
    if let Some(other) = others.iter().find(|other| train(first) != train(other)) {
        tracing::warn!(
            "{} and {} train their children otherwise ([train] of their config.toml): part of a difference may \
             come from that",
            first.name,
            other.name
        );
    }
    check_seeds(records)
}

fn train(record: &Record) -> TrainConfig {
    record.config.train.clone().without_checkpoints()
}

/// That no search is counted twice; strategies whose runs differ by more than their seeds are told of.
fn check_seeds(records: &[Record]) -> Result<(), Failure> {
    // What decides results, whatever the seed.
    let settings = |record: &Record| {
        let mut config = record.config.clone();
        config.search.seed = 0;
        config.sha256()
    };
    let all: Vec<String> = records.iter().map(settings).collect();
    let mut told: Vec<StrategyKind> = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let search = &record.config.search;
        let of_strategy = |j: &usize| records[*j].config.search.strategy == search.strategy;
        for j in (0..i).filter(of_strategy) {
            let earlier = &records[j];
            if all[i] == all[j] && search.seed == earlier.config.search.seed {
                let message = format!(
                    "{} and {} are the same search: one strategy, one seed, the same settings; give runs of \
                     different seeds",
                    earlier.name, record.name
                );
                return Err(Failure::new(Kind::Usage, message));
            }
            if all[i] != all[j] && !told.contains(&search.strategy) {
                told.push(search.strategy);
                tracing::warn!(
                    "{} and {} are of one strategy with different settings; they are counted as seeds of it alike",
                    earlier.name,
                    record.name
                );
            }
        }
    }
    Ok(())
}
