//! Recomputes a run from its settings and its journal, line by line in the order written: what the
//! search would have decided, recorded and learned. What a child achieved is taken as it stands;
//! [`retrain`](super::retrain) trains one again.

pub(crate) mod difference;
pub(crate) mod evidence;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use serde_json::Value;

use super::SearchError;
use super::evolution;
use super::proposal::{Proposal, value};
use super::rules::{self, Strategy};
use crate::config::Config;
use crate::run::Record;
use crate::run::entry::{Child, Entry, Started, Stop, Update};
use crate::run::history::History;
use crate::run::journal::Line;
use crate::space::Space;
use crate::train::Course;
pub use difference::{Difference, NotCompared};
use difference::{Stopped, Wrong, same};
use evidence::Evidence;

/// What an audit found.
#[derive(Debug)]
pub struct Audit {
    /// The first line that is not what it should be.
    pub difference: Option<Difference>,
    /// SHA-256 of the controller after the last update that agrees; nothing where none learns.
    pub controller_sha256: Option<String>,
    /// Bits that differ and may, where the controller ran on another device.
    pub not_compared: Option<NotCompared>,
    /// What the lines before the difference say.
    pub history: History,
}

/// Recomputes a run up to its first difference, on this machine's `processor` (a
/// [model](crate::device::Device::model)); against its data too, where they are given.
///
/// # Errors
/// Settings whose decisions stand for no architecture.
pub fn audit(record: Record, data: Option<&Course>, processor: &str) -> Result<Audit, SearchError> {
    let Record {
        config,
        contents,
        damage,
    } = record;
    let space =
        Space::new(&config.space).map_err(|source| SearchError::Space { sample: 0, source })?;
    let evidence = Evidence::new(&config, data, &contents.lines);
    let mut auditor = Auditor::new(&config, &space, evidence, processor);
    let mut difference = None;
    for Line { number, entry, .. } in contents.lines {
        match auditor.line(number, entry) {
            Ok(()) => {}
            Err(Stopped::Wrong(wrong)) => {
                difference = Some(wrong.on(number));
                break;
            }
            Err(Stopped::Search(error)) => return Err(error),
        }
    }
    let damage = damage.map(|damage| Difference {
        line: damage.line,
        what: "line".into(),
        recorded: damage.reason.into(),
        recomputed: Value::Null,
    });
    let controller_sha256 = match &auditor.strategy {
        Strategy::Policy(controller) => Some(controller.sha256()),
        Strategy::Random { .. } | Strategy::Evolution(_) => None,
    };
    Ok(Audit {
        difference: difference.or(damage),
        controller_sha256,
        not_compared: auditor.not_compared,
        history: auditor.history,
    })
}

/// What the lines so far come to.
struct Auditor<'a> {
    config: &'a Config,
    config_sha256: String,
    space: &'a Space,
    strategy: Strategy<'static>,
    evidence: Evidence<'a>,
    history: History,
    batch: Batch,
    /// Samples that the session was asked for.
    total: u64,
    /// Samples on record that this session tries again, and has not yet.
    pending: BTreeSet<u64>,
    /// Samples that were decided, ascending, by the JSON of their architecture.
    twins: HashMap<String, Vec<u64>>,
    processor: &'a str,
    /// The first device whose bits need not be those of `processor`.
    elsewhere: Option<String>,
    not_compared: Option<NotCompared>,
}

/// The batch under way.
#[derive(Default)]
struct Batch {
    number: u64,
    samples: Range<u64>,
    /// From its first sample, as far as they were asked for.
    proposals: Vec<Proposal>,
}

impl<'a> Auditor<'a> {
    fn new(
        config: &'a Config,
        space: &'a Space,
        evidence: Evidence<'a>,
        processor: &'a str,
    ) -> Auditor<'a> {
        Auditor {
            config,
            config_sha256: config.sha256(),
            space,
            strategy: Strategy::new(config, space),
            evidence,
            history: History::default(),
            batch: Batch::default(),
            total: 0,
            pending: BTreeSet::new(),
            twins: HashMap::new(),
            processor,
            elsewhere: None,
            not_compared: None,
        }
    }

    fn line(&mut self, number: usize, entry: Entry) -> Result<(), Stopped> {
        let begins = matches!(entry, Entry::Run(_));
        if (number == 1 || self.history.stopped) && !begins {
            return Err(Wrong::new("event", event(&entry), "run").into());
        }
        match &entry {
            Entry::Run(run) => self.check_run(run)?,
            Entry::Child(child) => self.check_child(child)?,
            Entry::Update(update) => self.check_update(update)?,
            Entry::Stop(stop) => self.check_stop(stop)?,
            Entry::Round(_) => return Err(Wrong::new("event", "round", "child").into()),
            Entry::Lost(_) | Entry::Unknown => {}
        }
        let ended = match &entry {
            Entry::Child(child) => Some(child.sample),
            _ => None,
        };
        let (learned, name) = (matches!(entry, Entry::Update(_)), event(&entry));
        let added = self.history.add(entry);
        added.map_err(|reason| Wrong::new("event", name, reason))?;
        if let Some(sample) = ended {
            self.pending.remove(&sample);
        } else if begins {
            self.begin_session();
        } else if learned {
            self.next_batch();
        }
        Ok(())
    }

    fn check_run(&mut self, run: &Started) -> Result<(), Wrong> {
        same("config_sha256", &run.config_sha256, &self.config_sha256)?;
        self.evidence.check_data(&run.data_sha256)?;
        let reach = self.history.reach();
        match run.samples < reach {
            true => Err(Wrong::new("samples", run.samples, reach)),
            false => Ok(()),
        }
    }

    /// What a session that begins changes: the batch under way may become larger or smaller, and
    /// faults of the machine are tried again.
    fn begin_session(&mut self) {
        let Some(run) = self.history.runs.last() else {
            return;
        };
        self.total = run.samples;
        let device = &run.timing.device;
        let is_here = device == self.processor || device == "reference";
        if !is_here || run.version != env!("CARGO_PKG_VERSION") {
            // What it has learned may go on in later sessions, by a checkpoint.
            self.elsewhere.get_or_insert_with(|| device.clone());
        }
        self.pending = self.history.to_try_again(self.strategy.kind());
        self.set_end();
    }

    fn set_end(&mut self) {
        let m = self.config.search.children_per_update;
        let first = self.batch.samples.start;
        self.batch.samples.end = rules::end_of_batch(first, m, self.total);
        let n_samples = (self.batch.samples.end - first) as usize;
        while self.batch.proposals.len() > n_samples {
            let dropped = self.batch.proposals.pop();
            if let Some(dropped) = dropped
                && let Some(twins) = self.twins.get_mut(&dropped.canonical)
            {
                twins.pop();
            }
        }
    }

    fn next_batch(&mut self) {
        let end = self.batch.samples.end;
        self.batch = Batch {
            number: self.batch.number + 1,
            samples: end..end,
            proposals: vec![],
        };
        self.set_end();
    }

    /// The lowest sample that must end before the batch under way is over.
    fn missing(&self) -> Option<u64> {
        let again = self.pending.first().copied();
        let mut samples = self.batch.samples.clone();
        let new = samples.find(|sample| !self.history.children.contains_key(sample));
        again.into_iter().chain(new).min()
    }

    /// The number of the batch that a sample is of, which ends now.
    fn batch_of(&mut self, sample: u64) -> Result<u64, Wrong> {
        if let Some(before) = self.history.children.get(&sample) {
            return match self.pending.contains(&sample) {
                true => Ok(before.batch),
                false => Err(Wrong::new("sample", sample, self.missing())),
            };
        }
        if sample >= self.batch.samples.end {
            if let Some(missing) = self.missing() {
                return Err(Wrong::new("sample", sample, missing));
            }
            let batch = self.batch.samples.clone();
            let (counted, _) = rules::counted(batch, &self.history.children);
            if self.strategy.kind().learns() && !counted.is_empty() {
                return Err(Wrong::new("event", "child", "update"));
            }
            self.next_batch();
        }
        match self.batch.samples.contains(&sample) {
            true => Ok(self.batch.number),
            false => Err(Wrong::new("sample", sample, self.missing())),
        }
    }

    fn check_child(&mut self, child: &Child) -> Result<(), Stopped> {
        let sample = child.sample;
        let batch = self.batch_of(sample)?;
        // A session goes through the batches in order.
        let before = self
            .pending
            .first()
            .filter(|first| self.history.children[first].batch < batch);
        if let Some(before) = before {
            return Err(Wrong::new("sample", sample, before).into());
        }
        same("batch", &child.batch, &batch)?;
        self.propose()?;
        let Proposal {
            tokens,
            architecture,
            canonical,
            ..
        } = self.proposal(sample, batch)?;
        same("tokens", &child.tokens, &tokens)?;
        same("architecture", &child.architecture, &value(&canonical))?;
        let twins = self.twins.get(&canonical).map_or(&[][..], Vec::as_slice);
        if let Some(first) = self.waits_for(sample, twins) {
            return Err(Wrong::new("sample", sample, first).into());
        }
        let mut earlier = twins.iter().take_while(|twin| **twin < sample);
        let original = earlier.find_map(|twin| {
            let child = self.history.children.get(twin);
            child.filter(|child| child.status.is_verdict())
        });
        Ok(self.evidence.check(child, &architecture, original)?)
    }

    /// The lowest earlier sample of the same architecture that has not ended: it is trained first.
    fn waits_for(&self, sample: u64, twins: &[u64]) -> Option<u64> {
        let again = self.pending.range(..sample);
        let again = again.filter(|twin| twins.binary_search(twin).is_ok());
        let of_batch = twins.iter().rev();
        let of_batch = of_batch.take_while(|twin| **twin >= self.batch.samples.start);
        let new =
            of_batch.filter(|twin| **twin < sample && !self.history.children.contains_key(twin));
        again.chain(new).min().copied()
    }

    /// Decides the samples of the batch under way, as far as that is not done.
    fn propose(&mut self) -> Result<(), Stopped> {
        let first = self.batch.samples.start + self.batch.proposals.len() as u64;
        let samples = first..self.batch.samples.end;
        if samples.is_empty() {
            return Ok(());
        }
        let past = evolution::past(&self.history.children, self.batch.samples.start);
        let tokens = self.strategy.propose(self.space, past, samples.clone());
        for (sample, tokens) in samples.zip(tokens) {
            let proposal = Proposal::new(self.space, self.batch.number, sample, tokens)
                .map_err(Stopped::Search)?;
            let twins = self.twins.entry(proposal.canonical.clone()).or_default();
            twins.push(sample);
            self.batch.proposals.push(proposal);
        }
        Ok(())
    }

    /// What was decided for a sample of this batch, or of an earlier one where nothing learns.
    fn proposal(&mut self, sample: u64, batch: u64) -> Result<Proposal, Stopped> {
        let index = sample.checked_sub(self.batch.samples.start);
        if let Some(proposal) = index.and_then(|i| self.batch.proposals.get(i as usize)) {
            return Ok(proposal.clone());
        }
        let past = evolution::past(&self.history.children, 0);
        let tokens = self.strategy.propose(self.space, past, sample..sample + 1);
        let tokens = tokens.into_iter().next().unwrap_or_default();
        Proposal::new(self.space, batch, sample, tokens).map_err(Stopped::Search)
    }

    fn check_update(&mut self, update: &Update) -> Result<(), Wrong> {
        let Strategy::Policy(controller) = &mut self.strategy else {
            return Err(Wrong::new("event", "update", "child"));
        };
        same("batch", &update.batch, &self.batch.number)?;
        let samples = self.batch.samples.clone();
        same("samples", &update.samples, &samples.clone().collect())?;
        let has_ended = |sample: &u64| {
            self.history.children.contains_key(sample) && !self.pending.contains(sample)
        };
        if !samples.clone().all(|sample| has_ended(&sample)) {
            let ended: Vec<u64> = samples.filter(has_ended).collect();
            return Err(Wrong::new("samples", &update.samples, ended));
        }
        let (counted, scored) = rules::counted(samples, &self.history.children);
        same("counted", &update.counted, &counted)?;
        let Some(baseline) = controller.learn(&scored) else {
            return Err(Wrong::new("event", "update", "child"));
        };
        same("baseline", &update.baseline, &Some(baseline))?;
        let sha256 = controller.sha256();
        match &self.elsewhere {
            Some(device) if update.controller_sha256 != sha256 => {
                let before = self.not_compared.as_ref().map_or(0, |n| n.updates);
                self.not_compared = Some(NotCompared {
                    what: "controller_sha256",
                    updates: before + 1,
                    recorded_device: device.clone(),
                    device: self.processor.to_owned(),
                });
                Ok(())
            }
            _ => same("controller_sha256", &update.controller_sha256, &sha256),
        }
    }

    fn check_stop(&mut self, stop: &Stop) -> Result<(), Wrong> {
        same(
            "samples",
            &stop.samples,
            &(self.history.children.len() as u64),
        )
    }
}

/// The name of a line's kind.
pub(crate) fn event(entry: &Entry) -> &'static str {
    match entry {
        Entry::Run(_) => "run",
        Entry::Child(_) => "child",
        Entry::Round(_) => "round",
        Entry::Update(_) => "update",
        Entry::Lost(_) => "lost",
        Entry::Stop(_) => "stop",
        Entry::Unknown => "unknown",
    }
}
