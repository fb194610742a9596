//! A run computed again from its facts: which rounds were begun on which parameters, how their children
//! ended, and in which order each shard counted gradients. All else follows: parameters, architectures,
//! gradients, and where every replica stands.

use std::collections::{BTreeMap, HashMap};

use super::facts::Facts;
pub use super::facts::ReplayError;
use super::learner::Learner;
use super::message::{Gradient, Replica, ReplicaHead, Shard};
use crate::controller::{ControllerState, Scored};
use crate::run::entry::Round;
use crate::space::Token;

/// What is computed, as it comes.
#[derive(Debug)]
pub enum Step<'a> {
    /// A round was begun.
    Begun {
        /// The round.
        round: &'a Round,
        /// What its replica has frozen.
        state: &'a Replica,
        /// The decisions for its samples.
        tokens: &'a [Vec<Token>],
    },
    /// A shard has counted a gradient.
    Counted {
        /// The shard.
        shard: u32,
        /// The gradient's round.
        round: &'a Round,
        /// The baseline that it used, where any child counted.
        baseline: Option<f64>,
        /// Versions that the shard was on since the round had read it.
        late: u64,
        /// The shard after the update that the gradient entered, or will.
        after: &'a Shard,
    },
}

/// Where a run stands.
#[derive(Debug)]
pub struct Standing {
    /// The shards; of no position in a log.
    pub shards: Vec<Shard>,
    /// The replicas.
    pub replicas: Vec<Replica>,
    /// By shard, the gradients of rounds that are over and that it has not counted, in an order in which
    /// it may.
    pub logs: Vec<Vec<Gradient>>,
    /// Decisions of the rounds that were begun.
    pub tokens: BTreeMap<u64, Vec<Vec<Token>>>,
}

impl Standing {
    /// SHA-256 of the controller that the shards make together.
    pub fn sha256(&self) -> String {
        let all =
            |part: fn(&Shard) -> &Vec<f64>| self.shards.iter().flat_map(part).copied().collect();
        let state = ControllerState {
            weights: all(|shard| &shard.weights),
            mean: all(|shard| &shard.adam.mean),
            square: all(|shard| &shard.adam.square),
            step: self.shards[0].adam.step,
            baseline: self.shards[0].head.baseline,
        };
        state.sha256()
    }
}

/// Computes a run again; `watch` sees every step, in an order in which they can have been.
///
/// # Errors
/// Facts that are those of no run, or what `watch` says.
pub fn replay<E: From<ReplayError>>(
    learner: &Learner,
    facts: &Facts,
    watch: &mut dyn FnMut(Step) -> Result<(), E>,
) -> Result<Standing, E> {
    let mut replay = Replay::new(learner, facts)?;
    while replay.step(watch)? {}
    Ok(replay.end()?)
}

/// A shard as a round has read it.
struct Seen {
    version: u64,
    baseline: Option<f64>,
    weights: Vec<f64>,
}

/// A round that was begun.
struct Begun {
    state: Replica,
    tokens: Vec<Vec<Token>>,
    /// Its gradient, once it was asked for.
    gradient: Option<Option<(f64, Vec<f64>)>>,
}

struct Replay<'a> {
    learner: &'a Learner,
    facts: &'a Facts,
    shards: Vec<Shard>,
    /// Rounds of each replica, in their order.
    of_replica: Vec<Vec<&'a Round>>,
    /// Rounds that read a shard once it has counted so many gradients.
    readers: Vec<BTreeMap<u64, Vec<u64>>>,
    /// What rounds have read, by shard.
    read: HashMap<u64, BTreeMap<u32, Seen>>,
    begun: HashMap<u64, Begun>,
    /// Shards that have not counted a round.
    left: HashMap<u64, usize>,
    tokens: BTreeMap<u64, Vec<Vec<Token>>>,
}

impl<'a> Replay<'a> {
    fn new(learner: &'a Learner, facts: &'a Facts) -> Result<Replay<'a>, ReplayError> {
        let scheme = learner.scheme();
        let n_shards = scheme.shards as usize;
        let mut of_replica: Vec<Vec<&Round>> = vec![vec![]; scheme.replicas as usize];
        let mut readers = vec![BTreeMap::<u64, Vec<u64>>::new(); n_shards];
        for (&t, round) in &facts.rounds {
            let wrong = |what: &str| ReplayError::Round {
                round: t,
                what: what.to_owned(),
            };
            if t >= scheme.rounds() || round.round != t {
                return Err(wrong("is not one of the run's rounds"));
            }
            let n_samples = scheme.samples_of(t).count();
            if round.counted.len() != n_shards || round.duplicate_of.len() != n_samples {
                return Err(wrong("is of other shards or samples than the run's"));
            }
            let its = of_replica.get_mut(round.replica as usize);
            its.ok_or_else(|| wrong("is of a replica that the run has not"))?
                .push(round);
            for (readers, &counted) in readers.iter_mut().zip(&round.counted) {
                readers.entry(counted).or_default().push(t);
            }
        }
        for rounds in &mut of_replica {
            rounds.sort_by_key(|round| round.n);
            for (n, round) in (1..).zip(rounds) {
                if round.n != n {
                    return Err(ReplayError::Round {
                        round: round.round,
                        what: format!(
                            "is number {} of replica {}, and number {n} is missing",
                            round.n, round.replica
                        ),
                    });
                }
            }
        }
        Ok(Replay {
            learner,
            facts,
            shards: (0..scheme.shards).map(|s| learner.fresh(s)).collect(),
            of_replica,
            readers,
            read: HashMap::new(),
            begun: HashMap::new(),
            left: HashMap::new(),
            tokens: BTreeMap::new(),
        })
    }

    /// Goes over all shards once; whether anything was done.
    fn step<E: From<ReplayError>>(
        &mut self,
        watch: &mut dyn FnMut(Step) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut has_moved = false;
        for s in 0..self.learner.scheme().shards {
            has_moved |= self.be_read(s, watch)?;
            while self.count(s, watch)? {
                has_moved = true;
                self.be_read(s, watch)?;
            }
        }
        Ok(has_moved)
    }

    /// Lets the rounds that read a shard as it is now do so; begins those that have read all.
    fn be_read<E: From<ReplayError>>(
        &mut self,
        s: u32,
        watch: &mut dyn FnMut(Step) -> Result<(), E>,
    ) -> Result<bool, E> {
        let shard = &self.shards[s as usize];
        let Some(rounds) = self.readers[s as usize].remove(&shard.rounds()) else {
            return Ok(false);
        };
        for t in rounds {
            let read = self.read.entry(t).or_default();
            let shard = &self.shards[s as usize];
            let seen = Seen {
                version: shard.head.version,
                baseline: shard.head.baseline,
                weights: shard.weights.clone(),
            };
            read.insert(s, seen);
            if read.len() == self.shards.len() {
                let shards = self.read.remove(&t).expect("it was just there");
                self.begin(t, shards.into_values().collect(), watch)?;
            }
        }
        Ok(true)
    }

    fn begin<E: From<ReplayError>>(
        &mut self,
        t: u64,
        shards: Vec<Seen>,
        watch: &mut dyn FnMut(Step) -> Result<(), E>,
    ) -> Result<(), E> {
        let round = &self.facts.rounds[&t];
        let state = Replica {
            head: ReplicaHead {
                n: round.n,
                round: Some(t),
                open: true,
                versions: shards.iter().map(|seen| seen.version).collect(),
                counted: round.counted.clone(),
                baseline: shards[0].baseline,
            },
            weights: shards.into_iter().flat_map(|seen| seen.weights).collect(),
        };
        let samples = self.learner.scheme().samples_of(t);
        let tokens = self.learner.propose(&state, samples.clone());
        watch(Step::Begun {
            round,
            state: &state,
            tokens: &tokens,
        })?;
        for (sample, tokens) in samples.zip(&tokens) {
            let child = self.facts.children.get(&sample);
            if child.is_some_and(|child| child.tokens != *tokens) {
                return Err(E::from(ReplayError::Round {
                    round: t,
                    what: format!(
                        "has other decisions for sample {sample} than this program draws: another version or \
                         processor drew it, or it was changed"
                    ),
                }));
            }
        }
        self.tokens.insert(t, tokens.clone());
        self.left.insert(t, self.shards.len());
        let begun = Begun {
            state,
            tokens,
            gradient: None,
        };
        self.begun.insert(t, begun);
        Ok(())
    }

    /// Counts a shard's next gradient, or those of its next wave, where their rounds have begun.
    fn count<E: From<ReplayError>>(
        &mut self,
        s: u32,
        watch: &mut dyn FnMut(Step) -> Result<(), E>,
    ) -> Result<bool, E> {
        let scheme = self.learner.scheme();
        let counted = self.shards[s as usize].rounds() as usize;
        let n = match scheme.is_synchronous() {
            true => scheme.wave(self.shards[s as usize].head.version).count(),
            false => 1,
        };
        // Of a wave that is on record in part the rest was lost, and all comes again.
        let Some(next) = self.facts.orders[s as usize].get(counted..counted + n) else {
            return Ok(false);
        };
        let rounds: Option<Vec<&Round>> = next.iter().map(|&r| self.next_of(s, r)).collect();
        let Some(rounds) = rounds.filter(|_| n > 0) else {
            return Ok(false);
        };
        let wave = scheme.wave(self.shards[s as usize].head.version);
        if scheme.is_synchronous() && !rounds.iter().map(|round| round.round).eq(wave) {
            let error = ReplayError::Counted {
                shard: s,
                replica: rounds[0].replica,
                n: rounds[0].n,
                what: "a wave is one round of each replica, in their order".to_owned(),
            };
            return Err(error.into());
        }
        if rounds
            .iter()
            .any(|round| !self.begun.contains_key(&round.round))
        {
            return Ok(false);
        }
        let mut gradients = Vec::with_capacity(n);
        for round in &rounds {
            gradients.push(self.gradient(s, round)?);
        }
        let shard = &mut self.shards[s as usize];
        let version = shard.head.version;
        match scheme.is_synchronous() {
            true => self.learner.count_wave(shard, &gradients),
            false => self.learner.count(shard, &gradients[0]),
        }
        for (round, sent) in rounds.into_iter().zip(&gradients) {
            let gradient = &self.begun[&round.round].gradient;
            watch(Step::Counted {
                shard: s,
                round,
                baseline: gradient.iter().flatten().map(|(used, _)| *used).next(),
                late: version - sent.head.seen,
                after: &self.shards[s as usize],
            })?;
            let left = self
                .left
                .get_mut(&round.round)
                .expect("the round has begun");
            *left -= 1;
            if *left == 0 {
                self.begun.remove(&round.round);
            }
        }
        Ok(true)
    }

    /// The round of a replica that a shard counts next.
    fn next_of(&self, s: u32, replica: u32) -> Option<&'a Round> {
        let marks = &self.shards[s as usize].head.marks;
        let mark = marks.get(&replica).copied().unwrap_or(0);
        let rounds = self.of_replica.get(replica as usize)?;
        rounds.get(mark as usize).copied()
    }

    /// A shard's share of a round's gradient.
    fn gradient(&mut self, s: u32, round: &Round) -> Result<Gradient, ReplayError> {
        let t = round.round;
        let begun = self.begun.get_mut(&t).expect("the round has begun");
        let mut scored = Vec::new();
        for (sample, tokens) in self.learner.scheme().samples_of(t).zip(&begun.tokens) {
            let Some(child) = self.facts.children.get(&sample) else {
                return Err(ReplayError::Counted {
                    shard: s,
                    replica: round.replica,
                    n: round.n,
                    what: format!("sample {sample} of its round has not ended"),
                });
            };
            scored.extend(child.reward.map(|reward| Scored { tokens, reward }));
        }
        let gradient = begun
            .gradient
            .get_or_insert_with(|| self.learner.gradient(&begun.state, &scored));
        Ok(self.learner.message(
            s,
            &begun.state.head,
            round.replica,
            &scored,
            gradient.as_ref(),
        ))
    }

    fn end(mut self) -> Result<Standing, ReplayError> {
        self.check_all_is_counted()?;
        if let Some(t) = self
            .read
            .keys()
            .chain(self.readers.iter().flat_map(BTreeMap::values).flatten())
            .min()
        {
            return Err(ReplayError::Round {
                round: *t,
                what: "was begun on parameters that never were".to_owned(),
            });
        }
        let scheme = self.learner.scheme();
        let mut logs = vec![vec![]; self.shards.len()];
        let mut replicas = Vec::new();
        for r in 0..scheme.replicas {
            let rounds = self.of_replica[r as usize].clone();
            let last = rounds.last().copied();
            for round in &rounds {
                let is_last = last.is_some_and(|last| last.round == round.round);
                if is_last || !self.begun.contains_key(&round.round) {
                    continue;
                }
                for s in 0..scheme.shards {
                    let marks = &self.shards[s as usize].head.marks;
                    if marks.get(&r).copied().unwrap_or(0) < round.n {
                        logs[s as usize].push(self.gradient(s, round)?);
                    }
                }
            }
            replicas.push(match last {
                None => Replica::default(),
                Some(last) => match self.begun.remove(&last.round) {
                    Some(begun) => begun.state,
                    None => Replica {
                        head: ReplicaHead {
                            n: last.n,
                            round: Some(last.round),
                            ..ReplicaHead::default()
                        },
                        weights: vec![],
                    },
                },
            });
        }
        Ok(Standing {
            shards: self.shards,
            replicas,
            logs,
            tokens: self.tokens,
        })
    }

    /// That nothing of the orders is left, but for a wave that is there in part.
    fn check_all_is_counted(&self) -> Result<(), ReplayError> {
        let scheme = self.learner.scheme();
        for (s, (shard, order)) in (0..).zip(self.shards.iter().zip(&self.facts.orders)) {
            let left = &order[shard.rounds() as usize..];
            let is_part =
                scheme.is_synchronous() && left.len() < scheme.wave(shard.head.version).count();
            let Some(&replica) = left.first().filter(|_| !is_part) else {
                continue;
            };
            return Err(ReplayError::Counted {
                shard: s,
                replica,
                n: shard.head.marks.get(&replica).copied().unwrap_or(0) + 1,
                what: "its round was not begun".to_owned(),
            });
        }
        Ok(())
    }
}
