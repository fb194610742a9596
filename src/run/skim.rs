//! A journal read for what a summary needs and no more: every check sum is verified, but of a child's
//! line only the few facts that are counted are taken out, and its architecture stays the text it is.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::{Child, ChildFacts, Entry, Update};
use super::history::History;
use super::{RunError, Status, check_begins, check_not_emptied, journal, settings_of};
use crate::config::Config;
use crate::disk::Disk;
use crate::train::Scores;
use crate::train::metrics::REWARD_EPOCHS;

/// Lines that are parsed at a time, side by side: enough to share among threads, and little memory.
const PIECE: usize = 4096;

/// A run as it lies on disk, for those who only look: nothing is locked or written.
#[derive(Debug)]
pub struct RunBytes<'a> {
    /// Its settings.
    pub config: Config,
    disk: &'a dyn Disk,
    directory: PathBuf,
    journal: Vec<u8>,
}

impl<'a> RunBytes<'a> {
    /// Reads a run's settings and the bytes of its journal.
    ///
    /// # Errors
    /// Where there is no run, or a file of it cannot be read.
    pub fn read(disk: &'a dyn Disk, directory: &Path) -> Result<RunBytes<'a>, RunError> {
        Ok(RunBytes {
            config: settings_of(disk, directory, &[])?,
            disk,
            directory: directory.into(),
            journal: journal::bytes_of(disk, &directory.join(journal::FILE_NAME))?,
        })
    }

    /// What the journal says. A line that was being written is passed over.
    ///
    /// # Errors
    /// Where the journal is damaged.
    pub fn history<'b>(&'b self) -> Result<History<SkimmedChild<'b>>, RunError> {
        let path = self.directory.join(journal::FILE_NAME);
        let lines = journal::split(&self.journal);
        let parse_all =
            |lines: &[&'b [u8]]| -> Vec<_> { lines.par_iter().map(|line| parse(line)).collect() };
        let parsed = lines.chunks(PIECE).flat_map(parse_all);
        let mut history = History::default();
        let read = journal::each(&lines, parsed, |line| {
            if line.number == 1 {
                check_begins(&path, &line)?;
            }
            history.add_line(&path, line)
        })?;
        if let Some(damage) = read.damage {
            return Err(damage.of(&path).into());
        }
        if read.end == 0 {
            check_not_emptied(self.disk, &self.directory)?;
        }
        Ok(history)
    }
}

/// What is kept of a child's line.
#[derive(Clone, Debug)]
pub struct SkimmedChild<'a> {
    sample: u64,
    batch: u64,
    architecture: Cow<'a, RawValue>,
    status: Status,
    /// Of the last epochs, those that the reward is made of.
    scores: Scores,
    reward: Option<f64>,
    duplicate_of: Option<u64>,
    parameters: Option<u64>,
    at: f64,
}

impl ChildFacts for SkimmedChild<'_> {
    fn sample(&self) -> u64 {
        self.sample
    }

    fn batch(&self) -> u64 {
        self.batch
    }

    fn status(&self) -> Status {
        self.status
    }

    fn reward(&self) -> Option<f64> {
        self.reward
    }

    fn duplicate_of(&self) -> Option<u64> {
        self.duplicate_of
    }

    fn parameters(&self) -> Option<u64> {
        self.parameters
    }

    fn scores(&self) -> &Scores {
        &self.scores
    }

    fn architecture(&self) -> Cow<'_, RawValue> {
        Cow::Borrowed(&self.architecture)
    }

    fn at(&self) -> f64 {
        self.at
    }
}

impl From<Child> for SkimmedChild<'_> {
    fn from(child: Child) -> Self {
        SkimmedChild {
            architecture: Cow::Owned(child.architecture().into_owned()),
            sample: child.sample,
            batch: child.batch,
            status: child.status,
            scores: child.scores,
            reward: child.reward,
            duplicate_of: child.duplicate_of,
            parameters: child.parameters,
            at: child.timing.at,
        }
    }
}

/// What is read of a child's line; the other keys are passed over.
#[derive(Deserialize)]
struct ChildLine<'a> {
    sample: u64,
    batch: u64,
    #[serde(borrow)]
    architecture: &'a RawValue,
    status: Status,
    #[serde(borrow)]
    accuracies: Option<&'a RawValue>,
    #[serde(borrow)]
    perplexities: Option<&'a RawValue>,
    reward: Option<f64>,
    duplicate_of: Option<u64>,
    parameters: Option<u64>,
    timing: At,
}

#[derive(Deserialize)]
struct At {
    at: f64,
}

/// The entry on a line, or what is wrong with the line. A line that does not look as the program
/// writes them is read in full, which decides what is wrong with it.
fn parse(line: &[u8]) -> Result<Entry<SkimmedChild<'_>>, String> {
    let text = journal::checked(line)?;
    let entry = if text.starts_with(b"{\"event\":\"child\",") {
        child(text).map(Entry::Child)
    } else if text.starts_with(b"{\"event\":\"update\",") {
        // Reading the type by its own name spares the tagged enum's detour through a tree.
        serde_json::from_slice::<Update>(text)
            .ok()
            .map(Entry::Update)
    } else {
        None
    };
    entry.map_or_else(|| whole(line), Ok)
}

/// As [`journal::parse`].
fn whole<'a>(line: &[u8]) -> Result<Entry<SkimmedChild<'a>>, String> {
    Ok(match journal::parse(line)? {
        Entry::Child(child) => Entry::Child(child.into()),
        Entry::Run(run) => Entry::Run(run),
        Entry::Update(update) => Entry::Update(update),
        Entry::Lost(lost) => Entry::Lost(lost),
        Entry::Stop(stop) => Entry::Stop(stop),
        Entry::Unknown => Entry::Unknown,
    })
}

/// The facts of a child's line, where it is as the program writes them.
fn child(line: &[u8]) -> Option<SkimmedChild<'_>> {
    let line: ChildLine = serde_json::from_slice(line).ok()?;
    let scores = match (line.accuracies, line.perplexities) {
        (Some(values), None) => Scores::Accuracies(last_numbers(values)?),
        (None, Some(values)) => Scores::Perplexities(last_numbers(values)?),
        _ => return None,
    };
    Some(SkimmedChild {
        sample: line.sample,
        batch: line.batch,
        architecture: Cow::Borrowed(line.architecture),
        status: line.status,
        scores,
        reward: line.reward,
        duplicate_of: line.duplicate_of,
        parameters: line.parameters,
        at: line.timing.at,
    })
}

/// The last numbers of a list of numbers, as many as a reward looks at.
fn last_numbers(list: &RawValue) -> Option<Vec<f64>> {
    let inside = list.get().strip_prefix('[')?.strip_suffix(']')?;
    if inside.is_empty() {
        return Some(vec![]);
    }
    let last = inside.rsplit(',').take(REWARD_EPOCHS);
    let number = |text: &str| text.parse().ok().filter(|x: &f64| x.is_finite());
    let mut numbers: Vec<f64> = last.map(number).collect::<Option<_>>()?;
    numbers.reverse();
    Some(numbers)
}
