//! `nas-engine finish`: from a search to a network or a cell that is trained for good.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};
use super::flags::{self, Settings, within};
use super::output::Output;
use super::runs;
use super::search::{open_course, open_devices};
use super::stop::{self, TimeFlags};
use super::train::show;
use crate::config::{Config, EPOCHS};
use crate::disk::{Disk, Real};
use crate::finish::grid::{Candidate, Defaults, Grid};
use crate::finish::progress::{self, Progress};
use crate::finish::{Event, FOLDER, Finish, FinishError};
use crate::report::table::aligned;
use crate::report::{Summary, final_training};
use crate::run::entry::Child;
use crate::run::state::{Locks, State};
use crate::run::{self, Facts, journal};
use crate::space::{Architecture, SpaceKind};
use crate::text;

/// How often a run that still goes on is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Time without a word before an epoch of the grid is told.
const BETWEEN_EPOCHS: Duration = Duration::from_secs(10);

/// Architectures that are tried at most.
const MOST_CANDIDATES: u64 = 1000;

/// Filters that may be added at most.
const MOST_FILTERS: u64 = 4096;

/// Flags of `finish`.
#[derive(Args)]
pub struct Flags {
    /// Directory of the run
    run: PathBuf,
    /// Architectures that are tried: so many of the best
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=MOST_CANDIDATES), value_name = "K", default_value = "1")]
    top: i64,
    /// Epochs of every training; 6 times the search's by default, twice of cells
    #[arg(long, allow_negative_numbers = true, value_parser = within(EPOCHS), value_name = "N")]
    epochs: Option<i64>,
    /// Filters that every convolution gets besides (the paper's last network: 40)
    #[arg(long, allow_negative_numbers = true, value_parser = within(0..=MOST_FILTERS), value_name = "N")]
    add_filters: Option<i64>,
    /// Initial learning rates to try; half the search's and the search's by default, of cells twice it too
    #[arg(long, value_name = "X,…", allow_hyphen_values = true)]
    learning_rates: Option<String>,
    /// Weight decays to try; the search's and 5 times that by default
    #[arg(long, value_name = "X,…", allow_hyphen_values = true)]
    weight_decays: Option<String>,
    /// Epsilons of batch normalisation to try; the search's and 100 times that by default
    #[arg(long, value_name = "X,…", allow_hyphen_values = true)]
    epsilons: Option<String>,
    /// Epochs before the learning rate falls, to try; as in the search by default
    #[arg(long, value_name = "N,…", allow_hyphen_values = true)]
    decay_epochs: Option<String>,
    /// Wait for a search that still goes on
    #[arg(long)]
    wait: bool,
    /// Where the data of the run lie now
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    device: flags::DeviceFlags,
    #[command(flatten)]
    time: TimeFlags,
}

/// Runs the command. `typed` are the names of the flags on the command line.
pub fn run(flags: &Flags, typed: &[String], output: &Output) -> Result<(), Failure> {
    runs::refuse_finish(&flags.run)?;
    let stop = stop::flag(&flags.time)?;
    let Facts { config, history } = searched(flags, &stop, output)?;
    let mut settings = Settings::default();
    // In the environment it is where the data of new runs lie.
    if typed.iter().any(|flag| flag == "data") {
        settings.data_path(flags.data.as_deref())?;
    }
    settings.device(&flags.device);
    let mut settled = run::settings_of(&Real, &flags.run, &settings.0)?;
    flags::name_data_fully(&mut settled)?;
    let summary = Summary::new(&history);
    let grid = grid(flags, &settled, &summary)?;
    let n_samples = summary.samples;
    if n_samples < config.search.samples {
        tracing::warn!(
            "the search has {n_samples} of its {} samples; the best so far is finished",
            config.search.samples
        );
    }
    if grid.epochs < config.train.epochs() {
        tracing::warn!(
            "--epochs {} is less than the {} of the search: what comes of it may be worse than the search's own",
            grid.epochs,
            config.train.epochs()
        );
    }
    let course = open_course(&settled, output)?;
    let begun = history.runs.first().map(|run| &run.data_sha256);
    if begun.is_some_and(|begun| *begun != course.data_sha256()) {
        let message = format!(
            "{} are other data than the search had (sha256 {}, not {}); give its own with --data",
            course.describe_data(),
            course.data_sha256(),
            begun.map_or("", String::as_str)
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let devices = open_devices(&settled, output)?;
    let finish = Finish {
        config: &settled,
        course,
        devices,
        threads: flags::threads(&settled),
        grid: grid.clone(),
        stop: &stop,
    };
    let folder = flags.run.join(FOLDER);
    output.note(&format!(
        "trainings of the grid: {}, of {} epochs each, then the last one; kept in {}",
        grid.len(),
        grid.epochs,
        folder.display()
    ));
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let (mut told, mut is_done) = (Instant::now(), true);
    let finished = finish.run(&disk, &folder, &mut |event| {
        is_done = false;
        // Of a grid's many epochs few are told: enough to see that it goes on.
        let is_epoch = matches!(event, Event::Trying(..));
        if !is_epoch || told.elapsed() >= BETWEEN_EPOCHS {
            tell(&event, &grid, output);
            told = Instant::now();
        }
    });
    let finished = finished.map_err(|error| failure(error, &flags.run))?;
    if is_done {
        output.note("already finished: nothing is left to train");
    }
    output.result(&result(&flags.run, &finished), &words(&finished))
}

/// The run, whose search is over or stopped.
fn searched(flags: &Flags, stop: &AtomicBool, output: &Output) -> Result<Facts, Failure> {
    let mut is_told = false;
    loop {
        let locks = Locks::look(&flags.run.join(journal::FILE_NAME));
        let facts = run::read(&Real, &flags.run)?;
        let search = &facts.config.search;
        if facts.config.space.kind() == SpaceKind::Bench {
            let message = "the cells of NAS-Bench-201 are looked up in a table and never trained; finish a \
                           search of networks or of recurrent cells";
            return Err(Failure::new(Kind::Usage, message));
        }
        let finished = facts.history.is_finished(search.samples, search.strategy);
        let state = locks.state(finished, facts.history.stopped);
        if !matches!(state, State::Running) {
            return Ok(facts);
        }
        if !flags.wait {
            let message = format!(
                "the search in {} still goes on; give --wait to begin when it ends, or stop it first",
                flags.run.display()
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        if !is_told {
            output.note("waiting for the search to end");
            is_told = true;
        }
        if stop.load(Ordering::Relaxed) {
            let message = "while it waited for the search to end; nothing was begun";
            return Err(Failure::new(Kind::Stopped, message));
        }
        thread::sleep(LOOK);
    }
}

/// What is tried, by flags and by the search's settings.
fn grid(flags: &Flags, config: &Config, summary: &Summary) -> Result<Grid, Failure> {
    let usage = |error: &dyn Display| Failure::new(Kind::Usage, error.to_string());
    let defaults = Defaults::new(&config.train);
    if config.space.kind() == SpaceKind::Cell {
        let of_networks = [
            ("--add-filters", flags.add_filters.is_some()),
            ("--weight-decays", flags.weight_decays.is_some()),
            ("--epsilons", flags.epsilons.is_some()),
        ];
        flags::refuse(&of_networks, "convolutional networks", "recurrent cells")?;
    }
    let more = flags.add_filters.map_or(0, |n| n as usize);
    let best = summary.best.iter().take(flags.top as usize);
    let candidate = |best: &crate::report::Best| {
        let architecture = Architecture::from_json(best.architecture.get())
            .map_err(|error| Failure::from_error(Kind::Journal, &error))?;
        Candidate::new(best.sample, best.score, &architecture, more).map_err(|error| usage(&error))
    };
    let candidates = best.map(candidate).collect::<Result<Vec<_>, _>>()?;
    if candidates.is_empty() {
        let message = format!(
            "no architecture of the search in {} was trained to the end, so there is none to finish",
            flags.run.display()
        );
        return Err(Failure::new(Kind::Run, message));
    }
    let epochs = flags.epochs.map_or(defaults.epochs, |n| n as usize);
    let default_decay = Defaults::decay_epoch(&config.train, epochs);
    let grid = Grid {
        candidates,
        epochs,
        add_filters: more,
        learning_rates: list(
            "--learning-rates",
            &flags.learning_rates,
            defaults.learning_rates,
        )?,
        weight_decays: list(
            "--weight-decays",
            &flags.weight_decays,
            defaults.weight_decays,
        )?,
        epsilons: list("--epsilons", &flags.epsilons, defaults.epsilons)?,
        decay_epochs: list("--decay-epochs", &flags.decay_epochs, vec![default_decay])?,
    };
    grid.check().map_err(|error| usage(&error))?;
    Ok(grid)
}

/// The values of a flag, between commas.
fn list<T: FromStr>(flag: &str, given: &Option<String>, usual: Vec<T>) -> Result<Vec<T>, Failure> {
    let Some(given) = given else {
        return Ok(usual);
    };
    let value = |text: &str| {
        text.trim().parse().map_err(|_| {
            let message = format!("{flag} has `{text}`; give numbers with commas between them");
            Failure::new(Kind::Usage, message)
        })
    };
    given.split(',').map(value).collect()
}

/// Says what happens.
fn tell(event: &Event, grid: &Grid, output: &Output) {
    match event {
        Event::Trying(point, epoch) => output.note(&format!(
            "sample {}, {}: epoch {epoch} of {}",
            grid.candidates[point.candidate].sample,
            point.recipe.words(),
            grid.epochs
        )),
        Event::Tried(point, child, n_done) => output.note(&format!(
            "{n_done} of {}: sample {}, {}: {}",
            grid.len(),
            grid.candidates[point.candidate].sample,
            point.recipe.words(),
            achieved(child)
        )),
        Event::Epoch(epoch, is_control) => {
            let whose = if *is_control {
                "control (LSTM), "
            } else {
                "last training, "
            };
            output.note(&format!("{whose}{}", show::line_of_all(epoch, grid.epochs)));
        }
    }
}

fn achieved(child: &Child) -> String {
    match progress::achieved(child) {
        Some(counted) => {
            let (name, value) = counted.shown();
            format!("{name} {value}")
        }
        None => child.status.word().to_owned(),
    }
}

fn failure(error: FinishError, run: &Path) -> Failure {
    let on = format!("go on with: nas-engine finish {}", text::shell_path(run));
    match error {
        FinishError::Train(crate::train::TrainError::Stopped) => {
            let message = format!("in the last training; {on}, and the same flags");
            Failure::new(Kind::Stopped, message)
        }
        FinishError::Stopped { .. } | FinishError::NoDevice(_) => {
            let message = format!("{error}; {on}, and the same flags");
            Failure::new(Kind::Stopped, message)
        }
        FinishError::OtherGrid { .. } => Failure::from_error(Kind::Usage, &error),
        FinishError::Damaged { .. } | FinishError::Unfit { .. } => {
            Failure::from_error(Kind::Data, &error)
        }
        FinishError::Nothing { .. } | FinishError::Diverged { .. } => {
            Failure::from_error(Kind::Run, &error)
        }
        FinishError::Run(error) => error.into(),
        FinishError::Device(error) => error.into(),
        FinishError::Train(error) => error.into(),
    }
}

fn result(run: &Path, finished: &Progress) -> Value {
    let mut json = json!({
        "run": run.display().to_string(),
        "candidates": final_training::candidates_json(finished),
    });
    for (key, value) in final_training::results_json(finished) {
        json[key] = value;
    }
    json
}

fn words(finished: &Progress) -> String {
    let mut words = aligned(&final_training::HEADS, &final_training::rows(finished));
    words += &format!("\n{}\n\n", final_training::note(finished.kind()));
    for (what, value) in final_training::results(finished) {
        words += &format!("{what:<34} {value}\n");
    }
    let weights = finished.weights();
    words += &format!(
        "\nweights       {}\narchitecture  {}\n\nUse it elsewhere:\n  nas-engine export --weights {} \
         --format onnx --out {}\n",
        text::shell_path(&weights),
        text::shell_path(&finished.architecture()),
        text::shell_path(&weights),
        text::shell_path(&weights.with_extension("onnx")),
    );
    words
}
