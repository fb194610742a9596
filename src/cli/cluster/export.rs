//! `nas-engine cluster export` and `import`: a run of a server as a directory, and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::json;

use super::connection::ConnectionFlags;
use super::end::InputFlags;
use super::folder::Folder;
use super::place::PlaceFlags;
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::Settings;
use crate::cli::output::Output;
use crate::cli::stop::TimeFlags;
use crate::cluster::export::{self, ExportError};
use crate::cluster::facts::Facts;
use crate::cluster::key::Fact;
use crate::cluster::replay::ReplayError;
use crate::cluster::role;
use crate::cluster::settings::RunFact;
use crate::config::Config;
use crate::disk::{self, Real};
use crate::report::tensorboard;
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
    #[command(flatten)]
    input: InputFlags,
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
    let stop = flags.input.flag(&TimeFlags { time_limit: None })?;
    let runtime = super::runtime()?;
    let words = "nothing is exported; give the same command again";
    let stopped = || flags.input.stopped(words.to_owned());
    let exported = runtime.block_on(async {
        tokio::select! {
            exported = export_unless(&stop, flags, output) => exported,
            () = super::set(Arc::clone(&stop)) => Err(stopped()),
        }
    });
    // What is computed is not waited for.
    runtime.shutdown_background();
    match exported? {
        Some(()) => Ok(()),
        None => Err(stopped()),
    }
}

/// Exports a run; nothing where it is told to stop before it is written.
async fn export_unless(
    stop: &AtomicBool,
    flags: &ExportFlags,
    output: &Output,
) -> Result<Option<()>, Failure> {
    let (engine, fact) = flags.connection.open(&[]).await?;
    let learner = fact.learner()?;
    let config = settings(&fact, flags)?;
    vacant(&flags.out)?;
    if flags.data.is_some() {
        super::open_same_data(&fact, &config, output)?;
    }
    let device = role::fact(&engine, Fact::Device).await?;
    let on_record = export::read(&engine, &learner).await?;
    let is_alone = config.search.is_alone();
    let computed = tokio::task::spawn_blocking(move || {
        let lines = on_record.lines(&learner)?;
        Ok::<_, ExportError>(if is_alone {
            export::alone(lines)
        } else {
            lines
        })
    });
    let lines = computed.await.expect("it does not panic")?;
    let device = device.map(|model| String::from_utf8_lossy(&model).into_owned());
    if write(&flags.out, (&config, &fact), device, lines, stop)?.is_none() {
        return Ok(None);
    }
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
    output.result(&json, &words).map(Some)
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

/// That nothing is in the place of the directory.
fn vacant(out: &Path) -> Result<(), Failure> {
    if fs::read_dir(out).is_ok_and(|mut found| found.next().is_some()) {
        let message = format!(
            "--out {} is there already; give another folder",
            out.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(())
}

/// Makes the directory, whole or not at all: it is written beside its place first. Nothing where it is told to
/// stop before.
fn write(
    out: &Path,
    (config, fact): (&Config, &RunFact),
    device: Option<String>,
    lines: Vec<Entry>,
    stop: &AtomicBool,
) -> Result<Option<()>, Failure> {
    let refused = |error: std::io::Error| {
        let message = format!("--out {}: {error}; give another folder", out.display());
        Failure::new(Kind::Usage, message)
    };
    vacant(out)?;
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let parent = disk::folder(out);
    fs::create_dir_all(parent).map_err(refused)?;
    let beside = Folder::new(parent, &format!(".{name}."), ".unfinished").map_err(refused)?;
    let run = beside.path().join("run");
    if fill(run.clone(), (config, fact), device, lines, stop)?.is_none() {
        return Ok(None);
    }
    fs::rename(run, out).map_err(refused)?;
    Ok(Some(()))
}

/// Writes a run: its settings, its journal and its best architecture. Not all of it where it is told to stop.
fn fill(
    path: PathBuf,
    (config, fact): (&Config, &RunFact),
    device: Option<String>,
    lines: Vec<Entry>,
    stop: &AtomicBool,
) -> Result<Option<()>, Failure> {
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
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        run.journal.append(&line).map_err(RunError::from)?;
        let added = run.history.add(line);
        added.map_err(|reason| {
            Failure::new(Kind::Run, format!("the run is no journal: {reason}"))
        })?;
    }
    run.write_best()?;
    tensorboard::write(config, &run);
    Ok(Some(()))
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
    super::runtime()?.block_on(async {
        flags.place.check(&flags.connection).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_is_told_to_stop_while_it_writes_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("runs/run");
        let config = Config::preset("sample").unwrap();
        let fact = RunFact::new(&config, "abc".into(), 60);
        let exported = |is_stopped| {
            let stop = AtomicBool::new(is_stopped);
            let written = write(&out, (&config, &fact), None, vec![], &stop).unwrap();
            let names = fs::read_dir(out.parent().unwrap()).unwrap();
            let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            (written.is_some(), names)
        };
        assert_eq!(exported(true), (false, vec![]));
        assert_eq!(exported(false), (true, vec!["run".into()]));
    }
}
