//! The search loop: sample a batch, evaluate it, record it, learn from it, until the total number
//! of samples. It trains nothing itself and never sees a tensor.
//!
//! Resuming is the same loop: what the journal already says is read instead of done, so a search
//! that was stopped anywhere ends with the journal of one that never was.

pub mod audit;
pub mod child;
mod controller_checkpoints;
pub mod evaluator;
pub mod evolution;
pub mod explain;
pub mod local;
mod mend;
mod pool;
pub(crate) mod proposal;
pub mod retrain;
mod rules;
pub mod session;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::run::entry::{Child, Entry, Lost, Stop, Timing, Update};
use crate::run::history::History;
use crate::run::journal::{Journal, JournalError};
use crate::run::{RunError, now};
use crate::search::evaluator::{Evaluator, Job, News, Outcome};
use crate::search::proposal::{Proposal, Twins};
use crate::space::{Space, SpaceError, Token};

pub use controller_checkpoints::ControllerCheckpoints;
pub use rules::{Strategy, reward};

/// How long the loop waits for news before it looks at the stop flag again.
const PATIENCE: Duration = Duration::from_millis(50);

/// A search, ready to run or to go on.
pub struct Search<'a> {
    /// The space to search.
    pub space: &'a Space,
    /// Where architectures come from, as it was before the first sample.
    pub strategy: Strategy<'a>,
    /// Total number of samples, those of earlier sessions counted.
    pub samples: u64,
    /// Samples of a batch: the paper's m.
    pub children_per_update: u64,
    /// Who trains the children.
    pub evaluator: &'a mut dyn Evaluator,
    /// Where facts are written before anything is made of them.
    pub journal: &'a mut Journal,
    /// What the journal says already.
    pub history: &'a mut History,
    /// Where the controller's checkpoints are kept, where they are.
    pub checkpoints: Option<ControllerCheckpoints>,
    /// Set from outside to stop the search between two facts.
    pub stop: &'a AtomicBool,
}

/// Something that happened now, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// A child began, or finished an epoch.
    Epoch {
        /// Its sample.
        sample: u64,
        /// Epochs done.
        epoch: usize,
    },
    /// A child ended and is on record.
    Ended(&'a Child),
    /// A batch ended; the controller has learned from it.
    Batch {
        /// Its number, from 0.
        batch: u64,
        /// All facts so far.
        history: &'a History,
    },
}

/// How a search came to an end that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All samples are on record.
    Finished,
    /// It was told to stop and can be resumed.
    Stopped,
    /// The last device is lost, in these words; it can be resumed where there is another.
    NoDevice(String),
}

/// Why a search cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another file of the run cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The decisions stand for no architecture.
    #[error("sample {sample}: {source}")]
    Space {
        /// The sample.
        sample: u64,
        /// Why.
        source: SpaceError,
    },
    /// The journal is of another search.
    #[error(
        "the journal holds other decisions for sample {sample} than this search makes: its \
         config.toml was changed, or another version of nas-engine wrote it, or its controller ran on another device; use that version, or \
         start a new run with --out"
    )]
    OtherSearch {
        /// The sample.
        sample: u64,
    },
}

/// What the loop knows besides the facts.
#[derive(Default)]
struct Progress {
    /// The first sample with each architecture that a verdict was given on.
    verdicts: HashMap<String, u64>,
    /// Samples that are on record with a fault of the machine, and are tried again.
    tried_again: BTreeSet<u64>,
}

impl Search<'_> {
    /// Runs the search to its end or until it is told to stop; the history then holds all facts.
    ///
    /// # Errors
    /// Where facts cannot be written, or those on record are of another search.
    pub fn run(&mut self, watch: &mut dyn FnMut(Event)) -> Result<End, SearchError> {
        let end = self.batches(watch)?;
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.keep_last()?;
        }
        if end != End::Finished {
            self.append(Entry::Stop(Stop {
                samples: self.history.children.len() as u64,
                timing: Timing {
                    at: now(),
                    ..Timing::default()
                },
            }))?;
        }
        Ok(end)
    }

    fn batches(&mut self, watch: &mut dyn FnMut(Event)) -> Result<End, SearchError> {
        let mut progress = Progress {
            tried_again: self.history.to_try_again(self.strategy.kind()),
            ..Progress::default()
        };
        let (mut batch, mut first) = self.go_on(&mut progress);
        while first < self.samples {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped); // also where every sample is a repeat
            }
            let whole = rules::end_of_batch(first, self.children_per_update, self.samples);
            let end = self.history.end_of(batch).unwrap_or(whole);
            // One that is tried again replaces what was on record.
            let before = (self.history.n_facts(), progress.tried_again.len());
            let ended = self.evaluate(batch, first..end, &mut progress, watch)?;
            if ended != End::Finished {
                return Ok(ended);
            }
            self.learn(batch, first..end)?;
            if before != (self.history.n_facts(), progress.tried_again.len()) {
                watch(Event::Batch {
                    batch,
                    history: self.history,
                });
            }
            (batch, first) = (batch + 1, end);
        }
        Ok(End::Finished)
    }

    /// Takes the controller from its checkpoint, where there is one of what is on record: the batch
    /// and the sample that are next.
    fn go_on(&mut self, progress: &mut Progress) -> (u64, u64) {
        let (Strategy::Policy(controller), Some(checkpoints)) =
            (&mut self.strategy, &mut self.checkpoints)
        else {
            return (0, 0);
        };
        let Some((batch, first)) = checkpoints.restore(controller, self.history) else {
            return (0, 0);
        };
        let before = self.history.children.range(..first);
        for (sample, child) in before.filter(|(_, child)| child.status.is_verdict()) {
            let canonical = child.architecture.to_string();
            progress.verdicts.entry(canonical).or_insert(*sample);
        }
        (batch, first)
    }

    /// Brings every sample of a batch on record.
    fn evaluate(
        &mut self,
        batch: u64,
        samples: Range<u64>,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event),
    ) -> Result<End, SearchError> {
        let mut twins = Twins::new();
        for proposal in self.propose(batch, samples)? {
            twins
                .entry(proposal.canonical.clone())
                .or_default()
                .push_back(proposal);
        }
        let mut jobs = Vec::new();
        for queue in twins.values_mut() {
            jobs.extend(self.advance(queue, progress, watch)?);
        }
        jobs.sort_by_key(|job| job.sample);
        let ended = self.wait(jobs, &mut twins, progress, watch);
        if matches!(ended, Ok(End::Finished)) {
            return ended;
        }
        // Whatever the reason, what the children under way have is kept, and so is what ended.
        for news in self.evaluator.stop() {
            match news {
                News::Ended(outcome) if ended.is_ok() => {
                    self.end(outcome, &mut twins, progress, watch)?;
                }
                News::Lost { sample, words } if ended.is_ok() => self.lose(sample, words)?,
                News::NotKept(error) if ended.is_ok() => return Err(error.into()),
                _ => {}
            }
        }
        ended
    }

    /// Has jobs done, and those that follow from their outcomes.
    fn wait(
        &mut self,
        jobs: Vec<Job>,
        twins: &mut Twins,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event),
    ) -> Result<End, SearchError> {
        let mut under_way = self.submit(jobs);
        while under_way > 0 {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            match self.evaluator.next(PATIENCE) {
                None => {}
                Some(News::Epoch { sample, epoch }) => watch(Event::Epoch { sample, epoch }),
                Some(News::Lost { sample, words }) => self.lose(sample, words)?,
                Some(News::NoDevice(words)) => return Ok(End::NoDevice(words)),
                Some(News::NotKept(error)) => return Err(error.into()),
                Some(News::Ended(outcome)) => {
                    if let Some(next) = self.end(outcome, twins, progress, watch)? {
                        under_way -= 1;
                        under_way += self.submit(next);
                    }
                }
            }
        }
        Ok(End::Finished)
    }

    /// Records how a child ended, and what that answers; the jobs that follow from it. Nothing where
    /// nobody waits for it: a second report of a job is none of its first.
    fn end(
        &mut self,
        outcome: Outcome,
        twins: &mut Twins,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Vec<Job>>, SearchError> {
        let sample = outcome.sample;
        let waits = |queue: &&mut VecDeque<Proposal>| {
            queue.front().is_some_and(|first| first.sample == sample)
        };
        let Some(queue) = twins.values_mut().find(waits) else {
            tracing::debug!("sample {sample} has ended before; this report of it is passed over");
            return Ok(None);
        };
        let child = proposal::ended(&queue[0], outcome);
        progress.tried_again.remove(&sample);
        self.record(child, watch)?;
        let next = self.advance(queue, progress, watch)?;
        Ok(Some(next.into_iter().collect()))
    }

    fn lose(&mut self, sample: u64, message: String) -> Result<(), SearchError> {
        self.append(Entry::Lost(Lost {
            sample,
            message,
            timing: Timing {
                at: now(),
                ..Timing::default()
            },
        }))
    }

    /// Records what needs no training, in the order of a queue of twins: what the journal holds,
    /// and repeats of an architecture with a verdict. The first that must be trained is returned
    /// and stays in the queue.
    fn advance(
        &mut self,
        queue: &mut VecDeque<Proposal>,
        progress: &mut Progress,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Job>, SearchError> {
        while let Some(first) = queue.front() {
            let Proposal {
                sample, canonical, ..
            } = first;
            let on_record = self.history.children.contains_key(sample)
                && !progress.tried_again.contains(sample);
            let original = progress
                .verdicts
                .get(canonical)
                .map(|sample| &self.history.children[sample]);
            match original {
                _ if on_record => {}
                Some(original) => {
                    let repeat = proposal::repeated(first, original);
                    progress.tried_again.remove(sample);
                    self.record(repeat, watch)?;
                }
                None => {
                    let lost = self.history.lost.get(sample).cloned();
                    return Ok(Some(Job {
                        lost: lost.unwrap_or_default(),
                        journal_bytes: self.journal.length(),
                        ..Job::new(*sample, first.architecture.clone())
                    }));
                }
            }
            if self.history.children[sample].status.is_verdict() {
                progress
                    .verdicts
                    .entry(canonical.clone())
                    .or_insert(*sample);
            }
            queue.pop_front();
        }
        Ok(None)
    }

    /// Hands jobs over; how many.
    fn submit(&mut self, jobs: Vec<Job>) -> usize {
        let n_jobs = jobs.len();
        if n_jobs > 0 {
            self.evaluator.submit(jobs);
        }
        n_jobs
    }

    /// The decisions for the samples of a batch, the same as on record where there are some.
    fn propose(&mut self, batch: u64, samples: Range<u64>) -> Result<Vec<Proposal>, SearchError> {
        let past = evolution::past(&self.history.children, samples.start);
        let tokens = self.strategy.propose(self.space, past, samples.clone());
        let pairs = samples.zip(tokens);
        pairs
            .map(|(sample, tokens)| self.proposal(batch, sample, tokens))
            .collect()
    }

    fn proposal(
        &self,
        batch: u64,
        sample: u64,
        tokens: Vec<Token>,
    ) -> Result<Proposal, SearchError> {
        let proposal = Proposal::new(self.space, batch, sample, tokens)?;
        let recorded = self.history.children.get(&sample);
        if recorded.is_some_and(|child| child.tokens != proposal.tokens || child.batch != batch) {
            return Err(SearchError::OtherSearch { sample });
        }
        Ok(proposal)
    }

    /// Lets the controller learn from a batch whose children are all on record.
    // paper P7.1
    fn learn(&mut self, batch: u64, samples: Range<u64>) -> Result<(), SearchError> {
        let began = Instant::now();
        let Strategy::Policy(controller) = &mut self.strategy else {
            return Ok(());
        };
        let (counted, scored) = rules::counted(samples.clone(), &self.history.children);
        let Some(baseline) = controller.learn(&scored) else {
            return Ok(()); // every child met a fault of its machine: nothing to learn from
        };
        let controller_sha256 = controller.sha256();
        if let Some(recorded) = self.history.updates.get(&batch) {
            if recorded.controller_sha256 != controller_sha256 {
                tracing::warn!(
                    "after batch {batch} the controller's bits are not those on record (another \
                     processor or GPU?); going on"
                );
            }
            return Ok(());
        }
        let next = (batch + 1, samples.end);
        self.append(Entry::Update(Update {
            batch,
            samples: samples.collect(),
            baseline: Some(baseline),
            controller_sha256,
            counted,
            timing: timing(began),
            ..Update::default()
        }))?;
        if let (Strategy::Policy(controller), Some(checkpoints)) =
            (&self.strategy, &mut self.checkpoints)
        {
            checkpoints.offer(controller, next, self.journal.length())?;
        }
        Ok(())
    }

    /// Writes a child to the journal, then to the history.
    fn record(&mut self, child: Child, watch: &mut dyn FnMut(Event)) -> Result<(), SearchError> {
        let sample = child.sample;
        self.append(Entry::Child(child))?;
        self.evaluator.recorded(sample)?;
        watch(Event::Ended(&self.history.children[&sample]));
        Ok(())
    }

    /// Writes a fact to the journal, then to the history.
    fn append(&mut self, entry: Entry) -> Result<(), SearchError> {
        self.journal.append(&entry)?;
        let added = self.history.add(entry);
        added.expect("the loop ends each sample once, and updates each batch once after that");
        Ok(())
    }
}

fn timing(began: Instant) -> Timing {
    Timing {
        at: now(),
        seconds: began.elapsed().as_secs_f64(),
        ..Timing::default()
    }
}
