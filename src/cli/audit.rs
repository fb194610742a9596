//! `nas-engine audit`: whether a run's journal is what its settings make of it, and whether a child
//! achieves again what is on record.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::explain::child;
use super::failure::{Failure, Kind};
use super::flags::{self, DataFlags, Settings, whole};
use super::output::Output;
use super::runs;
use crate::cluster::audit as shared;
use crate::config::{self, Config};
use crate::device::{self, Convolution};
use crate::disk::Real;
use crate::run::entry::{Entry, Started};
use crate::run::journal::{self, Line};
use crate::run::{self, Record};
use crate::search::audit::{self, Audit, Difference};
use crate::search::retrain::{self, Retrained};
use crate::text;
use crate::train::Course;

/// Flags of `audit`.
#[derive(Args)]
pub struct Flags {
    /// Directory of the run
    run: PathBuf,
    /// Train this sample's child again, and compare
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::SAMPLE), value_name = "N")]
    retrain: Option<i64>,
    /// Data to compare with those of the run, and to train on; in place of where they lay
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What trains
    #[arg(long, value_name = "DEVICE", help = device::names())]
    device: Option<String>,
    /// Threads; every core by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::THREADS), value_name = "N")]
    threads: Option<i64>,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    runs::refuse_finish(&flags.run)?;
    let record = run::record(&Real, &flags.run, &settings(flags)?)?;
    let config = record.config.clone();
    let torn = record.contents.torn;
    let course = match flags.data.is_some() || flags.retrain.is_some() {
        true => Some(flags::open_course(&config, output)?),
        false => None,
    };
    let processor = device::open("cpu", Some(1), Convolution::Auto)?.model();
    let sessions = Sessions::of(&record);
    let audit = match config.search.is_alone() {
        true => audit::audit(record, course.as_ref(), &processor)?,
        false => shared::audit(record, course.as_ref(), &processor)?,
    };
    let retrained = match (flags.retrain, course, &audit.difference) {
        (Some(sample), Some(course), None) => {
            Some(retrain(&config, &audit, &sessions, sample, course, output)?)
        }
        _ => None,
    };
    let json = json(flags, &audit, retrained.as_ref(), torn);
    let words = words(&audit, retrained.as_ref(), torn);
    let file = flags.run.join(journal::FILE_NAME);
    let message = match (&audit.difference, &retrained) {
        (Some(difference), _) => format!("{}: {}", file.display(), told(difference, &audit)),
        (None, Some(again)) if again.same == Some(false) => format!(
            "{}: sample {} achieves something else when it is trained again on {}",
            file.display(),
            again.sample,
            again.device
        ),
        _ => return output.result(&json, &words),
    };
    Err(output.partial(&json, &words, Failure::new(Kind::Journal, message))?)
}

fn settings(flags: &Flags) -> Result<Vec<crate::config::Setting>, Failure> {
    let mut settings = Settings::default();
    settings.data(&DataFlags {
        data: flags.data.clone(),
        limit: None,
        level: None,
        vocabulary: None,
    })?;
    settings.set("device.name", "--device", flags.device.clone());
    settings.set("device.threads", "--threads", flags.threads);
    Ok(settings.0)
}

/// The sessions of a run, and which of them each child's last line is of.
struct Sessions {
    sessions: Vec<Started>,
    /// Samples by line, with the number of sessions so far.
    children: Vec<(u64, usize)>,
}

impl Sessions {
    fn of(record: &Record) -> Sessions {
        let mut sessions = Vec::new();
        let mut children = Vec::new();
        for Line { entry, .. } in &record.contents.lines {
            match entry {
                Entry::Run(run) => sessions.push(run.clone()),
                Entry::Child(child) => children.push((child.sample, sessions.len())),
                _ => {}
            }
        }
        Sessions { sessions, children }
    }

    fn session(&self, sample: u64) -> Option<&Started> {
        let mut lines = self.children.iter().rev();
        let (_, n_sessions) = lines.find(|(of, _)| *of == sample)?;
        self.sessions.get(n_sessions.checked_sub(1)?)
    }
}

/// Trains a sample's child again.
fn retrain(
    config: &Config,
    audit: &Audit,
    sessions: &Sessions,
    sample: i64,
    course: Course,
    output: &Output,
) -> Result<Retrained, Failure> {
    let asked = child(&audit.history, sample, "--retrain")?;
    let place = retrain::trained(&audit.history, asked.sample)
        .and_then(|child| Some((child, sessions.session(child.sample)?)));
    let place = place.ok_or_else(|| {
        Failure::new(
            Kind::Journal,
            format!("sample {sample} repeats one that is not on record"),
        )
    })?;
    let device = flags::open_device(config, output)?;
    let settings = &config.device;
    let planner = device::open(&settings.name, Some(1), settings.convolution)?;
    let threads = flags::threads(config);
    let again = retrain::retrain(config, place, course, (&*device, &*planner, threads))?;
    Ok(Retrained {
        sample: asked.sample,
        ..again
    })
}

fn json(flags: &Flags, audit: &Audit, retrained: Option<&Retrained>, torn: u64) -> Value {
    let mut json = json!({
        "run": flags.run.display().to_string(), // also where it is not UTF-8
        "samples": audit.history.children.len(),
        "updates": audit.history.updates.len(),
        "controller_sha256": audit.controller_sha256,
        "same": audit.difference.is_none(),
        "not_compared": audit.not_compared.iter().collect::<Vec<_>>(),
        "torn_bytes": torn,
    });
    if let Some(difference) = &audit.difference {
        json["first_difference"] = json!(difference);
    }
    if flags.retrain.is_some() {
        json["retrained"] = json!(retrained);
    }
    json
}

fn words(audit: &Audit, retrained: Option<&Retrained>, torn: u64) -> String {
    let history = &audit.history;
    let (samples, updates) = (history.children.len() as u64, history.updates.len() as u64);
    let mut words = match &audit.difference {
        None => format!(
            "the journal is what the settings make of it: {} samples, {} updates\n",
            text::count(samples),
            text::count(updates)
        ),
        Some(difference) => format!(
            "{}\nbefore it, all agrees: {} samples, {} updates\n",
            told(difference, audit),
            text::count(samples),
            text::count(updates)
        ),
    };
    if torn > 0 {
        words += &format!(
            "its last line, {torn} bytes, was being written when the run was stopped; that is no damage\n"
        );
    }
    if let Some(not) = &audit.not_compared {
        words += &format!(
            "{} controllers have other bits than recorded: the run was on {}, which promises none on {}; \
             decisions, baselines and rewards agree\n",
            text::count(not.updates),
            text::one_line(&not.recorded_device),
            not.device
        );
    }
    if let Some(again) = retrained {
        words += &retrained_words(again);
    }
    words
}

fn told(difference: &Difference, audit: &Audit) -> String {
    let Difference {
        line,
        what,
        recorded,
        recomputed,
    } = difference;
    let elsewhere = match &audit.not_compared {
        Some(not) => format!(
            " (its controller ran on {}, and rounding may have decided otherwise on {})",
            not.recorded_device, not.device
        ),
        None => String::new(),
    };
    format!("line {line}: {what} is {recorded}, recomputed {recomputed}{elsewhere}")
}

fn retrained_words(again: &Retrained) -> String {
    let Retrained {
        sample,
        device,
        recorded_device,
        ..
    } = again;
    let difference = match again.largest_difference {
        Some(difference) => format!(", largest difference of an epoch {difference:e}"),
        None => String::new(),
    };
    let verdict = match again.same {
        Some(true) => format!("trained again on {device}: the same, bit for bit"),
        Some(false) => format!("trained again on {device}: not the same{difference}"),
        None => format!(
            "trained again on {device} (on record: {recorded_device}): no bits are promised{difference}"
        ),
    };
    format!(
        "sample {sample} {verdict}\n  now       {} {:?}\n  on record {} {:?}\n",
        again.status.word(),
        again.scores.values(),
        again.recorded_status.word(),
        again.recorded.values(),
    )
}
