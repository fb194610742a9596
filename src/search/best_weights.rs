//! The weights of the few best children, in files of the run's directory.
//!
//! They are kept for people, not for the search: a file that cannot be written is a warning.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::graph::Params;
use crate::graph::params::Weights;
use crate::search::evaluator::Status;
use crate::search::history::History;
use crate::train::checkpoint;
use crate::train::metadata::Metadata;
use crate::whole_file;

/// Children whose weights are kept.
const KEPT: usize = 3;

/// A folder of `<sample>.safetensors`, one for each of the best children.
#[derive(Debug)]
pub struct BestWeights {
    folder: PathBuf,
    /// Reward and sample of the children whose weights are there, best first.
    best: Mutex<Vec<(f64, u64)>>,
}

impl BestWeights {
    /// Opens the folder, or makes it; drops the files of children that are not on record, and those of
    /// children that a killed search left half-written.
    ///
    /// # Errors
    /// Where the folder cannot be made or read.
    pub fn open(folder: PathBuf, history: &History) -> io::Result<BestWeights> {
        fs::create_dir_all(&folder)?;
        whole_file::remove_unfinished(&folder, |name| sample(Path::new(name)).is_some())?;
        let mut best = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(sample) = sample(&path) else {
                continue;
            };
            let child = history.children.get(&sample);
            match child.filter(|child| child.status == Status::Ok) {
                Some(child) => best.push((child.reward.unwrap_or(0.0), sample)),
                None => fs::remove_file(path)?,
            }
        }
        sort(&mut best);
        Ok(BestWeights {
            folder,
            best: Mutex::new(best),
        })
    }

    /// Keeps the weights of a child, laid out by `params`, if it is among the best so far.
    pub fn offer(
        &self,
        sample: u64,
        reward: f64,
        params: &Params,
        weights: &Weights,
        metadata: &Metadata,
    ) {
        let mut best = self
            .best
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        best.push((reward, sample));
        sort(&mut best);
        let n_kept = KEPT.min(best.len());
        let dropped = best.split_off(n_kept);
        if !dropped.contains(&(reward, sample)) {
            let saved = checkpoint::save(&self.path(sample), params, weights, metadata);
            self.warn(sample, saved);
        }
        for (_, dropped) in dropped.iter().filter(|(_, dropped)| *dropped != sample) {
            self.warn(*dropped, fs::remove_file(self.path(*dropped)));
        }
    }

    fn warn<E: std::fmt::Display>(&self, sample: u64, result: Result<(), E>) {
        if let Err(error) = result {
            tracing::warn!("the weights of sample {sample} are not kept as they should: {error}");
        }
    }

    fn path(&self, sample: u64) -> PathBuf {
        self.folder.join(format!("{sample}.safetensors"))
    }
}

/// Best first: by reward, then the lower sample.
fn sort(best: &mut [(f64, u64)]) {
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
}

/// The sample whose weights a file holds, by its name.
fn sample(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_suffix(".safetensors")?
        .parse()
        .ok()
}
