//! `nas-engine cluster export` and `import`: a run of a server as a directory, and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::connection::ConnectionFlags;
use super::place::PlaceFlags;
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::Settings;
use crate::cli::output::Output;
use crate::cluster::export::{self, ExportError};
use crate::cluster::facts::Facts;
use crate::cluster::key::Fact;
use crate::cluster::replay::ReplayError;
use crate::cluster::role;
use crate::cluster::settings::RunFact;
use crate::config::Config;
use crate::disk::Real;
use crate::run::entry::{Entry, RunTiming, Started, Stop, Timing};
use crate::run::{self, Run, RunError};
use crate::text;

/// Flags of `cluster export`.
#[derive(Args)]
pub struct ExportFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Directory to make, which `status`, `audit`, `top` and `search --resume` read
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Where the run's data lie on this machine, for who goes on with it there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Flags of `cluster import`.
#[derive(Args)]
pub struct ImportFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Directory of the run, which stays as it is
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    place: PlaceFlags,
}

/// Runs `cluster export`.
pub fn export(flags: &ExportFlags, output: &Output) -> Result<(), Failure> {
    super::runtime()?.block_on(async {
        let (engine, fact) = flags.connection.open(&[]).await?;
        let learner = fact.learner()?;
        let config = settings(&fact, flags)?;
        let device = role::fact(&engine, Fact::Device).await?;
        let on_record = export::read(&engine, &learner).await?;
        let mut lines = on_record.lines(&learner)?;
        if config.search.is_alone() {
            lines = export::alone(lines);
        }
        let device = device.map(|model| String::from_utf8_lossy(&model).into_owned());
        write(&flags.out, &config, &fact, device, lines)?;
        let history = run::read(&Real, &flags.out)?.history;
        let samples = history.children.len() as u64;
        let is_finished = history.is_finished(config.search.samples, config.search.strategy);
        let json = json!({
            "run": flags.out.display().to_string(), // also where it is not UTF-8
            "samples": samples,
            "total": config.search.samples,
            "finished": is_finished,
        });
        let next = match is_finished {
            true => "status",
            false => "search --resume",
        };
        let words = format!(
            "run {} to {}: {} of {} samples\ngo on with: nas-engine {next} {}\n",
            flags.connection.name(),
            flags.out.display(),
            text::count(samples),
            text::count(config.search.samples),
            text::shell_path(&flags.out)
        );
        output.result(&json, &words)
    })
}

/// The run's settings, with where its data lie here.
fn settings(fact: &RunFact, flags: &ExportFlags) -> Result<Config, Failure> {
    let mut here = Settings::default();
    here.data_path(flags.data.as_deref())?;
    let path = Path::new("the run's settings");
    Ok(Config::resolve_text(
        path,
        fact.config()?.to_toml(),
        &here.0,
        "sample",
    )?)
}

/// Makes the directory, whole or not at all: it is written beside its place first.
fn write(
    out: &Path,
    config: &Config,
    fact: &RunFact,
    device: Option<String>,
    lines: Vec<Entry>,
) -> Result<(), Failure> {
    let refused = |error: std::io::Error| {
        let message = format!("--out {}: {error}; give another folder", out.display());
        Failure::new(Kind::Usage, message)
    };
    if fs::read_dir(out).is_ok_and(|mut found| found.next().is_some()) {
        let message = format!(
            "--out {} is there already; give another folder",
            out.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let beside = out.with_file_name(format!(".{name}.{}.unfinished", std::process::id()));
    let written = fill(beside.clone(), config, fact, device, lines);
    let moved = written.and_then(|()| fs::rename(&beside, out).map_err(refused));
    if moved.is_err() {
        let _ = fs::remove_dir_all(&beside); // says nothing that the failure does not
    }
    moved
}

/// Writes a run: its settings, its journal and its best architecture.
fn fill(
    path: PathBuf,
    config: &Config,
    fact: &RunFact,
    device: Option<String>,
    lines: Vec<Entry>,
) -> Result<(), Failure> {
    let mut run = Run::create(Arc::new(Real), path, config)?;
    let first = lines.iter().find_map(|line| match line {
        Entry::Round(round) => Some(round.timing.at),
        Entry::Child(child) => Some(child.timing.at - child.timing.seconds),
        _ => None,
    });
    let last = lines.iter().filter_map(|line| match line {
        Entry::Round(round) => Some(round.timing.at),
        Entry::Child(child) => Some(child.timing.at),
        Entry::Update(update) => Some(update.timing.at),
        _ => None,
    });
    let last = last.reduce(f64::max);
    let samples = lines
        .iter()
        .filter(|line| matches!(line, Entry::Child(_)))
        .count() as u64;
    let begins = Entry::Run(Started {
        version: fact.version.clone(),
        config_sha256: config.sha256(),
        data_sha256: fact.data_sha256.clone(),
        samples: config.search.samples,
        timing: RunTiming {
            at: first.unwrap_or_else(run::now),
            device: device.unwrap_or_else(|| config.device.name.clone()),
            threads: 1,
        },
    });
    let stops = Entry::Stop(Stop {
        samples,
        timing: Timing {
            // What is after it was not in the run.
            at: last.unwrap_or_else(run::now),
            ..Timing::default()
        },
    });
    for line in [begins].into_iter().chain(lines).chain([stops]) {
        run.journal.append(&line).map_err(RunError::from)?;
        let added = run.history.add(line);
        added.map_err(|reason| {
            Failure::new(Kind::Run, format!("the run is no journal: {reason}"))
        })?;
    }
    run.write_best()?;
    Ok(())
}

/// Runs `cluster import`.
pub fn import(flags: &ImportFlags, output: &Output) -> Result<(), Failure> {
    let run::Facts { config, history } = run::read(&Real, &flags.run)?;
    let Some(began) = history.runs.last() else {
        let message = format!(
            "{}: nothing has begun in it; give `cluster init`",
            flags.run.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    };
    let fact = flags.place.fact(&config, began.data_sha256.clone());
    let learner = fact.learner()?;
    let facts = match config.search.is_alone() {
        true => export::of_one(&learner, &history),
        false => Facts::of(&history, fact.scheme.shards),
    };
    let facts = facts.map_err(|error| not_ours(flags, &error))?;
    flags.place.check()?;
    super::runtime()?.block_on(async {
        let engine = flags.place.make(&flags.connection, &learner).await?;
        let name = flags.connection.name();
        // Before anything is written: what is there is another's.
        let before = role::fact(&engine, Fact::Run).await?;
        if before.is_some_and(|before| before != fact.to_bytes()) {
            return Err(ExportError::Taken(format!("run {name}")).into());
        }
        let written = export::write(&engine, &learner, &facts).await;
        written.map_err(|error| match error {
            ExportError::Replay(error) => not_ours(flags, &error),
            error => error.into(),
        })?;
        // Of children that were trained: without one, the first worker decides.
        let model = began.timing.device.clone().into_bytes();
        if !facts.children.is_empty() {
            role::once(&engine, Fact::Device, model).await?;
        }
        // Last: until it is there nobody can take part.
        let first = role::once(&engine, Fact::Run, fact.to_bytes()).await?;
        if first != fact.to_bytes() {
            return Err(ExportError::Taken(format!("run {name}")).into());
        }
        let samples = facts.children.len() as u64;
        let json = json!({
            "run": name.to_string(),
            "server": flags.connection.server(),
            "samples": samples,
            "total": fact.scheme.samples,
        });
        let words = format!(
            "run {name}: {} of {} samples are on the server; its roles go on with the rest\n",
            text::count(samples),
            text::count(fact.scheme.samples)
        );
        output.result(&json, &words)
    })
}

/// The directory's journal is no run.
fn not_ours(flags: &ImportFlags, error: &ReplayError) -> Failure {
    let run = &flags.run;
    let message = format!(
        "{}: {error}; see which line it is: nas-engine audit {}",
        run.display(),
        text::shell_path(run)
    );
    Failure::new(Kind::Journal, message)
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        match error {
            ExportError::Role(error) => error.into(),
            ExportError::Taken(_) => Failure::from_error(Kind::Usage, &error),
            _ => Failure::from_error(Kind::Run, &error),
        }
    }
}
