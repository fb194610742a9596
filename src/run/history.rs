//! What a journal says of a search so far: its children, updates and sessions, checked to fit
//! together. The loop reads it in place of training again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Status;
use super::entry::{Child, ChildFacts, Entry, Round, Started, Update};
use super::journal::{Contents, JournalError, Line};
use crate::config::StrategyKind;

/// Faults of the machine after which a child is not tried again: it may be at fault itself.
const MOST_FAULTS: usize = 3;

/// The facts of a search so far; `C` is what is kept of a child.
#[derive(Debug)]
pub struct History<C = Child> {
    /// Each time the search began or went on.
    pub runs: Vec<Started>,
    /// The children that ended, by sample.
    pub children: BTreeMap<u64, C>,
    /// The controller's steps, by batch; where its parameters are shared out, those of the first shard.
    pub updates: BTreeMap<u64, Update>,
    /// The batches that replicas of the controller have begun, where they share the search.
    pub rounds: BTreeMap<u64, Round>,
    /// By shard, the rounds whose gradients it has counted, in that order.
    pub counted: BTreeMap<u32, Vec<u64>>,
    /// By its sample, how many GPUs were lost while they trained a child, and the last one's words.
    pub lost: BTreeMap<u64, (usize, String)>,
    /// Times that a fault of the machine ended a child, by its sample.
    faults: BTreeMap<u64, usize>,
    /// Whether the last line says that the search stopped in good order.
    pub stopped: bool,
    /// When the last line was written, in seconds since 1970.
    pub last_at: f64,
    /// The latest time in a line of the last session: later than the last line's where the clock was
    /// set back.
    latest_at: f64,
    /// Seconds of all sessions but the last.
    pub earlier_seconds: f64,
}

impl<C> Default for History<C> {
    fn default() -> History<C> {
        History {
            runs: Vec::new(),
            children: BTreeMap::new(),
            updates: BTreeMap::new(),
            rounds: BTreeMap::new(),
            counted: BTreeMap::new(),
            lost: BTreeMap::new(),
            faults: BTreeMap::new(),
            stopped: false,
            last_at: 0.0,
            latest_at: 0.0,
            earlier_seconds: 0.0,
        }
    }
}

impl History {
    /// The facts in a journal.
    pub fn new(path: &Path, contents: Contents) -> Result<History, JournalError> {
        let mut history = History::default();
        for line in contents.lines {
            history.add_line(path, line)?;
        }
        Ok(history)
    }
}

impl<C: ChildFacts> History<C> {
    /// Adds the fact on a line of a journal.
    pub(super) fn add_line(&mut self, path: &Path, line: Line<C>) -> Result<(), JournalError> {
        let Line {
            number,
            offset,
            entry,
        } = line;
        self.add(entry).map_err(|reason| JournalError::Damaged {
            path: path.into(),
            line: number,
            offset,
            reason,
        })
    }

    /// Adds a fact, or says why it cannot be one.
    pub(crate) fn add(&mut self, entry: Entry<C>) -> Result<(), String> {
        self.stopped = matches!(entry, Entry::Stop(_));
        match entry {
            Entry::Run(run) => self.add_run(run),
            Entry::Child(child) => return self.add_child(child),
            Entry::Round(round) => return self.add_round(round),
            Entry::Update(update) => return self.add_update(update),
            Entry::Lost(lost) => {
                self.see(lost.timing.at);
                let (n_lost, words) = self.lost.entry(lost.sample).or_default();
                *n_lost += 1;
                *words = lost.message;
            }
            Entry::Stop(stop) => self.see(stop.timing.at),
            Entry::Unknown => {}
        }
        Ok(())
    }

    /// A line was written at a time.
    fn see(&mut self, at: f64) {
        self.last_at = at;
        self.latest_at = self.latest_at.max(at);
    }

    /// A child that ended; again, where a fault of the machine had ended it before.
    fn add_child(&mut self, child: C) -> Result<(), String> {
        let sample = child.sample();
        self.see(child.at());
        if child.status().is_tried_again() {
            *self.faults.entry(sample).or_default() += 1;
        }
        match self.children.insert(sample, child) {
            Some(before) if !before.status().is_tried_again() => {
                Err(format!("sample {sample} ended before"))
            }
            _ => Ok(()),
        }
    }

    fn add_update(&mut self, update: Update) -> Result<(), String> {
        let batch = update.batch;
        self.see(update.timing.at);
        let has_not_ended = |sample: &&u64| !self.children.contains_key(sample);
        if let Some(sample) = update.samples.iter().find(has_not_ended) {
            return Err(format!(
                "an update from sample {sample}, which has not ended"
            ));
        }
        if let Some(shard) = update.shard {
            let counted = self.counted.entry(shard).or_default();
            if counted.contains(&batch) {
                return Err(format!("shard {shard} has counted round {batch} before"));
            }
            counted.push(batch);
            if shard > 0 {
                return Ok(());
            }
        }
        match self.updates.insert(batch, update) {
            Some(_) => Err(format!("batch {batch} had its update before")),
            None => Ok(()),
        }
    }

    fn add_round(&mut self, round: Round) -> Result<(), String> {
        let t = round.round;
        self.see(round.timing.at);
        match self.rounds.insert(t, round) {
            Some(_) => Err(format!("round {t} was begun before")),
            None => Ok(()),
        }
    }

    /// The samples whose children are tried again where the search goes on: a fault of the machine
    /// ended them, fewer than three times, and nothing was drawn yet that depends on them. (Where nothing
    /// does, all of the former.)
    pub fn to_try_again(&self, strategy: StrategyKind) -> BTreeSet<u64> {
        let is_over = |batch| strategy.looks_back() && self.is_over(batch);
        let few = self.faults.iter().filter(|&(_, &n)| n < MOST_FAULTS);
        few.filter_map(|(sample, _)| self.children.get(sample))
            .filter(|child| child.status().is_tried_again() && !is_over(child.batch()))
            .map(|child| child.sample())
            .collect()
    }

    /// The best architecture: by reward, then the lower sample.
    // paper P9.1
    pub fn best(&self) -> Option<&C> {
        let ended_well = self.children.values().filter(|c| c.status() == Status::Ok);
        ended_well.max_by(|a, b| {
            let reward = |child: &C| child.reward().unwrap_or(0.0);
            let by_reward = reward(a).total_cmp(&reward(b));
            by_reward.then(b.sample().cmp(&a.sample()))
        })
    }

    /// Adds the start of a session.
    pub fn add_run(&mut self, run: Started) {
        self.earlier_seconds = self.seconds();
        self.stopped = false;
        (self.last_at, self.latest_at) = (run.timing.at, run.timing.at);
        self.runs.push(run);
    }

    /// Seconds that the search has run, without the time between sessions.
    pub fn seconds(&self) -> f64 {
        let session = self
            .runs
            .last()
            .map_or(0.0, |run| self.latest_at - run.timing.at);
        self.earlier_seconds + session.max(0.0)
    }

    /// Samples that ended in a second of the last session, where any did.
    pub fn samples_per_second(&self) -> Option<f64> {
        let began = self.runs.last()?.timing.at;
        let n_ended = self
            .children
            .values()
            .filter(|child| child.at() >= began)
            .count();
        let seconds = self.latest_at - began;
        (n_ended > 0 && seconds > 0.0).then(|| n_ended as f64 / seconds)
    }

    /// The sample after the last of a batch, where the journal shows that the batch is over. (The
    /// last batch of a run that was later given more samples may be a small one.)
    pub fn end_of(&self, batch: u64) -> Option<u64> {
        let last = self
            .children
            .values()
            .rev()
            .find(|child| child.batch() == batch)?;
        self.is_over(batch).then_some(last.sample() + 1)
    }

    /// Whether the journal shows that a batch is over.
    fn is_over(&self, batch: u64) -> bool {
        if let Some(round) = self.rounds.get(&batch) {
            let is_counted = self.counted.values().any(|rounds| rounds.contains(&batch));
            let of_replica = |other: &&Round| other.replica == round.replica;
            let is_last = |n| {
                self.rounds
                    .values()
                    .filter(of_replica)
                    .all(|other| other.n <= n)
            };
            return is_counted || !is_last(round.n);
        }
        let last = self.children.values().next_back();
        self.updates.contains_key(&batch) || last.is_some_and(|child| child.batch() > batch)
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
    pub fn is_finished(&self, samples: u64, strategy: StrategyKind) -> bool {
        let Some(last) = self.children.values().next_back() else {
            return false;
        };
        let all_ended = self.children.len() as u64 >= samples && last.sample() < samples;
        if let Some(round) = self.rounds.values().next() {
            let shards = round.counted.len();
            let all_counted = self
                .counted
                .values()
                .all(|rounds| rounds.len() == self.rounds.len());
            return all_ended && all_counted && self.counted.len() == shards;
        }
        let nothing_to_learn = self
            .children
            .values()
            .filter(|c| c.batch() == last.batch())
            .all(|c| c.reward().is_none());
        all_ended
            && self.to_try_again(strategy).is_empty()
            && (!strategy.learns() || nothing_to_learn || self.updates.contains_key(&last.batch()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::entry::{RunTiming, Stop, Timing};

    fn at(at: f64) -> Timing {
        Timing {
            at,
            ..Timing::default()
        }
    }

    fn begins(at: f64) -> Entry {
        Entry::Run(Started {
            version: "0".into(),
            config_sha256: "1".into(),
            data_sha256: "2".into(),
            samples: 9,
            timing: RunTiming {
                at,
                device: "cpu".into(),
                threads: 1,
            },
        })
    }

    fn stops(time: f64) -> Entry {
        Entry::Stop(Stop {
            samples: 0,
            timing: at(time),
        })
    }

    fn ends(sample: u64, time: f64) -> Entry {
        let line = format!(
            r#"{{"event":"child","sample":{sample},"batch":0,"tokens":[],"architecture":{{}},
            "status":"ok","accuracies":[0.5],"reward":0.125,"timing":{{"at":{time},"seconds":1}}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    /// After each line: the seconds of all sessions, and the pace of the last one.
    #[test]
    fn time_counts_within_sessions_alone() {
        let lines = [
            (begins(100.0), 0.0, None),
            (ends(0, 104.0), 4.0, Some(0.25)),
            (ends(1, 110.0), 10.0, Some(0.2)),
            (stops(112.0), 12.0, Some(2.0 / 12.0)),
            (begins(200.0), 12.0, None),
            (stops(208.0), 20.0, None), // nothing ended in this session
            (begins(300.0), 20.0, None),
            (ends(2, 300.0), 20.0, None), // at once: no pace
            (ends(3, 304.0), 24.0, Some(0.5)),
            (ends(4, 302.0), 24.0, Some(0.75)), // the clock was set back
            (begins(250.0), 24.0, None),
        ];
        let mut history = History::default();
        for (number, (line, seconds, pace)) in lines.into_iter().enumerate() {
            history.add(line).unwrap();
            assert_eq!(history.seconds(), seconds, "line {number}");
            assert_eq!(history.samples_per_second(), pace, "line {number}");
        }
    }
    /// Children as (sample, batch, whether there is a reward), batches that had their update, samples
    /// asked for; whether nothing is left to do where the controller learns, and where nothing does.
    #[test]
    fn a_search_is_finished_when_all_have_ended_and_are_learned_from() {
        type Children<'a> = &'a [(u64, u64, bool)];
        let two: Children = &[(0, 0, true), (1, 1, true)];
        let cases: [(Children, &[u64], u64, [bool; 2]); 8] = [
            (&[], &[], 0, [false, false]), // nothing has begun
            (two, &[0], 2, [false, true]),
            (two, &[0, 1], 2, [true, true]),
            (two, &[0, 1], 3, [false, false]),
            (two, &[0, 1], 1, [false, false]), // of more samples than are asked for now
            (&[(0, 0, true)], &[], 1, [false, true]),
            (&[(0, 0, true), (1, 1, false)], &[0], 2, [true, true]), // nothing to learn from
            (&[(0, 0, false), (1, 1, true)], &[], 2, [false, true]),
        ];
        for (children, updates, samples, expected) in cases {
            let mut history = History::default();
            for &(sample, batch, has_reward) in children {
                let Entry::Child(mut child) = ends(sample, 1.0) else {
                    unreachable!()
                };
                child.batch = batch;
                child.reward = child.reward.filter(|_| has_reward);
                history.add(Entry::Child(child)).unwrap();
            }
            for &batch in updates {
                let update = Update {
                    batch,
                    samples: vec![batch],
                    baseline: Some(0.5),
                    controller_sha256: "0".into(),
                    timing: at(1.0),
                    ..Update::default()
                };
                history.add(Entry::Update(update)).unwrap();
            }
            let found = [StrategyKind::Policy, StrategyKind::Random]
                .map(|strategy| history.is_finished(samples, strategy));
            assert_eq!(found, expected, "{children:?}, {updates:?} of {samples}");
            assert_eq!(history.n_facts(), children.len() + updates.len());
        }
    }
    /// A child by the words of its line.
    fn child(sample: u64, batch: u64, status: &str) -> Entry {
        let line = format!(
            r#"{{"event":"child","sample":{sample},"batch":{batch},"tokens":[],"architecture":{{}},
            "status":"{status}","accuracies":[],"reward":null,"timing":{{"at":1,"seconds":1}}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_child_is_tried_three_times() {
        let mut history = History::default();
        for is_tried_again in [true, true, false] {
            history.add(child(4, 0, "crash")).unwrap();
            let found = history.to_try_again(StrategyKind::Policy);
            assert_eq!(found, BTreeSet::from_iter(is_tried_again.then_some(4)));
        }
    }

    #[test]
    fn a_batch_ends_where_the_next_begins() {
        let mut history = History::default();
        for (sample, batch) in [(0, 0), (1, 0), (2, 1)] {
            assert_eq!([history.end_of(0), history.end_of(1)], [None; 2]);
            history.add(child(sample, batch, "ok")).unwrap();
        }
        assert_eq!([history.end_of(0), history.end_of(1)], [Some(2), None]);
    }
}
