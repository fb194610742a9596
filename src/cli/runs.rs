//! What the commands that only look at runs share: runs read side by side, final trainings, checks of what is on record.

use std::fs;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use super::failure::{Failure, Kind};
use crate::disk::{Real, whole};
use crate::finish::progress::{self, Progress};
use crate::report::record::Record;
use crate::run::entry::ChildFacts;
use crate::run::history::History;
use crate::run::skim::RunBytes;
use crate::run::state::Locks;
use crate::run::{Status, journal};
use crate::text;

/// Reads runs and hands them on.
pub fn read(
    paths: &[PathBuf],
    then: impl FnOnce(&mut [Record]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    check_different(paths)?;
    paths.iter().for_each(|path| warn_of_finish(path));
    let names = names(paths);
    // Before the journals are read: a search that ends in between is then seen as finished.
    let locks: Vec<Locks> = paths
        .iter()
        .map(|path| Locks::look(&path.join(journal::FILE_NAME)))
        .collect();
    let bytes = paths.iter().map(|path| RunBytes::read(&Real, path));
    let bytes = ManuallyDrop::new(bytes.collect::<Result<Vec<_>, _>>()?);
    let histories = bytes.iter().map(RunBytes::history);
    // Never given back: the process ends, and freeing long runs child by child takes a fifth of its time.
    let histories = ManuallyDrop::new(histories.collect::<Result<Vec<_>, _>>()?);
    let mut records = ManuallyDrop::new(Vec::with_capacity(paths.len()));
    for (i, history) in histories.iter().enumerate() {
        let (config, path) = (&bytes[i].config, &paths[i]);
        if history.children.is_empty() {
            return Err(nothing_yet(path));
        }
        check_rewards(path, history)?;
        let finished = history.is_finished(config.search.samples, config.search.strategy);
        let state = locks[i].state(finished, history.stopped);
        let record = Record::new(names[i].clone(), config, state, history);
        records.push(record.map_err(|error| Failure::from_error(Kind::Config, &error))?);
    }
    then(&mut records)
}

/// More than the reward of any child: shares and their cubes, percentages, 80 over the square of a perplexity.
const MOST_REWARD: f64 = 1e6;

/// That every child has a reward that it can have: of other numbers there may be no mean.
pub fn check_rewards<C: ChildFacts>(run: &Path, history: &History<C>) -> Result<(), Failure> {
    let wrong = |child: &C| match child.reward() {
        Some(reward) if (0.0..=MOST_REWARD).contains(&reward) => None,
        Some(reward) => Some(format!("has a reward of {reward:e}, which none can have")),
        None if child.status() == Status::Ok => Some("ended `ok` without a reward".to_owned()),
        None => None,
    };
    let mut children = history.children.iter();
    match children.find_map(|(sample, child)| Some((sample, wrong(child)?))) {
        None => Ok(()),
        Some((sample, wrong)) => {
            let message = format!(
                "the journal of {} says that sample {sample} {wrong}; see what else it should not say: \
                 nas-engine audit {}",
                run.display(),
                text::shell_path(run)
            );
            Err(Failure::new(Kind::Journal, message))
        }
    }
}

/// The final training of a run, where it has one that can be read; a warning where it cannot.
pub fn finish(run: &Path) -> Option<Progress> {
    match progress::read(&Real, run) {
        Ok(finish) => finish,
        Err(error) => {
            tracing::warn!(
                "the final training of {} is not shown: {error}",
                run.display()
            );
            None
        }
    }
}

/// A warning where a run's directory is that of a final training.
pub fn warn_of_finish(path: &Path) {
    if let Some(search) = searched_in(path) {
        tracing::warn!(
            "{} holds the final training of a search, whose samples are the trainings of its grid; the search is {}",
            path.display(),
            search.display()
        );
    }
}

/// The run whose final training a directory holds; nothing of any other directory.
fn searched_in(path: &Path) -> Option<&Path> {
    let run = path.parent().filter(|parent| *parent != Path::new(""));
    progress::is_folder(&Real, path).then(|| run.unwrap_or(Path::new("..")))
}

/// Refuses the directory of a final training where a search's is needed.
pub fn refuse_finish(path: &Path) -> Result<(), Failure> {
    let Some(search) = searched_in(path) else {
        return Ok(());
    };
    let message = format!(
        "{} is that of a final training, not of a search; go on with it by: nas-engine finish {}",
        path.display(),
        text::shell_path(search)
    );
    Err(Failure::new(Kind::Usage, message))
}

/// That no run is given twice.
fn check_different(paths: &[PathBuf]) -> Result<(), Failure> {
    let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let all: Vec<PathBuf> = paths.iter().map(real).collect();
    for (i, path) in all.iter().enumerate() {
        if let Some(first) = all[..i].iter().position(|other| other == path) {
            let message = format!(
                "{} and {} are the same run; give each once",
                paths[first].display(),
                paths[i].display()
            );
            return Err(Failure::new(Kind::Usage, message));
        }
    }
    Ok(())
}

/// The last parts of paths, where they are all different; else the paths.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let name = real
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| path.display().to_string())
    };
    let names: Vec<String> = paths.iter().map(name).collect();
    let is_twice = |i: usize| {
        names
            .iter()
            .enumerate()
            .any(|(j, name)| j != i && *name == names[i])
    };
    match (0..names.len()).any(is_twice) {
        true => paths
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        false => names,
    }
}

/// A run of which nothing can be said.
fn nothing_yet(path: &Path) -> Failure {
    let run = text::shell_path(path);
    let message = format!(
        "no child of the run in {} has ended yet, so there is nothing to report; see how far it is: nas-engine \
         status {run}, and go on with it where nobody does: nas-engine search --resume {run}",
        path.display()
    );
    Failure::new(Kind::Usage, message)
}

/// Checks, before the work, that a file may be made where asked.
pub fn check_out(flag: &str, path: &Path, force: bool) -> Result<(), Failure> {
    super::flags::check_writable(flag, path)?;
    if path.exists() && !force {
        let message = format!(
            "{flag} {} is there already; give another name, or --force to write over it",
            path.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(())
}

/// Writes a file, whole or not at all.
pub fn write(flag: &str, path: &Path, content: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    whole::write(&Real, path, |file| file.write_all(content)).map_err(|error| {
        let message = format!(
            "cannot write {flag} {}: {error}; choose another place, or make room",
            path.display()
        );
        Failure::new(Kind::Usage, message)
    })
}
