//! Recomputes a search of several shards or replicas from its settings and its journal: what replicas would
//! have decided and shards learned, by the rounds, results and orders on record.

use std::collections::BTreeMap;

use super::embedded::search::{SharedError, learner};
use super::export::counted;
use super::facts::Facts;
use super::learner::Learner;
use super::replay::{ReplayError, Standing, Step, replay};
use crate::config::Config;
use crate::run::Record;
use crate::run::entry::{Child, Entry, Round, Started, Stop, Update};
use crate::run::history::History;
use crate::run::journal::Line;
use crate::search::audit::difference::{Wrong, same as compare};
use crate::search::audit::evidence::Evidence;
use crate::search::audit::{Audit, Difference, NotCompared, event};
use crate::train::Course;

/// Recomputes a run up to its first difference, on this machine's `processor`; against its data too, where
/// they are given. Of a child all is compared but who trained it, how often and how late.
///
/// # Errors
/// Settings that are those of no such search.
pub fn audit(record: Record, data: Option<&Course>, processor: &str) -> Result<Audit, SharedError> {
    let Record {
        config,
        contents,
        damage,
    } = record;
    let learner = learner(&config)?;
    let mut lines = Lines {
        config: &config,
        learner: &learner,
        evidence: Evidence::new(&config, data, &contents.lines),
        history: History::default(),
        children: children(&contents.lines),
        numbers: Numbers::default(),
        elsewhere: None,
    };
    let mut difference = None;
    for Line { number, entry, .. } in contents.lines {
        if let Err(wrong) = lines.line(number, entry, processor) {
            difference = Some(wrong.on(number));
            break;
        }
    }
    let (recomputed, standing, not_compared) = lines.replay(processor);
    let earliest = [recomputed, difference].into_iter().flatten();
    let difference = earliest.min_by_key(|difference| difference.line);
    let damage = damage.map(|damage| Difference {
        line: damage.line,
        what: "line".into(),
        recorded: damage.reason.into(),
        recomputed: serde_json::Value::Null,
    });
    Ok(Audit {
        difference: difference.or(damage),
        controller_sha256: standing.map(|standing| standing.sha256()),
        not_compared,
        history: lines.history,
    })
}

/// The last line of each child.
fn children(lines: &[Line]) -> BTreeMap<u64, Child> {
    let children = lines.iter().filter_map(|line| match &line.entry {
        Entry::Child(child) => Some((child.sample, child.clone())),
        _ => None,
    });
    children.collect()
}

/// The numbers of lines.
#[derive(Default)]
struct Numbers {
    rounds: BTreeMap<u64, usize>,
    children: BTreeMap<u64, usize>,
    counted: BTreeMap<(u32, u64), usize>,
    updates: BTreeMap<(u32, u64), Update>,
}

struct Lines<'a> {
    config: &'a Config,
    learner: &'a Learner,
    evidence: Evidence<'a>,
    history: History,
    /// All that the journal has.
    children: BTreeMap<u64, Child>,
    numbers: Numbers,
    /// The first device whose bits need not be those of this machine.
    elsewhere: Option<String>,
}

impl Lines<'_> {
    /// Checks all of a line that needs no controller.
    fn line(&mut self, number: usize, entry: Entry, processor: &str) -> Result<(), Wrong> {
        let begins = matches!(entry, Entry::Run(_));
        if (number == 1 || self.history.stopped) && !begins {
            return Err(Wrong::new("event", event(&entry), "run"));
        }
        match &entry {
            Entry::Run(run) => self.check_run(run, processor)?,
            Entry::Round(round) => {
                let last = self.learner.scheme().rounds() - 1;
                if round.round > last {
                    return Err(Wrong::new("round", round.round, last));
                }
                self.numbers.rounds.insert(round.round, number);
            }
            Entry::Child(child) => {
                self.check_child(child)?;
                self.numbers.children.insert(child.sample, number);
            }
            Entry::Update(update) => {
                let key = self.check_update(update)?;
                self.numbers.counted.insert(key, number);
                self.numbers.updates.insert(key, update.clone());
            }
            Entry::Stop(Stop { samples, .. }) => {
                compare("samples", samples, &(self.history.children.len() as u64))?;
            }
            Entry::Lost(_) | Entry::Unknown => {}
        }
        let name = event(&entry);
        let added = self.history.add(entry);
        added.map_err(|reason| Wrong::new("event", name, reason))
    }

    fn check_run(&mut self, run: &Started, processor: &str) -> Result<(), Wrong> {
        compare("config_sha256", &run.config_sha256, &self.config.sha256())?;
        self.evidence.check_data(&run.data_sha256)?;
        compare("samples", &run.samples, &self.config.search.samples)?;
        let device = &run.timing.device;
        let is_here = device == processor || device == "reference";
        if !is_here || run.version != env!("CARGO_PKG_VERSION") {
            self.elsewhere.get_or_insert_with(|| device.clone());
        }
        Ok(())
    }

    fn check_child(&self, child: &Child) -> Result<(), Wrong> {
        let batch = child.sample / self.learner.scheme().children_per_round;
        compare("batch", &child.batch, &batch)?;
        let Some(round) = self.history.rounds.get(&batch) else {
            return Err(Wrong::new("event", "child", "round"));
        };
        let architecture = self.learner.space().decode(&child.tokens);
        let architecture = architecture.map_err(|error| {
            Wrong::new("tokens", &child.tokens, error.to_string()) // what follows has no meaning
        })?;
        let canonical = serde_json::from_str(&architecture.to_json()).unwrap_or_default();
        compare("architecture", &child.architecture, &canonical)?;
        let first = self.learner.scheme().samples_of(batch).start;
        let place = usize::try_from(child.sample - first).unwrap_or(usize::MAX);
        let original = round.duplicate_of.get(place).copied().flatten();
        // Of an export it may come later.
        let original = original.and_then(|of| self.children.get(&of));
        let original = original.filter(|original| original.status.is_verdict());
        self.evidence.check(&child.alone(), &architecture, original)
    }

    /// The shard and the round of an update.
    fn check_update(&self, update: &Update) -> Result<(u32, u64), Wrong> {
        let scheme = self.learner.scheme();
        let shard = update.shard.filter(|shard| *shard < scheme.shards);
        let shard = shard.ok_or_else(|| Wrong::new("shard", update.shard, scheme.shards - 1))?;
        let Some(round) = self.history.rounds.get(&update.batch) else {
            return Err(Wrong::new("event", "update", "round"));
        };
        compare("round", &update.round, &Some(round.round))?;
        compare("replica", &update.replica, &Some(round.replica))?;
        let samples: Vec<u64> = scheme.samples_of(round.round).collect();
        compare("samples", &update.samples, &samples)?;
        Ok((shard, round.round))
    }

    /// Computes the run again: the first difference, where it stands, and what could not be compared.
    fn replay(
        &self,
        processor: &str,
    ) -> (Option<Difference>, Option<Standing>, Option<NotCompared>) {
        let facts = match Facts::of(&self.history, self.learner.scheme().shards) {
            Ok(facts) => facts,
            Err(error) => return (Some(self.impossible(&error)), None, None),
        };
        let mut n_other_bits = 0;
        let standing = replay(self.learner, &facts, &mut |step| {
            let wrong = match step {
                Step::Begun { round, tokens, .. } => self.compare_tokens(round, tokens),
                Step::Counted {
                    shard,
                    round,
                    baseline,
                    after,
                    ..
                } => {
                    let key = (shard, round.round);
                    // Of all that is counted there is a line: the order was read from them.
                    let line = self.numbers.counted[&key];
                    let recorded = &self.numbers.updates[&key];
                    let children = &self.history.children;
                    let ours = counted(self.learner, children, (shard, round), baseline, after);
                    let found = compare("counted", &recorded.counted, &ours.counted)
                        .and_then(|()| compare("baseline", &recorded.baseline, &ours.baseline));
                    let (theirs, ours) = (&recorded.controller_sha256, &ours.controller_sha256);
                    let found = match (found, &self.elsewhere) {
                        (Ok(()), Some(_)) => {
                            n_other_bits += u64::from(theirs != ours);
                            Ok(())
                        }
                        (Ok(()), None) => compare("controller_sha256", theirs, ours),
                        (wrong, _) => wrong,
                    };
                    found.err().map(|wrong| wrong.on(line))
                }
            };
            match wrong {
                None => Ok(()),
                Some(wrong) => Err(Ended::Different(Box::new(wrong))), // what depends on it is wrong too
            }
        });
        let not_compared = self.elsewhere.as_ref().filter(|_| n_other_bits > 0);
        let not_compared = not_compared.map(|device| NotCompared {
            what: "controller_sha256",
            updates: n_other_bits,
            recorded_device: device.clone(),
            device: processor.to_owned(),
        });
        match standing {
            Ok(standing) => (None, Some(standing), not_compared),
            Err(Ended::Different(found)) => (Some(*found), None, not_compared),
            Err(Ended::Impossible(error)) => (Some(self.impossible(&error)), None, not_compared),
        }
    }

    fn compare_tokens(&self, round: &Round, tokens: &[Vec<u32>]) -> Option<Difference> {
        let samples = self.learner.scheme().samples_of(round.round);
        samples.zip(tokens).find_map(|(sample, tokens)| {
            let child = self.history.children.get(&sample)?;
            let wrong = compare("tokens", &child.tokens, tokens).err()?;
            Some(wrong.on(self.numbers.children[&sample]))
        })
    }

    /// The line that says what cannot be.
    fn impossible(&self, error: &ReplayError) -> Difference {
        let line = match error {
            ReplayError::Round { round, .. } => self.numbers.rounds.get(round),
            ReplayError::Counted {
                shard, replica, n, ..
            } => {
                let mut rounds = self.history.rounds.values();
                let its = rounds.find(|round| (round.replica, round.n) == (*replica, *n));
                its.and_then(|round| self.numbers.counted.get(&(*shard, round.round)))
            }
        };
        Wrong::new("event", error.to_string(), ()).on(line.copied().unwrap_or(1))
    }
}

/// Why a replay has ended.
enum Ended {
    /// At a difference.
    Different(Box<Difference>),
    /// At what cannot be.
    Impossible(ReplayError),
}

impl From<ReplayError> for Ended {
    fn from(error: ReplayError) -> Ended {
        Ended::Impossible(error)
    }
}
