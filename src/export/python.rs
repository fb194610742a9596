//! A Python that the user names, as a reader: onnxruntime for ONNX files, torch for folders of PyTorch.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::{Value, json};

use super::tensor::{Call, Tensor};
use crate::disk::input;
use crate::text;

/// What runs there.
const SCRIPT: &str = include_str!("check.py");

/// How long it may take for an export: what the largest network takes on a slow machine, many times over.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes that are kept of the end of its words.
const KEPT: usize = 4096;

/// How long the end of its words is waited for after it has ended: others may have them open.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of its list of answers, at most: this, and so many an output.
const LIST: (u64, u64) = (1 << 16, 1 << 10);

/// Why a Python gave no answers.
#[derive(Debug)]
pub enum PythonError {
    /// It cannot be started, or lacks a module.
    Missing(String),
    /// It failed.
    Failed(String),
    /// It was ended, as it was to stop.
    Stopped,
}

/// What an export gives for some calls, output by output, and the name and version of what computed it.
pub type Answers = (String, Vec<Vec<Tensor>>);

/// What exports give there, each for its calls. Whatever happens, the process is gone when this returns.
///
/// # Errors
/// Where it lacks what is needed, fails, takes longer than half an hour an export, or `stop` is set.
pub fn answers(
    python: &Path,
    exports: &[(&Path, &[Call])],
    stop: &AtomicBool,
) -> Result<Vec<Answers>, PythonError> {
    let n = u32::try_from(exports.len()).unwrap_or(u32::MAX);
    answers_within(python, exports, stop, LIMIT.saturating_mul(n))
}

fn answers_within(
    python: &Path,
    exports: &[(&Path, &[Call])],
    stop: &AtomicBool,
    limit: Duration,
) -> Result<Vec<Answers>, PythonError> {
    let failed = |error: io::Error| PythonError::Failed(error.to_string());
    let folder = tempfile::tempdir().map_err(failed)?;
    let mut folders = vec![];
    for (number, (path, calls)) in exports.iter().enumerate() {
        let folder = folder.path().join(number.to_string());
        fs::create_dir(&folder).map_err(failed)?;
        ask(&folder, path, calls).map_err(failed)?;
        folders.push(folder);
    }
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).args(&folders);
    let mut running = Running::start(&mut command).map_err(|error| {
        PythonError::Missing(format!("cannot start {}: {error}", python.display()))
    })?;
    let status = running.end(stop, limit)?;
    let last = running.last_words();
    match status.code() {
        Some(0) => {}
        Some(MISSING) => return Err(PythonError::Missing(last)),
        None => return Err(PythonError::Failed(format!("{last} ({status})"))),
        _ => return Err(PythonError::Failed(last)),
    }
    let answers = folders.iter().zip(exports);
    let answers = answers.map(|(folder, (_, calls))| read(folder, calls));
    answers
        .collect::<Result<_, _>>()
        .map_err(|reason| PythonError::Failed(format!("its answers cannot be read: {reason}")))
}

/// A process in a group of its own, so that all that it began can be ended; it is ended when this is dropped.
struct Running {
    process: Child,
    /// Whether it was waited for: then its number may be another's.
    is_gone: bool,
    /// The end of what it says, and who reads that.
    words: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Running> {
        let mut process = command
            .process_group(0)
            .stdin(Stdio::piped()) // its end tells the script that this program is gone
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let errors = process.stderr.take();
        let mut running = Running {
            process,
            is_gone: false,
            words: Arc::default(),
            reader: None,
        };
        if let Some(errors) = errors {
            let words = Arc::clone(&running.words);
            let keep = move || keep_end(errors, &words);
            running.reader = Some(thread::Builder::new().spawn(keep)?);
        }
        Ok(running)
    }

    /// Waits for its end.
    fn end(&mut self, stop: &AtomicBool, limit: Duration) -> Result<ExitStatus, PythonError> {
        let began = Instant::now();
        loop {
            match self.has_ended() {
                Ok(true) => {
                    return self
                        .kill()
                        .map_err(|error| PythonError::Failed(error.to_string()));
                }
                Err(error) => return Err(PythonError::Failed(error.to_string())),
                Ok(false) if stop.load(Ordering::Relaxed) => return Err(PythonError::Stopped),
                Ok(false) if began.elapsed() >= limit => {
                    let limit = text::duration(limit.as_secs_f64());
                    let reason = format!("it gave no answer within {limit}, and was ended");
                    return Err(PythonError::Failed(reason));
                }
                Ok(false) => thread::sleep(PAUSE),
            }
        }
    }

    /// Whether it has ended; its number stays its own until it is waited for.
    fn has_ended(&self) -> io::Result<bool> {
        let process = WaitId::Pid(Pid::from_child(&self.process));
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(process, look)?.is_some())
    }

    /// Ends it and all that it began.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        if !self.is_gone {
            let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            self.is_gone = true;
        }
        self.process.wait()
    }

    /// The last line that it said, when it has ended.
    fn last_words(&self) -> String {
        let until = Instant::now() + PATIENCE;
        let reads = |reader: &thread::JoinHandle<()>| !reader.is_finished();
        while self.reader.as_ref().is_some_and(reads) && Instant::now() < until {
            thread::sleep(PAUSE);
        }
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&words);
        let last = words.trim().lines().last();
        last.unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Reads to the end, and keeps the end.
fn keep_end(mut from: ChildStderr, words: &Mutex<Vec<u8>>) {
    let mut some = [0; KEPT];
    while let Ok(n @ 1..) = from.read(&mut some) {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend_from_slice(&some[..n]);
        let more = words.len().saturating_sub(KEPT);
        words.drain(..more);
    }
}

/// What the script ends with where a module is missing.
const MISSING: i32 = 7;

/// Writes the calls: `calls.json`, and a file of bytes an input.
fn ask(folder: &Path, path: &Path, calls: &[Call]) -> io::Result<()> {
    let mut list = vec![];
    for (number, call) in calls.iter().enumerate() {
        let mut inputs = vec![];
        for (place, input) in call.inputs.iter().enumerate() {
            let name = format!("{number}.{place}.in");
            fs::write(folder.join(&name), input.bytes())?;
            inputs.push(json!({"file": name, "shape": input.shape, "kind": input.kind()}));
        }
        list.push(json!({"inputs": inputs, "goes_on": call.goes_on}));
    }
    let path: PathBuf = std::path::absolute(path)?;
    let path = path
        .to_str()
        .ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
    let text = json!({"path": path, "calls": list}).to_string();
    fs::write(folder.join("calls.json"), text)
}

/// Reads the answers: `answers.json`, and a file of bytes an output; of no more bytes than the right ones have.
fn read(folder: &Path, calls: &[Call]) -> Result<Answers, String> {
    let expected = || calls.iter().flat_map(|call| &call.expected);
    let mut left: u64 = expected()
        .map(|output| 4 * output.reference.len() as u64)
        .sum();
    let most = LIST.0 + LIST.1 * expected().count() as u64;
    let list = "answers.json";
    let text = input::read_file(&folder.join(list), most);
    let text = text.map_err(|error| format!("{list}: {error}"))?;
    let answers: Value =
        serde_json::from_slice(&text).map_err(|error| format!("{list}: {error}"))?;
    let mut tensor = |output: &Value| -> Result<Tensor, String> {
        let (Some(file), Some(shape)) = (output["file"].as_str(), shape(&output["shape"])) else {
            return Err(format!("{list} is of another form"));
        };
        let bytes = input::read_file(&folder.join(file), left);
        let bytes = bytes.map_err(|error| format!("{file}: {error}"))?;
        left = left.saturating_sub(bytes.len() as u64);
        let (words, _) = bytes.as_chunks::<4>();
        let values = words.iter().map(|&word| f32::from_le_bytes(word));
        Ok(Tensor::floats(&shape, values.collect()))
    };
    let mut all = vec![];
    for outputs in answers["calls"].as_array().into_iter().flatten() {
        let outputs = outputs.as_array().into_iter().flatten();
        all.push(outputs.map(&mut tensor).collect::<Result<Vec<_>, _>>()?);
    }
    let reader = answers["reader"].as_str();
    let reader = reader.ok_or_else(|| format!("{list} is of another form"))?;
    Ok((reader.to_owned(), all))
}

fn shape(sizes: &Value) -> Option<Vec<usize>> {
    let sizes = sizes.as_array()?.iter();
    let size = |size: &Value| usize::try_from(size.as_u64()?).ok();
    sizes.map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tensor::Expected;
    use super::*;

    /// Asks a script in the place of a Python, whose folder is `$3`, for two outputs of 3 and 2 values.
    fn asked(script: &str, stop: bool, limit: Duration) -> Result<Answers, String> {
        let place = tempfile::tempdir().unwrap();
        let python = place.path().join("python");
        // Written by another process: one that this process has open for writing while another test begins a
        // process cannot be executed.
        let write = Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod +x "$2""#,
                "sh",
                script,
            ])
            .arg(&python)
            .status();
        assert!(write.unwrap().success());
        let output = |n: usize| Expected::new("x", vec![1, n], vec![0.0; n], &vec![0.0; n], true);
        let calls = [Call {
            inputs: vec![],
            goes_on: false,
            expected: vec![output(3), output(2)],
        }];
        let exports = [(Path::new("export"), &calls[..])];
        let stop = AtomicBool::new(stop);
        let began = Instant::now();
        let answers = answers_within(&python, &exports, &stop, limit);
        assert!(began.elapsed() < Duration::from_secs(20), "{script}");
        match answers {
            Ok(mut answers) => Ok(answers.remove(0)),
            Err(PythonError::Missing(words)) => Err(format!("missing: {words}")),
            Err(PythonError::Failed(words)) => Err(format!("failed: {words}")),
            Err(PythonError::Stopped) => Err("stopped".to_owned()),
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_python_that_gives_no_answer_is_ended_with_all_that_it_began() {
        let place = tempfile::tempdir().unwrap();
        let number = place.path().join("number");
        let script = format!(
            "sleep 600 & echo $! >{0}.new\nmv {0}.new {0}; wait",
            number.display()
        );
        let short = Duration::from_secs(5);
        let words = asked(&script, false, short).unwrap_err();
        assert_eq!(
            words,
            "failed: it gave no answer within 5.0s, and was ended"
        );
        let number = fs::read_to_string(number).unwrap();
        let process = PathBuf::from(format!("/proc/{}/stat", number.trim()));
        let runs = || fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z "));
        let until = Instant::now() + Duration::from_secs(10);
        while runs() {
            assert!(Instant::now() < until, "{number} goes on");
            thread::sleep(PAUSE);
        }
        assert_eq!(asked("sleep 600", true, LONG).unwrap_err(), "stopped");
    }

    #[test]
    fn the_last_words_are_told_also_where_others_have_them_open() {
        let words = |script| asked(script, false, LONG).unwrap_err();
        assert_eq!(
            words("echo first >&2; echo last >&2; exit 1"),
            "failed: last"
        );
        assert_eq!(words("echo what >&2; exit 7"), "missing: what");
        assert_eq!(words("exit 1"), "failed: it said nothing");
        assert_eq!(words("echo last >&2; sleep 3 & exit 1"), "failed: last");
        let many = "i=0; while [ $i -lt 2000 ]; do echo a line of many >&2; i=$((i+1)); done; echo end >&2; exit 1";
        assert_eq!(words(many), "failed: end");
    }

    #[test]
    fn answers_have_as_many_bytes_as_were_asked_for() {
        let list = |files: &str| {
            format!(
                "printf '%s' '{{\"reader\":\"r 1\",\"calls\":[[{files}]]}}' >$3/answers.json; \
                 head -c 12 /dev/zero >$3/a; head -c 8 /dev/zero >$3/b; head -c 13 /dev/zero >$3/c; \
                 ln -s /dev/zero $3/d"
            )
        };
        let file = |name: &str, n: usize| format!("{{\"file\":\"{name}\",\"shape\":[1,{n}]}}");
        let given = |files: &[String]| asked(&list(&files.join(",")), false, LONG);
        let (reader, calls) = given(&[file("a", 3), file("b", 2)]).unwrap();
        assert_eq!((&*reader, calls[0].len()), ("r 1", 2));
        assert_eq!(calls[0][1], Tensor::floats(&[1, 2], vec![0.0; 2]));
        for (files, words) in [
            (
                &[file("a", 3), file("b", 2), file("a", 3)][..],
                "a: it has 12 B",
            ),
            (&[file("b", 2), file("c", 3)], "c: it has 13 B"),
            (&[file("d", 3)], "d: it is a device"),
            (&[file("none", 3)], "none: "),
            (&[r#"{"file":7}"#.to_owned()], "another form"),
        ] {
            let told = given(files).unwrap_err();
            let begins = told.starts_with("failed: its answers cannot be read: ");
            assert!(begins && told.contains(words), "{told}");
        }
        let long = "head -c 100000 /dev/zero >$3/answers.json";
        let told = asked(long, false, LONG).unwrap_err();
        assert!(told.contains("answers.json: it has 100.0 kB"), "{told}");
    }
}
