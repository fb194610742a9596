//! The children under way, for those who only look: by their checkpoints, and by the threads of the process
//! that trains them, since nothing of a child is on disk before its first checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::checkpoints::{self, sample};
use crate::disk::Disk;

/// What the name of a thread that trains a child begins with; its sample follows.
const THREAD: &str = "child ";

/// A child under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its sample.
    pub sample: u64,
    /// Epochs that its checkpoint has, where there is one that can be read.
    pub epochs: Option<usize>,
}

/// What a look at a checkpoint reads of its header.
#[derive(Deserialize)]
struct Header {
    epochs: Vec<IgnoredAny>,
}

/// Bytes that are read of a checkpoint for a look at it: the headers of many hundred epochs.
const LOOK: u64 = 256 << 10;

/// The children under way of a run, by its directory and the process that is seen to work on it, if any.
/// What cannot be read is left out.
pub fn look(disk: &dyn Disk, run: &Path, process: Option<u32>) -> Vec<UnderWay> {
    let folder = run.join(checkpoints::FOLDER);
    let mut found: BTreeMap<u64, Option<usize>> = BTreeMap::new();
    for name in disk.names(&folder).unwrap_or_default() {
        let Some(sample) = name.to_str().and_then(sample) else {
            continue;
        };
        let start = disk.read_start(&folder.join(name), LOOK).ok();
        let line = start
            .as_deref()
            .and_then(|bytes| bytes.split(|&byte| byte == b'\n').nth(1));
        let header = line.and_then(|line| serde_json::from_slice::<Header>(line).ok());
        let epochs = header.map(|header| header.epochs.len());
        let newest = found.entry(sample).or_default();
        *newest = (*newest).max(epochs);
    }
    for sample in process.into_iter().flat_map(in_threads) {
        found.entry(sample).or_default();
    }
    let under_way = found.into_iter();
    under_way
        .map(|(sample, epochs)| UnderWay { sample, epochs })
        .collect()
}

/// The name of the thread that trains a child.
pub fn thread_name(sample: u64) -> String {
    format!("{THREAD}{sample}")
}

/// The samples of the children that threads of a process train; none where the system does not show them.
fn in_threads(process: u32) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let names = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names
        .filter_map(|name| name.trim_end().strip_prefix(THREAD)?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::disk::Real;

    /// A child has begun, one has a checkpoint, and of one the checkpoint cannot be read.
    #[test]
    #[cfg(target_os = "linux")]
    fn children_are_seen_by_checkpoints_and_threads() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join(checkpoints::FOLDER);
        fs::create_dir(&folder).unwrap();
        let header = "nas-engine checkpoint 1\n{\"epochs\":[{},{}],\"other\":1}\n";
        for (name, text) in [("3", header), ("5.2", "half"), ("controller", header)] {
            fs::write(folder.join(name), text).unwrap();
        }
        let kept = [(3, Some(2)), (5, None)];
        let seen = |process| {
            let found = look(&Real, run.path(), process);
            found
                .iter()
                .map(|child| (child.sample, child.epochs))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(None), kept);
        // Above those of other tests in this process.
        let samples = [7_000_003, 999_999_999];
        let (ends, has_ended) = channel::<()>();
        let (began, begins) = channel();
        let has_ended = std::sync::Arc::new(std::sync::Mutex::new(has_ended));
        let threads = samples.map(|sample| {
            let (began, has_ended) = (began.clone(), has_ended.clone());
            let child = move || {
                began.send(()).unwrap();
                let _ = has_ended.lock().unwrap().recv();
            };
            let thread = thread::Builder::new().name(thread_name(sample));
            thread.spawn(child).unwrap()
        });
        samples.iter().for_each(|_| begins.recv().unwrap());
        let all = seen(Some(std::process::id()));
        for child in samples.map(|sample| (sample, None)).into_iter().chain(kept) {
            assert!(all.contains(&child), "no {child:?} in {all:?}");
        }
        assert!(all.is_sorted());
        drop(ends);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(look(&Real, &run.path().join("none"), Some(u32::MAX)), []);
    }
}
