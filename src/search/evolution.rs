//! Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture
//! Search", algorithm 1): the best of a few of the latest samples is changed in one decision.

use std::collections::btree_map;
use std::collections::{BTreeMap, HashMap};

use crate::config::Config;
use crate::rng::{Purpose, Rng};
use crate::run::entry::Child;
use crate::space::{Decision, Decisions, Space, Token};

/// The strategy; a function of what is on record.
#[derive(Clone, Copy, Debug)]
pub struct Evolution {
    /// Seed of its draws.
    pub seed: u64,
    /// The latest samples with a reward that may have children: Real et al.'s P. Until there are so many,
    /// samples are drawn uniformly.
    pub population: usize,
    /// How many of them are drawn, with replacement; the best has the child: Real et al.'s S.
    pub tournament: usize,
}

impl Evolution {
    /// That of a run's settings.
    pub fn of(config: &Config) -> Evolution {
        Evolution {
            seed: config.search.seed,
            population: config.search.population() as usize,
            tournament: config.search.tournament() as usize,
        }
    }

    /// The decisions for a sample, from the children of the batches before its own.
    pub fn propose(&self, space: &Space, past: Past, sample: u64) -> Vec<Token> {
        match self.parent(past, sample) {
            None => space.random(self.seed, sample),
            Some(parent) => {
                let mut rng = Rng::new(self.seed, Purpose::Mutation, sample);
                mutate(
                    space.decisions(),
                    &parent.tokens,
                    space.depth(sample),
                    &mut rng,
                )
            }
        }
    }

    /// The sample that another is made of; none where it is drawn uniformly.
    pub fn parent<'a>(&self, past: Past<'a>, sample: u64) -> Option<&'a Child> {
        let with_reward = past.map(|(_, child)| child).rev();
        let with_reward = with_reward.filter(|child| child.reward.is_some());
        let alive: Vec<&Child> = with_reward.take(self.population).collect();
        if alive.len() < self.population {
            return None;
        }
        let mut rng = Rng::new(self.seed, Purpose::Tournament, sample);
        let drawn = (0..self.tournament).map(|_| alive[rng.below(alive.len() as u32) as usize]);
        drawn.max_by(|a, b| {
            let reward = |child: &Child| child.reward.unwrap_or(0.0);
            let by_reward = reward(a).total_cmp(&reward(b));
            by_reward.then(b.sample.cmp(&a.sample))
        })
    }
}

/// The children before a batch.
pub type Past<'a> = btree_map::Range<'a, u64, Child>;

/// The children before a sample, which begins a batch.
pub fn past(children: &BTreeMap<u64, Child>, first: u64) -> Past<'_> {
    children.range(..first)
}

/// A place in an architecture, whatever was decided before it: layer, kind of choice or the earlier layer
/// that is read or not, and how many of that kind the layer had before.
type Place = (usize, Option<usize>, usize);

/// Tokens of `depth` layers with one decision of `tokens` made otherwise; these are an architecture's, as the
/// search and the audit compare those on record with their own before they draw from them. Where other decisions follow
/// from that, or there are more layers, what `tokens` do not answer is drawn uniformly.
fn mutate(decisions: &Decisions, tokens: &[Token], depth: usize, rng: &mut Rng) -> Vec<Token> {
    let mut answers: HashMap<Place, Token> = HashMap::new();
    let mut can_change = Vec::new();
    let mut rest = tokens.iter();
    let before = decisions.depth_of_tokens(tokens);
    each(decisions, before, |place, n_choices| {
        let token = *rest.next().expect("tokens end with their last decision");
        answers.insert(place, token);
        if n_choices > 1 && place.0 <= depth {
            can_change.push((place, token, n_choices));
        }
        token
    });
    if !can_change.is_empty() {
        let (place, token, n_choices) = can_change[rng.below(can_change.len() as u32) as usize];
        let other = rng.below(n_choices as u32 - 1);
        answers.insert(place, other + u32::from(other >= token));
    }
    let mut made = Vec::new();
    each(decisions, depth, |place, n_choices| {
        let kept = answers.get(&place);
        let token = kept.copied().unwrap_or_else(|| rng.below(n_choices as u32));
        made.push(token);
        token
    });
    made
}

/// Walks the decisions of an architecture; `answer` gives the token at a place among so many choices.
fn each(decisions: &Decisions, depth: usize, mut answer: impl FnMut(Place, usize) -> Token) {
    let mut walk = decisions.walk(depth);
    let (mut layer, mut seen) = (1, HashMap::new());
    while let Some(decision) = walk.decision() {
        match decision {
            Decision::Choice { kind } => {
                let nth: &mut usize = seen.entry(kind).or_default();
                let token = answer((layer, Some(kind), *nth), decisions.kinds[kind].n_choices);
                *nth += 1;
                walk.take(&[token]);
            }
            Decision::Anchor { n_candidates } => {
                let bits = (0..n_candidates).map(|earlier| answer((layer, None, earlier), 2));
                walk.take(&bits.collect::<Vec<_>>());
                layer += 1;
                seen.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{PRESETS, SpaceConfig};

    /// In every space a child can be decoded and is not its parent; where neither depth nor later
    /// decisions change, it differs in one token.
    #[test]
    fn a_child_differs_from_its_parent_in_one_decision() {
        for preset in PRESETS {
            let space = Space::new(&SpaceConfig::preset(preset).unwrap()).unwrap();
            let mut in_one = 0;
            for sample in 0..200 {
                let parent = space.random(7, sample);
                let depth = space.depth(sample);
                let mut rng = Rng::new(7, Purpose::Mutation, sample);
                let child = mutate(space.decisions(), &parent, depth, &mut rng);
                space.decode(&child).unwrap();
                assert_ne!(child, parent, "{preset}, sample {sample}");
                let differ = |(a, b): (&Token, &Token)| a != b;
                let differs = child
                    .iter()
                    .zip(&parent)
                    .filter(|&pair| differ(pair))
                    .count();
                in_one += usize::from(child.len() == parent.len() && differs == 1);
                let deeper = mutate(space.decisions(), &parent, depth + 1, &mut rng);
                assert!(deeper.len() >= child.len().min(parent.len()) || preset == "v3");
            }
            assert!(in_one >= 150, "{preset}: {in_one} of 200");
        }
    }
}
