//! `nas-engine search --resume`: a run that was stopped goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Flags, finish, go_on, open_course, open_devices};
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::{self, Settings};
use crate::cli::output::Output;
use crate::cli::{runs, stop};
use crate::config::Config;
use crate::disk::Real;
use crate::report::tensorboard;
use crate::run::journal::JournalError;
use crate::run::{self, Facts, Run, RunError};
use crate::search::End;
use crate::search::session::Session;
use crate::text;

/// Flags, by their names here, that go with `--resume`.
const WITH_RESUME: [&str; 7] = [
    "resume",
    "data",
    "samples",
    "device",
    "threads",
    "no_progress",
    "time_limit",
];

/// A run that was stopped.
pub(super) fn run(
    flags: &Flags,
    directory: PathBuf,
    typed: &[String],
    output: &Output,
) -> Result<(), Failure> {
    if let Some(flag) = typed
        .iter()
        .find(|flag| !WITH_RESUME.contains(&flag.as_str()))
    {
        let message = format!(
            "--{} does not go with --resume, which takes all settings from the run; only \
             --data (where its data lie now), --samples, --device, --threads and --time-limit may be \
             given: leave it out, or start a new run",
            flag.replace('_', "-")
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    runs::refuse_finish(&directory)?;
    let mut settings = Settings::default();
    settings.set("search.samples", "--samples", flags.run.samples);
    settings.set("device.name", "--device", flags.run.device.device.clone());
    settings.set("device.threads", "--threads", flags.run.device.threads);
    // In the environment it is where those of new runs lie.
    if typed.iter().any(|flag| flag == "data") {
        settings.data_path(flags.run.data.data.as_deref())?;
    }
    let stop = stop::flag(&flags.time)?;
    let opened = Run::open(Arc::new(Real), directory.clone(), &settings.0);
    if let Err(RunError::Journal(JournalError::Io { .. })) = opened
        && let Ok(Facts { config, history }) = run::read(&Real, &directory)
        && flags.run.samples.is_none()
        && history.is_finished(config.search.samples, config.search.strategy)
    {
        // On a disk that is only read, say, where nothing needs to be mended.
        output.note("this run is finished, and cannot be written");
        return finish::show((&config, &directory, &history), None, output);
    }
    let (mut config, run) = opened.map_err(not_there)?;
    flags::name_data_fully(&mut config)?; // an older version kept names as they stood
    if run.torn > 0 {
        output.note(&format!(
            "{}: the last line of its journal, {} bytes, was being written when the run was stopped; it \
             is dropped",
            run.path.display(),
            run.torn
        ));
    }
    let strategy = config.search.strategy;
    if run.history.is_finished(config.search.samples, strategy) {
        output.note(match config.search.is_alone() {
            true => "this run is finished; give --samples a larger number to go on",
            false => "this run is finished",
        });
        tensorboard::write(&config, &run); // a kill may have left it behind
        let mended = mend(&config, &run, &stop, output);
        let finished = (&config, &*run.path, &run.history);
        return finish::show(finished, mended.err(), output);
    }
    let begun = run.history.runs.last().map(|run| run.samples);
    if !config.search.is_alone() && begun.is_some_and(|n| n != config.search.samples) {
        let message = "--samples cannot change in a search of several shards or replicas, whose rounds were \
                       shared out at its beginning; leave it out, or start a new run";
        return Err(Failure::new(Kind::Usage, message));
    }
    if run.history.reach() > config.search.samples {
        let message = format!(
            "--samples {} is less than the {} that were begun already; give at least that",
            config.search.samples,
            run.history.reach()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let tried_again = run.history.to_try_again(strategy).len();
    if tried_again > 0 {
        output.note(&format!(
            "children tried again after a fault of the machine: {tried_again}"
        ));
    }
    let course = open_course(&config, output)?;
    run.check_same(&config, &course)?;
    let devices = open_devices(&config, output)?;
    run.write_config(&config)?;
    go_on(&config, (course, devices), run, &stop, flags, output)
}

/// Mends a finished run, which may have been killed after its last line and before its last file, or have
/// lost weights.
fn mend(config: &Config, run: &Run, stop: &AtomicBool, output: &Output) -> Result<(), Failure> {
    if run.tidy()?.is_empty() {
        return Ok(());
    }
    let opened = open_course(config, output).and_then(|course| {
        run.check_same(config, &course)?;
        Ok((course, open_devices(config, output)?))
    });
    let (course, devices) = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            tracing::warn!("weights are missing and stay so: {}", failure.message);
            return Ok(());
        }
    };
    let session = Session {
        config,
        course,
        devices,
        threads: flags::threads(config),
    };
    let stopped = |why: &str| {
        let message = format!(
            "{why}weights are missing still; go on with: nas-engine search --resume {}",
            text::shell_path(&run.path)
        );
        Failure::new(Kind::Stopped, message)
    };
    match session.mend(run, stop)? {
        End::Finished => Ok(()),
        End::Stopped => Err(stopped("")),
        End::NoDevice(words) => Err(stopped(&format!("the last GPU is lost ({words}); "))),
    }
}

/// Where there is no run to go on with, names the flag that should have one.
fn not_there(error: RunError) -> Failure {
    match error {
        RunError::Absent { .. } | RunError::NoSettings { .. } => {
            Failure::new(Kind::Usage, format!("--resume {error}"))
        }
        other => other.into(),
    }
}
