//! The search loop: sample a batch, evaluate it, record it, learn from it, until the total number
//! of samples. It trains nothing itself and never sees a tensor.
//!
//! Resuming is the same loop: what the journal already says is read instead of done, so a search
//! that was stopped anywhere ends with the journal of one that never was.

pub mod best_weights;
pub mod entry;
pub mod evaluator;
pub mod history;
pub mod journal;
pub mod local;
mod pool;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::controller::{Controller, Scored};
use crate::search::entry::{Child, Entry, Timing, Update};
use crate::search::evaluator::{Evaluator, Job, News, Outcome, Status};
use crate::search::history::History;
use crate::search::journal::{Journal, JournalError};
use crate::space::{Architecture, Space, SpaceError, Token};
use crate::train::Scores;

/// How long the loop waits for news before it looks at the stop flag again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where architectures come from.
pub enum Strategy<'a> {
    /// The controller designs them and learns from what they achieve.
    Policy(Box<Controller<'a>>),
    /// Drawn uniformly from the space; nothing learns.
    Random {
        /// Seed of the draws.
        seed: u64,
    },
}

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
    pub journal: Journal,
    /// What the journal says already.
    pub history: History,
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

/// A sample of the batch under way.
struct Proposal {
    sample: u64,
    batch: u64,
    tokens: Vec<Token>,
    architecture: Architecture,
    canonical: String,
}

/// The samples of a batch that share an architecture, in order: the first is trained, the others
/// wait for it.
type Twins = BTreeMap<String, VecDeque<Proposal>>;

impl Search<'_> {
    /// Runs the search to its end or until it is told to stop; the history then holds all facts.
    pub fn run(&mut self, watch: &mut dyn FnMut(Event)) -> Result<End, SearchError> {
        // The first sample with each architecture that a verdict was given on.
        let mut verdicts = HashMap::new();
        let (mut batch, mut first) = (0, 0);
        while first < self.samples {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped); // also where every sample is a repeat
            }
            let whole = (first + self.children_per_update).min(self.samples);
            let end = self.history.end_of(batch).unwrap_or(whole);
            let n_facts = self.history.n_facts();
            let ended = self.evaluate(batch, first..end, &mut verdicts, watch)?;
            if ended != End::Finished {
                return Ok(ended);
            }
            self.learn(batch, first..end)?;
            if self.history.n_facts() > n_facts {
                watch(Event::Batch {
                    batch,
                    history: &self.history,
                });
            }
            (batch, first) = (batch + 1, end);
        }
        Ok(End::Finished)
    }

    /// Brings every sample of a batch on record.
    fn evaluate(
        &mut self,
        batch: u64,
        samples: Range<u64>,
        verdicts: &mut HashMap<String, u64>,
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
            jobs.extend(self.advance(queue, verdicts, watch)?);
        }
        jobs.sort_by_key(|job| job.sample);
        let mut under_way = self.submit(jobs);
        while under_way > 0 {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            let outcome = match self.evaluator.next(PATIENCE) {
                None => continue,
                Some(News::Epoch { sample, epoch }) => {
                    watch(Event::Epoch { sample, epoch });
                    continue;
                }
                Some(News::NoDevice(words)) => return Ok(End::NoDevice(words)),
                Some(News::Ended(outcome)) => outcome,
            };
            under_way -= 1;
            let is_first = |queue: &&mut VecDeque<Proposal>| {
                queue
                    .front()
                    .is_some_and(|first| first.sample == outcome.sample)
            };
            let queue = twins
                .values_mut()
                .find(is_first)
                .expect("an evaluator reports each job it was given once");
            let child = ended(&queue[0], outcome);
            self.record(child, watch)?;
            let next = self.advance(queue, verdicts, watch)?;
            under_way += self.submit(next.into_iter().collect());
        }
        Ok(End::Finished)
    }

    /// Records what needs no training, in the order of a queue of twins: what the journal holds,
    /// and repeats of an architecture with a verdict. The first that must be trained is returned
    /// and stays in the queue.
    fn advance(
        &mut self,
        queue: &mut VecDeque<Proposal>,
        verdicts: &mut HashMap<String, u64>,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Job>, SearchError> {
        while let Some(first) = queue.front() {
            let Proposal {
                sample, canonical, ..
            } = first;
            let on_record = self.history.children.contains_key(sample);
            let original = verdicts
                .get(canonical)
                .map(|sample| &self.history.children[sample]);
            match original {
                _ if on_record => {}
                Some(original) => {
                    let repeat = repeated(first, original);
                    self.record(repeat, watch)?;
                }
                None => {
                    let architecture = first.architecture.clone();
                    return Ok(Some(Job {
                        sample: *sample,
                        architecture,
                    }));
                }
            }
            if self.history.children[sample].status.is_verdict() {
                verdicts.entry(canonical.clone()).or_insert(*sample);
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
        let tokens = match &mut self.strategy {
            Strategy::Policy(controller) => controller.sample_batch(samples.clone()),
            Strategy::Random { seed } => samples
                .clone()
                .map(|sample| self.space.random(*seed, sample))
                .collect(),
        };
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
        let architecture = self
            .space
            .decode(&tokens)
            .map_err(|source| SearchError::Space { sample, source })?;
        let recorded = self.history.children.get(&sample);
        if recorded.is_some_and(|child| child.tokens != tokens || child.batch != batch) {
            return Err(SearchError::OtherSearch { sample });
        }
        let canonical = architecture.to_json();
        Ok(Proposal {
            sample,
            batch,
            tokens,
            architecture,
            canonical,
        })
    }

    /// Lets the controller learn from a batch whose children are all on record.
    // paper P7.1
    fn learn(&mut self, batch: u64, samples: Range<u64>) -> Result<(), SearchError> {
        let began = Instant::now();
        let Strategy::Policy(controller) = &mut self.strategy else {
            return Ok(());
        };
        let children = &self.history.children;
        let counted: Vec<u64> = samples
            .clone()
            .filter(|sample| children[sample].reward.is_some())
            .collect();
        let scored: Vec<Scored> = counted
            .iter()
            .filter_map(|sample| {
                let Child { tokens, reward, .. } = &children[sample];
                reward.map(|reward| Scored { tokens, reward })
            })
            .collect();
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
        let update = Entry::Update(Update {
            batch,
            samples: samples.collect(),
            baseline,
            controller_sha256,
            counted,
            timing: timing(began),
        });
        self.journal.append(&update)?;
        self.history
            .add(update)
            .expect("the loop makes one update of a batch");
        Ok(())
    }

    /// Writes a child to the journal, then to the history.
    fn record(&mut self, child: Child, watch: &mut dyn FnMut(Event)) -> Result<(), SearchError> {
        let sample = child.sample;
        let entry = Entry::Child(child);
        self.journal.append(&entry)?;
        self.history
            .add(entry)
            .expect("the loop ends each sample once");
        watch(Event::Ended(&self.history.children[&sample]));
        Ok(())
    }
}

/// What the controller is paid for a child; nothing where a machine was at fault.
pub fn reward(status: Status, scores: &Scores) -> Option<f64> {
    match status {
        Status::Ok => Some(scores.reward()),
        _ if status.is_verdict() => Some(0.0),
        _ => None,
    }
}

/// The record of a child that was trained.
fn ended(proposal: &Proposal, outcome: Outcome) -> Child {
    Child {
        sample: proposal.sample,
        batch: proposal.batch,
        tokens: proposal.tokens.clone(),
        architecture: value(&proposal.canonical),
        reward: reward(outcome.status, &outcome.scores),
        status: outcome.status,
        scores: outcome.scores,
        duplicate_of: None,
        parameters: outcome.parameters,
        message: outcome.message,
        timing: Timing {
            at: now(),
            ..outcome.timing
        },
    }
}

/// The record of a child whose architecture has a verdict already.
fn repeated(proposal: &Proposal, original: &Child) -> Child {
    Child {
        sample: proposal.sample,
        batch: proposal.batch,
        tokens: proposal.tokens.clone(),
        duplicate_of: Some(original.duplicate_of.unwrap_or(original.sample)),
        timing: Timing {
            at: now(),
            ..Timing::default()
        },
        ..original.clone()
    }
}

fn value(json: &str) -> serde_json::Value {
    serde_json::from_str(json).expect("an architecture's JSON is JSON")
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0.0, |since| since.as_secs_f64())
}

fn timing(began: Instant) -> Timing {
    Timing {
        at: now(),
        seconds: began.elapsed().as_secs_f64(),
        ..Timing::default()
    }
}
