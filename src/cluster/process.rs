//! Children in processes of their own: one that crashes, or takes all memory, takes nobody along. The
//! process is this program with the hidden command `cluster child`; what it is told on standard input is the
//! name of a child's folder, a line each, and what it says on standard output is [`Said`], a line each. The
//! child's checkpoints are files that are read here.
//!
//! A process whose child ended in good order trains the next one, so that neither data nor device are opened
//! again; it is not kept for long, for it holds memory, of a GPU too. One that has a limit of memory trains one
//! child: what an earlier one left there would count. For the same reason a child that another was trained before
//! in its process, and that ends for want of memory, is given back and begun again.

mod live;
mod memory;
mod words;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::message::{Done, Job};
use super::worker::{Step, Trainer, Training};
use crate::checkpoint;
use crate::run::Status;
use crate::run::entry::Timing;
use crate::search::evaluator::Outcome;
use crate::space::SpaceKind;
use crate::train::Scores;
use live::Live;
pub use memory::Memory;

/// Name of the job's file in a child's folder.
pub const JOB_FILE: &str = "job.json";

/// Name of the folder of its checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// Flag of a process that tests its device and ends.
pub const TEST: &str = "--test";

/// How long a test of a device may take: a large data set is read first.
const TEST_TIME: Duration = Duration::from_secs(300);

/// How long a process waits for the next child.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// What a child's process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Said {
    /// So many epochs are done.
    Epoch {
        /// Epochs.
        epoch: u64,
    },
    /// The child ended.
    Ended(Report),
    /// Its device is not to be used any more.
    Lost {
        /// The device's words.
        message: String,
    },
}

/// How a child ended, by its process's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How.
    pub status: Status,
    /// What it achieved.
    pub scores: Scores,
    /// Trainable parameters, where known.
    pub parameters: Option<u64>,
    /// Why it failed.
    pub message: Option<String>,
    /// What it took.
    pub timing: Timing,
}

impl Report {
    fn of(self, sample: u64) -> Outcome {
        Outcome {
            sample,
            status: self.status,
            scores: self.scores,
            parameters: self.parameters,
            message: self.message,
            timing: self.timing,
        }
    }
}

/// Trains children in processes.
#[derive(Debug)]
pub struct Processes {
    program: PathBuf,
    /// Its arguments, but for the folder, which comes last.
    arguments: Vec<OsString>,
    folder: PathBuf,
    kind: SpaceKind,
    memory: Arc<Memory>,
    /// The process that waits for the next child.
    waiting: Waiting,
}

/// Where a process is whose child ended in good order.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    live: Option<Live>,
    /// How often it was filled or emptied.
    n: u64,
}

impl Waiting {
    fn take(&self) -> Option<Live> {
        exchange(&self.0, None).0
    }

    /// Keeps a process for a while.
    fn put(&self, live: Live) {
        let (_, n) = exchange(&self.0, Some(live));
        // Of a worker that has ended nothing is left.
        let slot = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            sleep(KEPT_FOR).await;
            let Some(slot) = slot.upgrade() else {
                return;
            };
            let mut slot = lock(&slot);
            if slot.n == n {
                slot.live = None;
            }
        });
    }
}

/// Fills or empties a slot; what was in it, and how often that was done.
fn exchange(slot: &Mutex<Slot>, live: Option<Live>) -> (Option<Live>, u64) {
    let mut slot = lock(slot);
    slot.n += 1;
    (std::mem::replace(&mut slot.live, live), slot.n)
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child in a process.
pub struct Process {
    sample: u64,
    /// Before the folder, which can go when nobody writes there any more: fields are dropped in their order.
    live: Option<Live>,
    folder: Option<TempDir>,
    waiting: Waiting,
    /// Whether the process may train another child after this one.
    is_kept: bool,
    /// Whether it has trained one before.
    is_second: bool,
    /// How it ended, by its own words.
    said: Option<Said>,
    /// When the newest checkpoint that was handed on was written.
    kept: Option<SystemTime>,
    kind: SpaceKind,
    /// Why it could not be begun.
    failed: Option<String>,
    /// What is to be said after a last checkpoint.
    last: Option<Step>,
}

impl Trainer for Processes {
    type Training = Process;

    fn begin(&self, job: &Job, from: Option<Vec<u8>>) -> Process {
        let mut process = Process {
            sample: job.sample,
            folder: None,
            live: None,
            waiting: self.waiting.clone(),
            is_kept: matches!(*self.memory, Memory::Free),
            is_second: false,
            said: None,
            kept: None,
            kind: self.kind,
            failed: None,
            last: None,
        };
        if let Err(error) = self.start(&mut process, job, from) {
            process.failed = Some(format!(
                "a process for a child cannot be begun in {}: {error}; make room there, or set TMPDIR to another folder",
                self.folder.display()
            ));
        }
        process
    }

    async fn test(&self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(TEST).arg(&self.folder);
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        match timeout(TEST_TIME, command.status()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!(
                "a child crashed, and a test of its device failed ({status}); its words are above"
            )),
            Ok(Err(error)) => Err(format!(
                "a child crashed, and a test of its device cannot be begun: {error}"
            )),
            Err(_) => Err(format!(
                "a child crashed, and a test of its device took more than {} s",
                TEST_TIME.as_secs()
            )),
        }
    }
}

impl Processes {
    /// Trains children that are a `kind` by a `program` with `arguments`, after which comes the `folder` in
    /// which theirs are made; `memory` holds each to its limit.
    pub fn new(
        (program, arguments): (PathBuf, Vec<OsString>),
        folder: PathBuf,
        kind: SpaceKind,
        memory: Arc<Memory>,
    ) -> Processes {
        Processes {
            program,
            arguments,
            folder,
            kind,
            memory,
            waiting: Waiting::default(),
        }
    }

    fn start(&self, process: &mut Process, job: &Job, from: Option<Vec<u8>>) -> io::Result<()> {
        let folder = TempDir::with_prefix_in("child-", &self.folder)?;
        fs::write(folder.path().join(JOB_FILE), job.to_bytes())?;
        let checkpoints = folder.path().join(CHECKPOINTS);
        fs::create_dir(&checkpoints)?;
        if let Some(bytes) = from {
            let path = checkpoints.join(job.sample.to_string());
            fs::write(&path, bytes)?;
            process.kept = Some(fs::metadata(&path)?.modified()?);
        }
        // One that ended meanwhile took nobody along.
        let going_on = |mut live: Live| live.train(folder.path()).ok().map(|()| live);
        let live = match self.waiting.take().and_then(going_on) {
            Some(live) => {
                process.is_second = true;
                live
            }
            None => {
                let mut command = Command::new(&self.program);
                command.args(&self.arguments).arg(&self.folder);
                let mut live = Live::start(&mut command, &self.memory)?;
                // How it ended is said later, where it has already.
                let _ = live.train(folder.path());
                live
            }
        };
        process.live = Some(live);
        process.folder = Some(folder);
        Ok(())
    }
}

impl Training for Process {
    async fn next(&mut self) -> Step {
        if let Some(message) = self.failed.take() {
            return Step::Unusable(message);
        }
        if let Some(last) = self.last.take() {
            return last;
        }
        loop {
            let Some(live) = &mut self.live else {
                return std::future::pending().await;
            };
            match live.line().await {
                Some(line) => match serde_json::from_str(&line) {
                    Ok(Said::Epoch { epoch }) => {
                        return self.checkpoint().unwrap_or(Step::Epoch(epoch));
                    }
                    Ok(Said::Ended(report)) if self.is_kept && report.status.is_verdict() => {
                        if let Some(live) = self.live.take() {
                            self.waiting.put(live);
                        }
                        return self.end(report.of(self.sample));
                    }
                    Ok(said) => {
                        live.stop();
                        self.said = Some(said);
                    }
                    Err(error) => tracing::debug!("sample {}: `{line}`: {error}", self.sample),
                },
                None => {
                    let (status, words) = live.end().await;
                    return self.ended(status, &words);
                }
            }
        }
    }

    fn stop(&mut self) {
        if let Some(live) = &mut self.live {
            live.stop();
        }
    }
}

impl Process {
    /// What is to be made of a process that is not there any more.
    fn ended(&mut self, status: Option<ExitStatus>, words: &str) -> Step {
        let (code, signal) = match status {
            Some(status) => (status.code(), status.signal()),
            None => (None, None),
        };
        let step = match (self.said.take(), code) {
            (Some(Said::Lost { message }), _) => Step::Unusable(message),
            (Some(Said::Ended(report)), Some(0)) => return self.end(report.of(self.sample)),
            (_, Some(75)) => Step::Stopped,
            // It is of no use to begin other children in this way.
            (_, Some(code @ 2..=4)) => Step::Unusable(format!(
                "the process of sample {} ended with code {code}; its words are above",
                self.sample
            )),
            _ => self.end(self.crashed(code, signal, words)),
        };
        // What it kept before it ended.
        match self.checkpoint() {
            Some(checkpoint) => {
                self.last = Some(step);
                checkpoint
            }
            None => step,
        }
    }

    fn end(&self, outcome: Outcome) -> Step {
        if self.is_second && outcome.status == Status::OutOfMemory {
            let why = outcome.message.unwrap_or_default();
            tracing::warn!(
                "sample {}: {why}; it is begun again in a new process",
                self.sample
            );
            return Step::Stopped;
        }
        Step::Ended(Box::new(outcome))
    }

    fn crashed(&self, code: Option<i32>, signal: Option<i32>, words: &str) -> Outcome {
        let how = match (code, signal) {
            (_, Some(signal)) => format!("by signal {signal}"),
            (Some(code), None) => format!("with code {code}"),
            (None, None) => "in an unknown way".to_owned(),
        };
        let lacked_memory = |signal| {
            let live = self.live.as_ref();
            live.is_some_and(|live| live.lacked_memory(signal, words))
        };
        let (status, why) = match signal.is_some_and(lacked_memory) {
            true => (Status::OutOfMemory, " for want of memory"),
            false => (Status::Crash, ""),
        };
        let last = match words {
            "" => String::new(),
            words => format!(": {words}"),
        };
        Outcome {
            sample: self.sample,
            status,
            scores: Scores::none(self.kind),
            parameters: None,
            message: Some(format!("its process ended {how}{why}{last}")),
            timing: Timing::default(),
        }
    }

    /// A checkpoint that was written since the last.
    fn checkpoint(&mut self) -> Option<Step> {
        let folder = self.folder.as_ref()?.path().join(CHECKPOINTS);
        let (written, path) = newest(&folder)?;
        if self.kept.is_some_and(|kept| kept >= written) {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        let done = done(&bytes)?;
        self.kept = Some(written);
        Some(Step::Checkpoint { done, bytes })
    }
}

/// The file of a folder that was written last.
fn newest(folder: &Path) -> Option<(SystemTime, PathBuf)> {
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_whole = !entry.file_name().to_string_lossy().starts_with('.');
        let written = entry.metadata().ok()?.modified().ok()?;
        is_whole.then(|| (written, entry.path()))
    });
    files.max()
}

/// How far the training of a checkpoint is.
fn done(bytes: &[u8]) -> Option<Done> {
    let saved = checkpoint::from_bytes::<serde_json::Value>(bytes).ok()?;
    Some(Done {
        epochs: saved.header["epochs"].as_array()?.len() as u64,
        batches: saved.header["n_batches"].as_u64()?,
    })
}
