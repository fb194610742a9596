//! `nas-engine status`: how far a search is, read from its directory without disturbing it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;
use crate::config::{Config, StrategyKind};
use crate::disk::Real;
use crate::report::Summary;
use crate::run::history::History;
use crate::run::{self, Facts, journal};
use crate::text;

/// Flags of `status`.
#[derive(Args)]
pub struct Flags {
    /// Directory of the run
    run: PathBuf,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let Facts { config, history } = run::read(&Real, &flags.run)?;
    let file = flags.run.join(journal::FILE_NAME);
    let progress = Progress::new(&config, &history, &file);
    let summary = Summary::new(&history);
    output.result(&progress.json(&summary), &progress.words(&summary))
}

/// How far a search is.
struct Progress {
    state: &'static str,
    total: u64,
    children_per_hour: Option<f64>,
    seconds_left: Option<f64>,
}

impl Progress {
    fn new(config: &Config, history: &History, journal: &Path) -> Progress {
        let total = config.search.samples;
        let learns = config.search.strategy == StrategyKind::Policy;
        let state = match history.is_finished(total, learns) {
            true => "finished",
            false if is_locked(journal) => "running",
            false => "stopped",
        };
        let pace = history.samples_per_second();
        let left = total.saturating_sub(history.children.len() as u64);
        Progress {
            state,
            total,
            children_per_hour: pace.map(|pace| pace * 3600.0),
            seconds_left: match state {
                "finished" => Some(0.0),
                _ => pace.map(|pace| left as f64 / pace),
            },
        }
    }

    fn json(&self, summary: &Summary) -> Value {
        json!({
            "state": self.state,
            "samples": summary.samples,
            "total": self.total,
            "best": summary.best,
            "mean_reward": summary.mean_reward,
            "mean_reward_first_quarter": summary.mean_reward_first_quarter,
            "mean_reward_last_quarter": summary.mean_reward_last_quarter,
            "failures": summary.failures,
            "children_per_hour": self.children_per_hour,
            "seconds": summary.seconds,
            "seconds_left": self.seconds_left,
        })
    }

    fn words(&self, summary: &Summary) -> String {
        let pace = self.children_per_hour;
        let left = self.seconds_left.filter(|_| self.state == "running");
        format!(
            "{}: {} of {} samples in {}{}{}\n\
             mean reward {}, first quarter {}, last quarter {}\n\n{}",
            self.state,
            summary.samples,
            self.total,
            text::duration(summary.seconds),
            pace.map_or(String::new(), |pace| format!(", {pace:.0} an hour")),
            left.map_or(String::new(), |left| format!(
                ", {} left",
                text::duration(left)
            )),
            text::share(summary.mean_reward),
            text::share(summary.mean_reward_first_quarter),
            text::share(summary.mean_reward_last_quarter),
            summary.best_table(),
        )
    }
}

/// Whether a process holds the lock of a journal. Asked of the kernel's list, because trying the
/// lock would disturb the run; elsewhere than on Linux there is none, and so no answer but no.
fn is_locked(journal: &Path) -> bool {
    let Ok(file) = fs::metadata(journal) else {
        return false;
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF": the sixth word ends with the file's inode.
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode = words.get(5).and_then(|place| place.rsplit(':').next());
        words.get(1) == Some(&"FLOCK") && inode == Some(&file.ino().to_string())
    })
}
