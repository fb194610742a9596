//! `nas-engine cluster child`: trains children, one after the other, for the worker that began this process,
//! which names their folders on standard input; says on standard output what comes of them, and stops when the
//! input ends.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::cli::failure::{Failure, Kind};
use crate::cli::flags;
use crate::cli::machine;
use crate::cli::output::Output;
use crate::cli::search;
use crate::cluster::message::Job as Message;
use crate::cluster::process::{CHECKPOINTS, JOB_FILE, Report, Said};
use crate::config::{Config, FILE_NAME};
use crate::device::{Device, List};
use crate::disk::{Disk, Real};
use crate::run::RunError;
use crate::run::best_weights::BestWeights;
use crate::run::checkpoints::Checkpoints;
use crate::run::history::History;
use crate::search::child::{ChildEnd, Kept, Trainer};
use crate::search::evaluator::{Job, Outcome};
use crate::search::local;
use crate::space::{Architecture, Space, SpaceKind};

/// Flags of `cluster child`.
#[derive(Args)]
pub struct Flags {
    /// The folder of all children
    folder: PathBuf,
    /// Test the device by a step of a small training, and end
    #[arg(long)]
    test: bool,
}

/// Runs the command.
pub fn run(flags: &Flags, _output: &Output) -> Result<(), Failure> {
    pass_over_signals()?;
    if flags.test {
        return test(&flags.folder);
    }
    let (names, stop) = input();
    let mut children = Children::open(&flags.folder)?;
    for name in names {
        children.train(&flags.folder.join(name), &stop)?;
    }
    Ok(())
}

/// What children are trained with.
struct Children {
    config: Config,
    space: Space,
    trainer: Trainer,
    planner: Arc<dyn Device>,
    device: Arc<dyn Device>,
    n_threads: usize,
    /// Bytes that a plan may take.
    limit: u64,
}

impl Children {
    fn open(folder: &Path) -> Result<Children, Failure> {
        let quiet = Output::new(false, true, 0);
        let config = Config::resolve(Some(&folder.join(FILE_NAME)), &[], "sample")?;
        let space =
            Space::new(&config.space).map_err(|error| Failure::from_error(Kind::Config, &error))?;
        let course = search::open_course(&config, &quiet)?;
        let devices = search::open_devices(&config, &quiet)?;
        let memory = devices.memory_bytes().or_else(machine::memory_bytes);
        let limit = config.device.memory_bytes.or(memory.map(local::share));
        let n_threads = flags::threads(&config);
        Ok(Children {
            trainer: Trainer {
                course,
                seed: config.search.seed,
                kept: None,
            },
            space,
            planner: devices.first(Some(1))?,
            device: devices.first(Some(n_threads))?,
            n_threads,
            limit: limit.unwrap_or(u64::MAX),
            config,
        })
    }

    /// Trains the child of a folder.
    fn train(&mut self, folder: &Path, stop: &AtomicBool) -> Result<(), Failure> {
        let broken =
            |error: io::Error| Failure::new(Kind::Run, format!("{}: {error}", folder.display()));
        let bytes = fs::read(folder.join(JOB_FILE)).map_err(broken)?;
        let job = Message::from_bytes(&bytes)
            .map_err(|error| Failure::from_error(Kind::Usage, &error))?;
        let architecture = self.space.decode(&job.tokens);
        let architecture =
            architecture.map_err(|error| Failure::from_error(Kind::Architecture, &error))?;
        match kept(folder, &self.config) {
            Ok(kept) => self.trainer.kept = Some(kept),
            Err(error) => return not_kept(error),
        }
        let job = Job::new(job.sample, architecture);
        let planned = match self.trainer.plan(job, &*self.planner, self.limit) {
            Ok(planned) => planned,
            Err(outcome) => return say(ended(*outcome)),
        };
        let plan = planned.child.plan(&*self.device);
        let mut tell = |epoch: usize| {
            // Where nobody listens, the end of the input says so as well.
            let _ = say(Said::Epoch {
                epoch: epoch as u64,
            });
        };
        let place = (&*self.device, &plan, self.n_threads);
        match self.trainer.train(&planned, place, stop, &mut tell) {
            ChildEnd::Outcome(outcome) => say(ended(outcome)),
            ChildEnd::Lost(message) => {
                say(Said::Lost {
                    message: message.clone(),
                })?;
                Err(Failure::new(Kind::Device, message))
            }
            ChildEnd::Stopped => Err(Failure::new(Kind::Stopped, "told to stop")),
            ChildEnd::NotKept(error) => not_kept(error),
        }
    }
}

/// Has the device do what it does in a training: take memory, run steps, and give what came of them.
fn test(folder: &Path) -> Result<(), Failure> {
    let quiet = Output::new(false, true, 0);
    let config = Config::resolve(Some(&folder.join(FILE_NAME)), &[], "sample")?;
    let course = search::open_course(&config, &quiet)?;
    let device = search::open_devices(&config, &quiet)?.first(Some(1))?;
    let small = match config.space.kind() {
        SpaceKind::Conv => {
            r#"{"space":"conv","layers":[{"filter":[3,3],"filters":8,"inputs":[0]}]}"#
        }
        SpaceKind::Cell => r#"{"space":"cell","kind":"lstm"}"#,
        SpaceKind::Bench => return Ok(()), // a device does nothing for them
    };
    let small = Architecture::from_json(small)
        .map_err(|error| Failure::from_error(Kind::Architecture, &error))?;
    let child = course.child(&small)?;
    let plan = child.plan(&*device);
    let lessons = child.lessons()?;
    let order = lessons.order(config.search.seed, 0);
    let mut session = device.load(&plan, Some(lessons.input(config.search.seed)))?;
    session.run(List::Prepare, 1);
    session.begin(&order[..lessons.batch()], lessons.control(0.0, 0));
    session.run(List::Train, 1);
    session.results()?;
    Ok(())
}

/// What is kept of the child: in its folder, whose checkpoints the worker looks at.
fn kept(folder: &Path, config: &Config) -> Result<Kept, RunError> {
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let history = History::default();
    Ok(Kept {
        config_sha256: config.sha256(),
        best_weights: Some(BestWeights::open(
            Arc::clone(&disk),
            folder.join("weights"),
            &history,
        )?),
        checkpoints: Checkpoints::open(disk, folder.join(CHECKPOINTS), &history)?,
        every: Duration::from_secs(config.train.checkpoint_seconds()),
    })
}

/// What the worker has for its children has no room, say: the child is not at fault.
fn not_kept(error: RunError) -> Result<(), Failure> {
    let message = match error {
        RunError::Keep { path, source } => format!(
            "cannot write {}: {source}; make room there, mend the right to it, or set TMPDIR to another folder",
            path.display()
        ),
        error => return Err(error.into()),
    };
    say(Said::Lost {
        message: message.clone(),
    })?;
    Err(Failure::new(Kind::Device, message))
}

fn ended(outcome: Outcome) -> Said {
    Said::Ended(Report {
        status: outcome.status,
        scores: outcome.scores,
        parameters: outcome.parameters,
        message: outcome.message,
        timing: outcome.timing,
    })
}

fn say(said: Said) -> Result<(), Failure> {
    let line = serde_json::to_string(&said).expect("words are JSON") + "\n";
    let mut output = io::stdout().lock();
    let written = output
        .write_all(line.as_bytes())
        .and_then(|()| output.flush());
    written.map_err(|error| Failure::new(Kind::Run, format!("nobody listens: {error}")))
}

/// Where a cluster signals every process of a job, it is the worker that heeds it, and tells its child.
fn pass_over_signals() -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        let passed_over = signal_hook::flag::register(signal, Arc::default());
        passed_over.map_err(|error| {
            Failure::new(Kind::Run, format!("cannot pass over signals: {error}"))
        })?;
    }
    Ok(())
}

/// The names that the worker writes, and a flag that is set when it closes the input or is no more.
fn input() -> (Receiver<String>, Arc<AtomicBool>) {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let (sender, names) = channel();
    thread::spawn(move || {
        for name in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(name);
        }
        set.store(true, Ordering::Relaxed);
    });
    (names, stop)
}
