//! `nas-engine status`: how far a search is, read from its directory without disturbing it.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::output::Output;
use super::runs;
use crate::disk::Real;
use crate::report::{self, Best, Summary, final_training};
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::run::skim::RunBytes;
use crate::run::state::{Locks, State};
use crate::run::{journal, now, under_way};
use crate::text;

/// Flags of `status`.
#[derive(Args)]
pub struct Flags {
    /// Directory of the run
    run: PathBuf,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    runs::warn_of_finish(&flags.run);
    let locks = Locks::look(&flags.run.join(journal::FILE_NAME));
    let run = RunBytes::read(&Real, &flags.run)?;
    // Never given back: the process ends, and freeing a long run child by child takes a fifth of its time.
    let history = ManuallyDrop::new(run.history()?);
    runs::check_rewards(&flags.run, &history)?;
    let search = &run.config.search;
    let finished = history.is_finished(search.samples, search.strategy);
    let state = locks.state(finished, history.stopped);
    let summary = ManuallyDrop::new(Summary::new(&*history));
    let mut status = Status::new(state, search.samples, &history, &summary, now());
    let mut words = match summary.samples {
        0 => {
            let under_way = under_way::look(&Real, &flags.run, locks.process);
            status.before_any(&report::none_ended(state, under_way.len()))
        }
        _ => status.words(&summary),
    };
    if let Some(finish) = runs::finish(&flags.run) {
        words += &format!("\n{}\n", final_training::line(&finish));
        for (what, value) in final_training::results(&finish) {
            words += &format!("{what}: {value}\n");
        }
        status.finish = Some(final_training::state_json(&finish));
    }
    output.result(&status, &words)
}

/// How far a search is.
#[derive(Serialize)]
struct Status<'a> {
    state: &'static str,
    samples: u64,
    total: u64,
    best: &'a [Best<'a>],
    mean_reward: Option<f64>,
    mean_reward_first_quarter: Option<f64>,
    mean_reward_last_quarter: Option<f64>,
    failures: &'a BTreeMap<&'static str, u64>,
    children_per_hour: Option<f64>,
    seconds: f64,
    seconds_left: Option<f64>,
    /// Nothing of a run without a line.
    seconds_since_last_line: Option<f64>,
    /// The final training, of a run that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<Value>,
}

impl<'a> Status<'a> {
    fn new<C: ChildFacts>(
        state: State,
        total: u64,
        history: &History<C>,
        summary: &'a Summary,
        now: f64,
    ) -> Status<'a> {
        let pace = history.samples_per_second();
        let left = total.saturating_sub(summary.samples);
        let began = !history.runs.is_empty();
        Status {
            state: state.word(),
            samples: summary.samples,
            total,
            best: &summary.best,
            mean_reward: summary.mean_reward,
            mean_reward_first_quarter: summary.mean_reward_first_quarter,
            mean_reward_last_quarter: summary.mean_reward_last_quarter,
            failures: &summary.failures,
            children_per_hour: pace.map(|pace| pace * 3600.0),
            seconds: summary.seconds,
            seconds_left: match state {
                State::Finished => Some(0.0),
                _ => pace.map(|pace| left as f64 / pace),
            },
            // A clock that was set back leaves lines of a time to come.
            seconds_since_last_line: began.then(|| (now - history.last_at).max(0.0)),
            finish: None,
        }
    }

    /// In words where no child has ended: there are no figures yet.
    fn before_any(&self, none_ended: &str) -> String {
        let age = self.seconds_since_last_line;
        let age = age.map(|age| format!(", last line {} ago", text::duration(age)));
        format!(
            "{}: 0 of {} samples{}\n{}{none_ended}\n",
            self.state,
            self.total,
            age.unwrap_or_default(),
            self.elsewhere(),
        )
    }

    fn words(&self, summary: &Summary) -> String {
        let comma =
            |words: Option<String>| words.map_or(String::new(), |words| format!(", {words}"));
        let pace = self.children_per_hour;
        let left = self.seconds_left.filter(|_| self.state == "running");
        let age = self
            .seconds_since_last_line
            .filter(|_| self.state != "finished");
        let elsewhere = self.elsewhere();
        format!(
            "{}: {} of {} samples in {}{}{}{}{}\n{elsewhere}\
             mean reward {}, first quarter {}, last quarter {}\n\n{}",
            self.state,
            self.samples,
            self.total,
            text::duration(self.seconds),
            comma(report::failed(self.failures)),
            comma(pace.map(|pace| format!("{pace:.0} an hour"))),
            comma(left.map(|left| format!("{} left", text::duration(left)))),
            comma(age.map(|age| format!("last line {} ago", text::duration(age)))),
            text::share(self.mean_reward),
            text::share(self.mean_reward_first_quarter),
            text::share(self.mean_reward_last_quarter),
            summary.best_table(),
        )
    }

    /// A line where it cannot be told whether anybody works on it.
    fn elsewhere(&self) -> &'static str {
        match self.state {
            "unknown" => {
                "whether a process in another container or on another machine works on it cannot be \
                 seen from here\n"
            }
            _ => "",
        }
    }
}
