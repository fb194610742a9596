//! `nas-engine search`: a new run, one that goes on, or what a run would be.

mod cluster;
mod dry_run;
mod finish;
mod resume;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, DataFlags, DeviceFlags, SeedFlags, Settings, whole};
use super::machine;
use super::output::Output;
use super::progress::Progress;
use super::stop::{self, TimeFlags};
use crate::cluster::RoleError;
use crate::cluster::embedded::search::{self as shared, SharedError};
use crate::config::{self, Config, Staleness};
use crate::device::{self, Devices};
use crate::disk::{Disk, Real};
use crate::report::tensorboard;
use crate::run::Run;
use crate::run::history::History;
use crate::search::session::Session;
use crate::search::{End, Event, local};
use crate::space::{PRESETS, Space, SpaceKind};
use crate::text;
use crate::train::{Course, TrainConfig};

/// What a new run is.
#[derive(Args)]
pub struct RunFlags {
    #[command(flatten)]
    pub data: DataFlags,
    /// Kind of architectures: convolutional networks, recurrent cells, or the cells of NAS-Bench-201, which
    /// are looked up in a table; the preset's by default
    #[arg(long, value_name = "SPACE", value_parser = PossibleValuesParser::new(SpaceKind::NAMES))]
    space: Option<String>,
    /// Settings to start from: v1, v2, v3, ptb (the paper's), sample (the default), cell-sample (that of
    /// --space cell) or nas-bench-201
    #[arg(long, value_name = "PRESET", value_parser = PossibleValuesParser::new(PRESETS))]
    preset: Option<String>,
    /// Architectures in all, those of a resumed run counted
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::SAMPLES), value_name = "N")]
    samples: Option<i64>,
    /// Epochs of every child
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::EPOCHS), value_name = "N")]
    epochs: Option<i64>,
    /// Who answers for a child: train, or table, the one of --space nas-bench-201
    #[arg(long, value_name = "EVALUATOR", value_parser = ["train", "table"])]
    evaluator: Option<String>,
    /// policy: the controller learns; evolution: the best of a few earlier ones is changed in one place;
    /// random: uniform draws, nothing learns
    #[arg(long, value_name = "STRATEGY", value_parser = ["policy", "evolution", "random"])]
    strategy: Option<String>,
    /// Shards of the controller's parameters
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::SHARDS), value_name = "S")]
    shards: Option<i64>,
    /// Replicas of the controller, which draw and learn side by side
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::REPLICAS), value_name = "K")]
    replicas: Option<i64>,
    /// Every replica waits for all others: the result is a function of the settings alone
    #[arg(long)]
    synchronous: bool,
    /// Gradients of an update: each replica then draws as many times fewer children at once
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::GRADIENTS), value_name = "G")]
    gradients: Option<i64>,
    /// What a late gradient counts: paper (in full, the default), scale:T or bound:T
    #[arg(long, value_name = "POLICY")]
    staleness: Option<Staleness>,
    #[command(flatten)]
    device: DeviceFlags,
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    seed: SeedFlags,
}

impl RunFlags {
    /// The settings of the run.
    pub fn resolve(&self) -> Result<Config, Failure> {
        let kind = self.space.as_deref().and_then(SpaceKind::named);
        let mut settings = Settings::default();
        settings.set("search.preset", "--preset", self.preset.clone());
        settings.set("search.samples", "--samples", self.samples);
        settings.set("search.strategy", "--strategy", self.strategy.clone());
        settings.set("train.epochs", "--epochs", self.epochs);
        settings.set("search.shards", "--shards", self.shards);
        settings.set("search.replicas", "--replicas", self.replicas);
        settings.set("search.gradients", "--gradients", self.gradients);
        settings.set(
            "search.staleness",
            "--staleness",
            self.staleness.map(String::from),
        );
        let synchronous = self.synchronous.then_some(true);
        settings.set("search.synchronous", "--synchronous", synchronous);
        settings.data(&self.data)?;
        settings.device(&self.device);
        settings.seed(&self.seed);
        let preset = config::default_preset(kind.unwrap_or(SpaceKind::Conv));
        let config = settings.resolve(&self.config, preset)?;
        check_kind(&config, kind)?;
        check_evaluator(&config, self.evaluator.as_deref())?;
        let is_given = self.synchronous && self.staleness.is_some();
        if config.search.synchronous && (is_given || config.search.staleness != Staleness::Paper) {
            let message = "--staleness does not go with --synchronous, where all replicas wait for one another and \
                           no gradient is late; leave one out";
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(config)
    }
}

/// Flags of `search`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    run: RunFlags,
    /// Directory of the run; runs/<time>-<preset> by default
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Show the settings, the size of the space and what to expect; run nothing
    #[arg(long)]
    dry_run: bool,
    /// No progress bar
    #[arg(long)]
    no_progress: bool,
    #[command(flatten)]
    cluster: cluster::ClusterFlags,
    #[command(flatten)]
    time: TimeFlags,
}

/// Runs the command. `typed` are the names of the flags on the command line.
pub fn run(flags: &Flags, typed: &[String], output: &Output) -> Result<(), Failure> {
    match &flags.resume {
        // Never a run where none was asked for, were it by a variable that is not looked at otherwise.
        Some(_) if flags.dry_run => {
            let message = "--dry-run does not go with --resume, which is no new run to try: nothing \
                           was run; leave one out, or see `nas-engine status RUN`";
            Err(Failure::new(Kind::Usage, message))
        }
        Some(directory) => resume::run(flags, directory.clone(), typed, output),
        None => match flags.cluster.server() {
            Some(server) if !flags.dry_run => cluster::run(flags, server, output),
            _ => begin(flags, output),
        },
    }
}

/// A new run.
fn begin(flags: &Flags, output: &Output) -> Result<(), Failure> {
    // What runs nothing ends at the first signal.
    let stop = match flags.dry_run {
        true => Arc::default(),
        false => stop::flag(&flags.time)?,
    };
    let mut config = flags.run.resolve()?;
    let course = open_course(&config, output)?;
    // Opened before anything is written: a run that cannot begin leaves no directory.
    let devices = open_devices(&config, output)?;
    if config.device.memory_bytes.is_none() {
        let bytes = devices.memory_bytes().or_else(machine::memory_bytes);
        config.device.memory_bytes = bytes.map(local::share);
    }
    if flags.dry_run {
        return dry_run::run(&config, &course, &*devices.first(Some(1))?, output);
    }
    if stop.load(Ordering::Relaxed) {
        let message = "before the run was begun; begin it again with the same command";
        return Err(Failure::new(Kind::Stopped, message));
    }
    // From here on there is a run to go on with.
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let run = match &flags.out {
        Some(path) => Run::create(disk, path.clone(), &config)?,
        None => Run::create_by_time(&disk, &config)?,
    };
    output.note(&format!("run: {}", run.path.display()));
    go_on(&config, (course, devices), run, &stop, flags, output)
}

/// That the preset is of the kind that `--space` names.
fn check_kind(config: &Config, kind: Option<SpaceKind>) -> Result<(), Failure> {
    match kind {
        Some(kind) if kind != config.space.kind() => {
            let message = format!(
                "--space {}: the preset `{}` is one of --space {}; give --preset {}",
                kind.name(),
                config.search.preset,
                config.space.kind().name(),
                kind.presets().join(" or ")
            );
            Err(Failure::new(Kind::Usage, message))
        }
        _ => Ok(()),
    }
}

/// That who is to answer for the children is who can.
fn check_evaluator(config: &Config, evaluator: Option<&str>) -> Result<(), Failure> {
    let is_table = matches!(config.train, TrainConfig::Table(_));
    let message = match evaluator {
        Some("table") if !is_table => {
            "--evaluator table answers for the cells of NAS-Bench-201 alone; give --space nas-bench-201, or \
             leave it out"
        }
        Some("train") if is_table => {
            "--evaluator train: the cells of NAS-Bench-201 are looked up and not trained; leave it out"
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Kind::Usage, message))
}

/// Opens the data, and checks that they and the settings are enough for a child.
pub fn open_course(config: &Config, output: &Output) -> Result<Course, Failure> {
    let course = flags::open_course(config, output)?;
    course.check()?;
    flags::warn_of_split(&course, config.data.path.as_deref());
    // The sizes of a language model are the same for every cell of a space: that of the first says
    // whether the budget of parameters is enough.
    if let Course::Text(..) = course {
        let space = space(config)?;
        let cell = space.decode(&space.random(config.search.seed, 0));
        course.child(&cell.map_err(|error| Failure::from_error(Kind::Run, &error))?)?;
    }
    Ok(course)
}

/// Opens what the children are trained on, and says what it is.
pub fn open_devices(config: &Config, output: &Output) -> Result<Devices, Failure> {
    let (devices, why) = device::open_all(&config.device.name, config.device.convolution)?;
    if let Devices::Cpu(_) = devices {
        flags::check_threads(config);
    }
    let words = devices.describe(flags::threads(config))?;
    output.device(&words, why.as_deref());
    let models = devices.models()?;
    if models.len() > 1 {
        tracing::warn!(
            "GPUs of several models ({}): the same seed gives the same search on one model only",
            models.join(", ")
        );
    }
    Ok(devices)
}

/// Runs a search from where its history ends.
fn go_on(
    config: &Config,
    (course, devices): (Course, Devices),
    mut run: Run,
    stop: &Arc<AtomicBool>,
    flags: &Flags,
    output: &Output,
) -> Result<(), Failure> {
    let session = Session {
        config,
        course,
        devices,
        threads: flags::threads(config),
    };
    let mut progress = Progress::new(config, &run.history, flags.no_progress, output);
    let mut tensorboard = tensorboard::Watcher::open(config, &run);
    let mut watch = |event: Event| {
        progress.see(&event);
        tensorboard.see(&event);
    };
    let end = match config.search.is_alone() {
        true => {
            let end = session.go_on(&mut run, stop, &mut watch);
            end.map_err(Failure::from)
        }
        false => {
            let (ended, end) = shared::go_on(session, run, stop, &mut watch);
            run = ended;
            end.map_err(Failure::from)
        }
    };
    progress.clear();
    tensorboard.finish(&run.history);
    let on_record = || {
        format!(
            "{} of {} samples are on record; go on with: nas-engine search --resume {}",
            run.history.children.len(),
            config.search.samples,
            text::shell_path(&run.path)
        )
    };
    let finished = (config, &*run.path, &run.history);
    match end {
        // What comes after the last line takes nothing away from it.
        Err(error)
            if run
                .history
                .is_finished(config.search.samples, config.search.strategy) =>
        {
            finish::show(finished, Some(error), output)
        }
        Err(failure) if failure.kind == Kind::Stopped => {
            let message = format!("{}; {}", failure.message, on_record());
            Err(Failure::new(Kind::Stopped, message))
        }
        Err(failure) => Err(failure),
        Ok(end) => ended(end, finished, on_record, output),
    }
}

impl From<SharedError> for Failure {
    fn from(error: SharedError) -> Failure {
        match error {
            SharedError::Session(error) => error.into(),
            SharedError::Shards(_) => Failure::from_error(Kind::Usage, &error),
            SharedError::Replay(_) => Failure::from_error(Kind::Journal, &error),
            // The child is tried again where the search goes on.
            SharedError::Role(RoleError::NoResult { .. }) => {
                Failure::from_error(Kind::Stopped, &error)
            }
            SharedError::Role(error) => error.into(),
            _ => Failure::from_error(Kind::Run, &error),
        }
    }
}

/// Shows how a search ended.
fn ended(
    end: End,
    run: (&Config, &Path, &History),
    on_record: impl Fn() -> String,
    output: &Output,
) -> Result<(), Failure> {
    match end {
        End::Finished => finish::show(run, None, output),
        End::Stopped => Err(Failure::new(Kind::Stopped, on_record())),
        End::NoDevice(words) => {
            let message = format!("the last GPU is lost ({words}); {}", on_record());
            Err(Failure::new(Kind::Stopped, message))
        }
    }
}

fn space(config: &Config) -> Result<Space, Failure> {
    Space::new(&config.space).map_err(|error| Failure::from_error(Kind::Config, &error))
}
