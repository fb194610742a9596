//! What a journal says of a search so far: its children, updates and sessions, checked to fit
//! together. The loop reads it in place of training again.

use std::collections::BTreeMap;
use std::path::Path;

use crate::search::entry::{Child, Entry, Run, Update};
use crate::search::journal::{Contents, JournalError, Line};

/// The facts of a search so far.
#[derive(Debug, Default)]
pub struct History {
    /// Each time the search began or went on.
    pub runs: Vec<Run>,
    /// The children that ended, by sample.
    pub children: BTreeMap<u64, Child>,
    /// The controller's steps, by batch.
    pub updates: BTreeMap<u64, Update>,
    /// When the last session's last line was written, in seconds since 1970.
    pub last_at: f64,
    /// Seconds of all sessions but the last.
    pub earlier_seconds: f64,
}

impl History {
    /// The facts in a journal.
    pub fn new(path: &Path, contents: Contents) -> Result<History, JournalError> {
        let mut history = History::default();
        for Line {
            number,
            offset,
            entry,
        } in contents.lines
        {
            history.add(entry).map_err(|reason| JournalError::Damaged {
                path: path.into(),
                line: number,
                offset,
                reason,
            })?;
        }
        Ok(history)
    }

    /// Adds a fact, or says why it cannot be one.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Run(run) => self.add_run(run),
            Entry::Child(child) => {
                let sample = child.sample;
                self.last_at = child.timing.at;
                if self.children.insert(sample, child).is_some() {
                    return Err(format!("sample {sample} ended before"));
                }
            }
            Entry::Update(update) => {
                let batch = update.batch;
                self.last_at = update.timing.at;
                if let Some(sample) = update
                    .samples
                    .iter()
                    .find(|s| !self.children.contains_key(s))
                {
                    return Err(format!(
                        "an update from sample {sample}, which has not ended"
                    ));
                }
                if self.updates.insert(batch, update).is_some() {
                    return Err(format!("batch {batch} had its update before"));
                }
            }
            Entry::Unknown => {}
        }
        Ok(())
    }

    /// Adds the start of a session.
    pub fn add_run(&mut self, run: Run) {
        self.earlier_seconds = self.seconds();
        self.last_at = run.timing.at;
        self.runs.push(run);
    }

    /// Seconds that the search has run, without the time between sessions.
    pub fn seconds(&self) -> f64 {
        let session = self
            .runs
            .last()
            .map_or(0.0, |run| self.last_at - run.timing.at);
        self.earlier_seconds + session.max(0.0)
    }

    /// Samples that ended in a second of the last session, where any did.
    pub fn samples_per_second(&self) -> Option<f64> {
        let began = self.runs.last()?.timing.at;
        let n_ended = self
            .children
            .values()
            .filter(|child| child.timing.at >= began)
            .count();
        let seconds = self.last_at - began;
        (n_ended > 0 && seconds > 0.0).then(|| n_ended as f64 / seconds)
    }

    /// The sample after the last of a batch, where the journal shows that the batch is over. (The
    /// last batch of a run that was later given more samples may be a small one.)
    pub fn end_of(&self, batch: u64) -> Option<u64> {
        let over = self.updates.contains_key(&batch)
            || self
                .children
                .values()
                .next_back()
                .is_some_and(|child| child.batch > batch);
        let last = self
            .children
            .values()
            .rev()
            .find(|child| child.batch == batch)?;
        over.then_some(last.sample + 1)
    }

    /// Children and updates on record.
    pub fn n_facts(&self) -> usize {
        self.children.len() + self.updates.len()
    }

    /// One more than the highest sample that ended.
    pub fn reach(&self) -> u64 {
        self.children.keys().next_back().map_or(0, |last| last + 1)
    }

    /// Whether nothing is left to do for a search of `samples` samples.
    pub fn is_finished(&self, samples: u64, learns: bool) -> bool {
        let Some(last) = self.children.values().next_back() else {
            return false;
        };
        let all_ended = self.children.len() as u64 >= samples && last.sample < samples;
        let nothing_to_learn = self
            .children
            .values()
            .filter(|c| c.batch == last.batch)
            .all(|c| c.reward.is_none());
        all_ended && (!learns || nothing_to_learn || self.updates.contains_key(&last.batch))
    }
}
