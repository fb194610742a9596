//! What the roles compute: functions of bytes that are frozen in cells and facts, so that whoever computes
//! them, and however often, gets the same bits.

use std::ops::Range;

use super::message::{
    Gradient, GradientHead, Lateness, Replica, ReplicaHead, Round, Shard, ShardHead,
};
use super::scheme::Scheme;
use crate::controller::{
    Adam, Controller, ControllerConfig, ControllerState, Scored, moved_baseline,
};
use crate::space::{Space, Token};

/// The controller of a run, apart from what it has learned.
#[derive(Clone, Debug)]
pub struct Learner {
    scheme: Scheme,
    space: Space,
    config: ControllerConfig,
    seed: u64,
    /// The weights that it begins with.
    initial: Vec<f64>,
    /// The parameters of each shard.
    shards: Vec<Range<usize>>,
}

/// There are more shards than parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are {shards} shards, but {parameters} parameters; give at most that many shards, and one at least"
)]
pub struct TooManyShards {
    shards: u32,
    parameters: usize,
}

impl Learner {
    /// The controller of a space; `config` passed [`ControllerConfig::check`].
    ///
    /// # Errors
    /// More shards than there are parameters, or none.
    pub fn new(
        scheme: Scheme,
        space: Space,
        config: ControllerConfig,
        seed: u64,
    ) -> Result<Learner, TooManyShards> {
        let initial = Controller::new(space.clone(), &config, seed)
            .state()
            .weights;
        if !(1..=initial.len()).contains(&(scheme.shards as usize)) {
            return Err(TooManyShards {
                shards: scheme.shards,
                parameters: initial.len(),
            });
        }
        let shards = scheme.parameters_of_shards(initial.len());
        Ok(Learner {
            scheme,
            space,
            config,
            seed,
            initial,
            shards,
        })
    }

    /// How its work is spread.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// What it designs.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Shard s before its first gradient.
    pub fn fresh(&self, shard: u32) -> Shard {
        let weights = self.initial[self.shards[shard as usize].clone()].to_vec();
        Shard {
            head: ShardHead::default(),
            adam: Adam::new(weights.len()),
            sum: vec![0.0; weights.len()],
            weights,
        }
    }

    /// Bytes of the largest value that its roles keep: a shard's or a replica's, as they are at the end.
    pub fn largest_value(&self) -> usize {
        const BYTES_OF_A_MARK: usize = 32;
        let n_rounds = self.scheme.rounds();
        let shard =
            self.fresh(0).to_bytes().len() + BYTES_OF_A_MARK * self.scheme.replicas as usize;
        // Of each gradient that it has counted the number of the replica, and a comma.
        let digits = self.scheme.replicas.ilog10() as usize + 2;
        let shard = shard.saturating_add(digits.saturating_mul(n_rounds as usize));
        let replica = Replica {
            head: ReplicaHead {
                versions: vec![n_rounds; self.shards.len()],
                counted: vec![n_rounds; self.shards.len()],
                ..ReplicaHead::default()
            },
            weights: self.initial.clone(),
        };
        shard.max(replica.to_bytes().len())
    }

    /// Whether a shard's state is of this controller.
    pub fn fits(&self, shard: u32, state: &Shard) -> bool {
        state.weights.len() == self.shards[shard as usize].len()
    }

    /// Whether a gradient is one of this controller's for a shard.
    pub fn fits_gradient(&self, shard: u32, gradient: &Gradient) -> bool {
        let n = gradient.values.len();
        (n == 0 || n == self.shards[shard as usize].len())
            && gradient.head.replica < self.scheme.replicas
            && gradient.head.round < self.scheme.rounds()
    }

    /// Whether a replica's state is one of this controller's.
    pub fn fits_replica(&self, replica: &Replica) -> bool {
        let head = &replica.head;
        !head.open
            || (head.n > 0
                && head.round.is_some_and(|round| round < self.scheme.rounds())
                && [head.versions.len(), head.counted.len()] == [self.shards.len(); 2]
                && replica.weights.len() == self.initial.len())
    }

    /// Whether a round's decisions are architectures of the space, one a sample.
    pub fn fits_round(&self, round: u64, claimed: &Round) -> bool {
        let n = self.scheme.samples_of(round).count();
        [claimed.tokens.len(), claimed.duplicate_of.len()] == [n; 2]
            && claimed.counted.len() == self.shards.len()
            && claimed
                .tokens
                .iter()
                .all(|tokens| self.space.decode(tokens).is_ok())
    }

    /// The decisions for samples by a replica's parameters.
    pub fn propose(&self, replica: &Replica, samples: Range<u64>) -> Vec<Vec<Token>> {
        self.controller(replica).sample_batch(samples)
    }

    /// The logarithms of the probabilities of each decision's choices, by a replica's parameters.
    pub fn distributions(&self, replica: &Replica, tokens: &[Token]) -> Vec<Vec<f64>> {
        self.controller(replica).policy().distributions(tokens)
    }

    /// The baseline for a batch, and its gradient by a replica's parameters; nothing of an empty one.
    pub fn gradient(&self, replica: &Replica, batch: &[Scored]) -> Option<(f64, Vec<f64>)> {
        if batch.is_empty() {
            return None;
        }
        let controller = self.controller(replica);
        let baseline = controller.baseline(batch);
        Some((baseline, controller.gradient(batch, baseline)))
    }

    /// What a replica sends a shard of a round's gradient; of one that nothing is learned from, its number
    /// alone.
    pub fn message(
        &self,
        shard: u32,
        head: &ReplicaHead,
        replica: u32,
        scored: &[Scored],
        gradient: Option<&(f64, Vec<f64>)>,
    ) -> Gradient {
        let is_first = shard == 0;
        let rewards = scored.iter().map(|scored| scored.reward);
        Gradient {
            head: GradientHead {
                replica,
                n: head.n,
                round: head.round.expect("a replica at work has a round"),
                seen: head.versions[shard as usize],
                rewards: rewards.filter(|_| is_first).collect(),
                baseline: gradient.map(|(used, _)| *used).filter(|_| is_first),
            },
            values: match gradient {
                Some((_, values)) => self.share(shard, values).to_vec(),
                None => vec![],
            },
        }
    }

    /// A shard's share of a gradient.
    pub fn share<'g>(&self, shard: u32, gradient: &'g [f64]) -> &'g [f64] {
        &gradient[self.shards[shard as usize].clone()]
    }

    fn controller(&self, replica: &Replica) -> Controller<'static> {
        let mut controller = Controller::new(self.space.clone(), &self.config, self.seed);
        let n = replica.weights.len();
        let is_restored = controller.restore(ControllerState {
            weights: replica.weights.clone(),
            mean: vec![0.0; n],
            square: vec![0.0; n],
            // The gradients of a round know by it how far the search is.
            step: replica.head.versions.first().copied().unwrap_or(0),
            baseline: replica.head.baseline,
        });
        assert!(
            is_restored,
            "a replica's parameters are all shards' together"
        );
        controller
    }

    /// Counts a gradient that is the next of its replica; makes an update where it is the last that one
    /// waited for.
    pub fn count(&self, shard: &mut Shard, gradient: &Gradient) {
        let tau = shard.head.version.saturating_sub(gradient.head.seen);
        let weight = self.scheme.staleness.weight(tau);
        note(&mut shard.head.lateness, tau, weight.is_none());
        mark(&mut shard.head, gradient);
        self.move_baseline(&mut shard.head, gradient);
        if let Some(weight) = weight
            && !gradient.values.is_empty()
        {
            add(&mut shard.sum, &gradient.values, weight);
            shard.head.waiting += 1;
        }
        // What is left at the end is an update too.
        let is_last = shard.rounds() == self.scheme.rounds();
        if shard.head.waiting >= self.scheme.gradients_per_update || is_last {
            shard.head.version += u64::from(self.update(shard));
        }
    }

    /// Counts all gradients of a wave, in the order of their replicas, and makes an update of their mean.
    pub fn count_wave(&self, shard: &mut Shard, wave: &[Gradient]) {
        for gradient in wave {
            note(&mut shard.head.lateness, 0, false);
            mark(&mut shard.head, gradient);
            self.move_baseline(&mut shard.head, gradient);
            if !gradient.values.is_empty() {
                add(&mut shard.sum, &gradient.values, 1.0);
                shard.head.waiting += 1;
            }
        }
        self.update(shard);
        shard.head.version += 1; // also where nothing was learned: the next wave waits for it
    }

    fn move_baseline(&self, head: &mut ShardHead, gradient: &Gradient) {
        if let Some(used) = gradient.head.baseline {
            let decay = self.config.baseline_decay;
            let moved = moved_baseline(head.baseline, decay, used, &gradient.head.rewards);
            head.baseline = Some(moved);
        }
    }

    /// One step along the mean of the gradients that wait; whether there were any.
    fn update(&self, shard: &mut Shard) -> bool {
        let n = f64::from(shard.head.waiting);
        if n == 0.0 {
            return false;
        }
        shard.sum.iter_mut().for_each(|g| *g /= n);
        let rate = self.config.learning_rate;
        shard.adam.ascend(&mut shard.weights, &shard.sum, rate);
        shard.sum.fill(0.0);
        shard.head.waiting = 0;
        shard.head.steps = shard.adam.step;
        true
    }
}

fn mark(head: &mut ShardHead, gradient: &Gradient) {
    let GradientHead { replica, n, .. } = gradient.head;
    head.marks.insert(replica, n);
    head.order.push(replica);
}

fn add(sum: &mut [f64], values: &[f64], weight: f64) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

fn note(lateness: &mut Lateness, tau: u64, is_set_aside: bool) {
    lateness.gradients += 1;
    lateness.sum += tau;
    lateness.largest = lateness.largest.max(tau);
    lateness.set_aside += u64::from(is_set_aside);
}
