//! Children in processes of their own: one that crashes, or takes all memory, takes nobody along. The
//! process is this program with the hidden command `cluster child`; what it says on standard output is
//! [`Said`], a line each, and its checkpoints are files that are read here.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::message::{Done, Job};
use super::worker::{Step, Trainer, Training};
use crate::checkpoint;
use crate::run::Status;
use crate::run::entry::Timing;
use crate::search::evaluator::Outcome;
use crate::space::SpaceKind;
use crate::train::Scores;

/// Name of the job's file in a child's folder.
pub const JOB_FILE: &str = "job.json";

/// Name of the folder of its checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

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
}

/// A child in a process.
pub struct Process {
    sample: u64,
    folder: Option<TempDir>,
    process: Option<(Child, Lines<BufReader<ChildStdout>>)>,
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
            .spawn()?;
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
                    return self.ended(status.ok());
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

impl Process {
    /// What is to be made of a process that is not there any more.
    fn ended(&mut self, status: Option<ExitStatus>) -> Step {
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
            _ => Step::Ended(Box::new(self.crashed(code, signal))),
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

    fn crashed(&self, code: Option<i32>, signal: Option<i32>) -> Outcome {
        let how = match (code, signal) {
            (_, Some(signal)) => format!("by signal {signal}"),
            (Some(code), None) => format!("with code {code}"),
            (None, None) => "in an unknown way".to_owned(),
        };
        Outcome {
            sample: self.sample,
            status: Status::Crash,
            scores: Scores::none(self.kind),
            parameters: None,
            message: Some(format!("its process ended {how}")),
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
