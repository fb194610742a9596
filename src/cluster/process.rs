//! Children in processes of their own: one that crashes, or takes all memory, takes nobody along. The
//! process is this program with the hidden command `cluster child`; what it says on standard output is
//! [`Said`], a line each, and its checkpoints are files that are read here.

mod memory;
mod words;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::message::{Done, Job};
use super::worker::{Step, Trainer, Training};
use crate::checkpoint;
use crate::run::Status;
use crate::run::entry::Timing;
use crate::search::evaluator::Outcome;
use crate::space::SpaceKind;
use crate::train::Scores;
use memory::Held;
pub use memory::Memory;
use words::Words;

/// Name of the job's file in a child's folder.
pub const JOB_FILE: &str = "job.json";

/// Name of the folder of its checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// Flag of a process that tests its device and ends; in place of a child's folder comes that of all children.
pub const TEST: &str = "--test";

/// How long a test of a device may take: a large data set is read first.
const TEST_TIME: Duration = Duration::from_secs(300);

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
    Ended {
        /// How.
        status: Status,
        /// What it achieved.
        scores: Scores,
        /// Trainable parameters, where known.
        parameters: Option<u64>,
        /// Why it failed.
        message: Option<String>,
        /// What it took.
        timing: Timing,
    },
    /// Its device is not to be used any more.
    Lost {
        /// The device's words.
        message: String,
    },
}

/// Trains each child in a process.
#[derive(Debug)]
pub struct Processes {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, but for the child's folder, which comes last.
    pub arguments: Vec<OsString>,
    /// Where children's folders are made.
    pub folder: PathBuf,
    /// What children are.
    pub kind: SpaceKind,
    /// What holds a child's memory to its limit; of all children's.
    pub memory: Arc<Memory>,
}

/// A child in a process.
pub struct Process {
    sample: u64,
    folder: Option<TempDir>,
    process: Option<(Child, Lines<BufReader<ChildStdout>>)>,
    /// What it writes to standard error.
    words: Option<Words>,
    /// What its memory is held by.
    held: Option<Held>,
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
            process: None,
            words: None,
            held: None,
            said: None,
            kept: None,
            kind: self.kind,
            failed: None,
            last: None,
        };
        if let Err(error) = self.start(&mut process, job, from) {
            process.failed = Some(format!(
                "a process for it cannot be begun in {}: {error}",
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
    fn start(
        &self,
        process: &mut Process,
        job: &Job,
        from: Option<Vec<u8>>,
    ) -> std::io::Result<()> {
        let folder = TempDir::with_prefix_in("child-", &self.folder)?;
        fs::write(folder.path().join(JOB_FILE), job.to_bytes())?;
        let checkpoints = folder.path().join(CHECKPOINTS);
        fs::create_dir(&checkpoints)?;
        if let Some(bytes) = from {
            let path = checkpoints.join(job.sample.to_string());
            fs::write(&path, bytes)?;
            process.kept = Some(fs::metadata(&path)?.modified()?);
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(folder.path());
        // Signals that are meant for the worker do not reach it: the end of its input tells it to stop, also
        // where the worker is no more.
        command.process_group(0).kill_on_drop(true);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        process.words = child.stderr.take().map(Words::of);
        if let Some(id) = child.id() {
            // One that cannot be held to its limit is not let go on: dropped, it ends.
            process.held = Some(self.memory.hold(id)?);
        }
        let lines = child
            .stdout
            .take()
            .map(|output| BufReader::new(output).lines());
        process.process = lines.map(|lines| (child, lines));
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
            let Some((child, lines)) = &mut self.process else {
                std::future::pending::<()>().await;
                continue;
            };
            match lines.next_line().await {
                Ok(Some(line)) => match serde_json::from_str(&line) {
                    Ok(Said::Epoch { epoch }) => {
                        return self.checkpoint().unwrap_or(Step::Epoch(epoch));
                    }
                    Ok(said) => self.said = Some(said),
                    Err(error) => tracing::debug!("sample {}: `{line}`: {error}", self.sample),
                },
                Ok(None) | Err(_) => {
                    let status = child.wait().await;
                    let words = match self.words.take() {
                        Some(words) => words.last().await,
                        None => String::new(),
                    };
                    return self.ended(status.ok(), &words);
                }
            }
        }
    }

    fn stop(&mut self) {
        if let Some((child, _)) = &mut self.process {
            drop(child.stdin.take());
        }
    }
}

/// All that it has begun ends with it.
impl Drop for Process {
    fn drop(&mut self) {
        let Some((child, _)) = &self.process else {
            return;
        };
        // One that has ended has no number any more, which may be another's by now.
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            let _ = kill_process_group(id, Signal::KILL);
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
            (
                Some(Said::Ended {
                    status,
                    scores,
                    parameters,
                    message,
                    timing,
                }),
                Some(0),
            ) => {
                return Step::Ended(Box::new(Outcome {
                    sample: self.sample,
                    status,
                    scores,
                    parameters,
                    message,
                    timing,
                }));
            }
            (_, Some(75)) => Step::Stopped,
            // It is of no use to begin other children in this way.
            (_, Some(code @ 2..=4)) => Step::Unusable(format!(
                "the process of sample {} ended with code {code}; its words are above",
                self.sample
            )),
            _ => Step::Ended(Box::new(self.crashed(code, signal, words))),
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

    fn crashed(&self, code: Option<i32>, signal: Option<i32>, words: &str) -> Outcome {
        let how = match (code, signal) {
            (_, Some(signal)) => format!("by signal {signal}"),
            (Some(code), None) => format!("with code {code}"),
            (None, None) => "in an unknown way".to_owned(),
        };
        let lacked_memory = |signal| {
            let held = self.held.as_ref();
            held.is_some_and(|held| held.lacked_memory(signal, words))
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
