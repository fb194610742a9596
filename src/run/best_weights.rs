//! The weights of the few best children, in files of the run's directory.
//!
//! A child's file is written before the child is on record, and what it drives out is removed after
//! that: stopped at any instant, the files of the best children on record are there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::history::History;
use super::{RunError, Status};
use crate::disk::{Disk, whole};
use crate::graph::Params;
use crate::graph::params::Weights;
use crate::train::metadata::Metadata;
use crate::train::weights_file::{self, WeightsError, WeightsFile};

/// Children whose weights are kept.
const KEPT: usize = 3;

/// A folder of `<sample>.safetensors`, one for each of the best children.
#[derive(Debug)]
pub struct BestWeights {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    files: Mutex<Files>,
}

/// Reward and sample of the children whose weights are there.
#[derive(Debug, Default)]
struct Files {
    /// Of those on record, best first.
    best: Vec<(f64, u64)>,
    /// Of those that are not yet.
    new: Vec<(f64, u64)>,
}

impl BestWeights {
    /// Opens the folder, or makes it; removes the files of children that are not on record or not
    /// among the best, and those of children that a killed search left half-written.
    ///
    /// # Errors
    /// Where the folder cannot be made, read or written.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        history: &History,
    ) -> Result<BestWeights, RunError> {
        let wrong = |error| RunError::keep(&folder, error);
        whole::create_folders(&*disk, &folder).map_err(wrong)?;
        whole::remove_unfinished(&*disk, &folder, |name| sample(Path::new(name)).is_some())
            .map_err(wrong)?;
        let mut files = Files::default();
        for name in disk.names(&folder).map_err(wrong)? {
            let path = folder.join(name);
            let Some(sample) = sample(&path) else {
                continue;
            };
            let child = history.children.get(&sample);
            match child.filter(|child| child.status == Status::Ok) {
                Some(child) => files.best.push((child.reward.unwrap_or(0.0), sample)),
                None => disk.remove(&path).map_err(wrong)?,
            }
        }
        let weights = BestWeights {
            disk,
            folder,
            files: Mutex::new(files),
        };
        weights.drop_the_others(&mut weights.files())?;
        Ok(weights)
    }

    /// The best children on record whose files are missing or damaged, by sample. There should be none:
    /// somebody removed them, or the disk lost them.
    pub fn missing(&self, history: &History) -> Vec<u64> {
        let trained = history.children.values();
        let trained = trained.filter(|c| c.status == Status::Ok && c.duplicate_of.is_none());
        let trained = trained.filter(|c| c.scores.have_weights());
        let mut best: Vec<_> = trained
            .map(|child| (child.reward.unwrap_or(0.0), child.sample))
            .collect();
        best.sort_by(|a, b| order(*a, *b));
        best.truncate(KEPT);
        let mut missing: Vec<u64> = best.into_iter().map(|(_, sample)| sample).collect();
        missing.retain(|&sample| !self.is_whole(sample));
        missing.sort_unstable();
        missing
    }

    fn is_whole(&self, sample: u64) -> bool {
        let path = self.path(sample);
        let bytes = self.disk.read(&path);
        bytes.is_ok_and(|bytes| WeightsFile::of(&path, bytes).is_ok())
    }

    /// Keeps the weights of a child that ended, laid out by `params`, if it is among the best so far.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn keep(
        &self,
        sample: u64,
        reward: f64,
        params: &Params,
        weights: &Weights,
        metadata: &Metadata,
    ) -> Result<(), WeightsError> {
        {
            let mut files = self.files();
            // Of a child that is trained again for its weights a damaged file may be there.
            files.best.retain(|&(_, other)| other != sample);
            let better = |other: &&(f64, u64)| order(**other, (reward, sample)).is_lt();
            if files.best.iter().filter(better).count() >= KEPT {
                return Ok(());
            }
            files.new.push((reward, sample));
        }
        weights_file::save(&*self.disk, &self.path(sample), params, weights, metadata)
    }

    /// Removes what a child that is on record now drives out.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn recorded(&self, sample: u64) -> Result<(), RunError> {
        let mut files = self.files();
        let Some(at) = files.new.iter().position(|&(_, new)| new == sample) else {
            return Ok(());
        };
        let child = files.new.swap_remove(at);
        files.best.push(child);
        self.drop_the_others(&mut files)
    }

    fn drop_the_others(&self, files: &mut Files) -> Result<(), RunError> {
        files.best.sort_by(|a, b| order(*a, *b));
        let n_kept = KEPT.min(files.best.len());
        for (_, sample) in files.best.split_off(n_kept) {
            let path = self.path(sample);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RunError::keep(&path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn path(&self, sample: u64) -> PathBuf {
        self.folder.join(format!("{sample}.safetensors"))
    }
}

/// Best first: by reward, then the lower sample.
fn order(a: (f64, u64), b: (f64, u64)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The sample whose weights a file holds, by its name.
fn sample(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".safetensors")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Real;

    /// A file that is gone already is no error; one that cannot be removed is.
    #[test]
    fn what_cannot_be_removed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_path_buf();
        let weights = BestWeights::open(Arc::new(Real), path, &History::default()).unwrap();
        weights.files().best = vec![(0.9, 0), (0.8, 1), (0.7, 2)];
        let worst = |sample| {
            weights.files().new.push((0.1, sample));
            weights.recorded(sample)
        };
        worst(3).unwrap();
        std::fs::create_dir(weights.path(4)).unwrap();
        let error = worst(4).unwrap_err().to_string();
        assert!(error.contains("4.safetensors"), "{error}");
    }
}
