//! What was chosen, by the recorded tokens alone: how even the choices of the last samples were, and the
//! shares of each choice over time.

use rayon::prelude::*;

use super::chart::{MOST_POINTS, evenly};
use super::record::Row;
use super::series::WINDOW;
use crate::space::{Decision, Decisions, Space, Token};

/// Fewer samples than these say nothing of how even their choices are.
const FEWEST: usize = 20;

/// Parts of a run at most whose shares are told apart.
const MOST_PARTS: usize = 120;

/// A decision that was made; small, because a long run has some millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its layer, from 0.
    pub layer: u16,
    /// Its kind of choice, an index into the kinds, or one more: an anchor's bit.
    pub kind: u16,
    /// How many of that kind the layer had before; of an anchor's bits the earlier layer, from 0.
    pub nth: u16,
    /// What was chosen.
    pub token: Token,
}

/// The decisions that tokens answer; none where they do not answer them.
pub fn decisions(decisions: &Decisions, tokens: &[Token]) -> Option<Vec<Made>> {
    let anchor = u16::try_from(decisions.kinds.len()).ok()?;
    let mut walk = decisions.walk(usize::MAX);
    let (mut layer, mut before) = (0u16, vec![0u16; decisions.kinds.len()]);
    let (mut made, mut rest) = (Vec::with_capacity(tokens.len()), tokens);
    while let Some(decision) = walk.decision() {
        // A walk without a depth goes on for ever: the tokens say where the last layer ends.
        if rest.is_empty() && matches!(decision, Decision::Choice { .. }) {
            let is_begun = before.iter().any(|&n| n > 0);
            return (layer > 0 && !is_begun).then_some(made);
        }
        let (taken, left) = rest.split_at_checked(decision.n_tokens())?;
        match decision {
            Decision::Choice { kind } => {
                let &[token] = taken else { return None };
                if token as usize >= decisions.kinds[kind].n_choices {
                    return None;
                }
                let kind = u16::try_from(kind).ok()?;
                made.push(Made {
                    layer,
                    kind,
                    nth: before[kind as usize],
                    token,
                });
                let before = &mut before[kind as usize];
                *before = before.checked_add(1)?;
            }
            Decision::Anchor { .. } => {
                if taken.iter().any(|&bit| bit > 1) {
                    return None;
                }
                let bits = (0..).zip(taken);
                made.extend(bits.map(|(nth, &token)| Made {
                    layer,
                    kind: anchor,
                    nth,
                    token,
                }));
                before.fill(0);
                layer = layer.checked_add(1)?;
            }
        }
        walk.take(taken);
        rest = left;
        // Layers without a choice of their own decide by their anchors alone.
        if rest.is_empty() && layer > 0 && before.iter().all(|&n| n == 0) {
            return Some(made);
        }
    }
    rest.is_empty().then_some(made)
}

/// Counts of what was chosen at every place of decision.
struct Counts<'a> {
    decisions: &'a Decisions,
    /// Places of a kind in a layer that there is room for.
    nths: usize,
    /// Choices that there is room for.
    choices: usize,
    counts: Vec<u32>,
}

impl<'a> Counts<'a> {
    fn new(decisions: &'a Decisions, made: &[Option<Vec<Made>>]) -> Counts<'a> {
        let all = || made.iter().flatten().flatten();
        let nths = 1 + all().map(|made| usize::from(made.nth)).max().unwrap_or(0);
        let layers = 1 + all().map(|made| usize::from(made.layer)).max().unwrap_or(0);
        let choices = decisions.kinds.iter().map(|kind| kind.n_choices);
        let choices = choices.max().unwrap_or(2).max(2);
        let places = layers * (decisions.kinds.len() + 1) * nths;
        Counts {
            decisions,
            nths,
            choices,
            counts: vec![0; places * choices],
        }
    }

    fn add(&mut self, made: &Made) {
        let kinds = self.decisions.kinds.len() + 1;
        let [layer, kind, nth] = [made.layer, made.kind, made.nth].map(usize::from);
        let place = (layer * kinds + kind) * self.nths + nth;
        self.counts[place * self.choices + made.token as usize] += 1;
    }

    /// The entropy of each place over the logarithm of its choices; the mean over the decisions made.
    fn entropy(&self) -> Option<f64> {
        let kinds = self.decisions.kinds.len() + 1;
        let (mut sum, mut n_made) = (0.0, 0.0);
        for (place, counts) in self.counts.chunks_exact(self.choices).enumerate() {
            let kind = self.decisions.kinds.get(place / self.nths % kinds);
            let n_choices = kind.map_or(2, |kind| kind.n_choices);
            let n = f64::from(counts.iter().sum::<u32>());
            if n == 0.0 || n_choices < 2 {
                continue;
            }
            let terms = counts.iter().filter(|&&count| count > 0);
            let entropy: f64 = terms
                .map(|&count| f64::from(count) / n)
                .map(|p| -p * p.ln())
                .sum();
            sum += n * entropy / (n_choices as f64).ln();
            n_made += n;
        }
        (n_made > 0.0).then(|| sum / n_made)
    }
}

/// The decisions of every row, made once for all that looks at them.
pub fn made(space: &Space, rows: &[Row]) -> Vec<Option<Vec<Made>>> {
    rows.par_iter()
        .map(|row| decisions(space.decisions(), &row.tokens))
        .collect()
}

/// The normalised entropy of the choices of some samples: each decision's entropy over ln(number of choices), the
/// mean weighted by how often it was made; from 0, always the same, to 1, uniform. Nothing below twenty samples
/// that can be read.
pub fn entropy_of(decisions: &Decisions, made: &[Option<Vec<Made>>]) -> Option<f64> {
    if made.iter().flatten().count() < FEWEST {
        return None;
    }
    let mut counts = Counts::new(decisions, made);
    made.iter()
        .flatten()
        .flatten()
        .for_each(|made| counts.add(made));
    counts.entropy()
}

/// [`entropy_of`] the last hundred samples, of fewer where there are fewer, as (index of the row, entropy), at
/// most [`MOST_POINTS`].
pub fn entropy(space: &Space, made: &[Option<Vec<Made>>]) -> Vec<(usize, f64)> {
    let at = |i: usize| {
        let window = &made[(i + 1).saturating_sub(WINDOW)..=i];
        Some((i, entropy_of(space.decisions(), window)?))
    };
    let places = evenly(made.len(), MOST_POINTS);
    places.into_par_iter().filter_map(at).collect()
}

/// The shares of the choices of a kind over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The kind of choice.
    pub kind: String,
    /// What the choices stand for, in the order of their tokens.
    pub choices: Vec<String>,
    /// The middle of each part of the run, as an index of its rows, and the share of each choice there.
    pub parts: Vec<(f64, Vec<f64>)>,
}

/// The shares of each kind's choices in equal parts of a run, all layers together.
pub fn distributions(space: &Space, made: &[Option<Vec<Made>>]) -> Vec<Distribution> {
    let kinds = &space.decisions().kinds;
    // Parts of a few samples would show chance.
    let parts = (made.len() / 40).clamp(1, MOST_PARTS);
    let sizes = |kind: usize| kinds.get(kind).map_or(2, |kind| kind.n_choices);
    let count = |part: usize| {
        let [from, to] = [part, part + 1].map(|part| made.len() * part / parts);
        let mut counts: Vec<Vec<u64>> =
            (0..=kinds.len()).map(|kind| vec![0; sizes(kind)]).collect();
        for made in made[from..to].iter().flatten().flatten() {
            counts[usize::from(made.kind)][made.token as usize] += 1;
        }
        ((from + to) as f64 / 2.0, counts)
    };
    let counted: Vec<(f64, Vec<Vec<u64>>)> = (0..parts).into_par_iter().map(count).collect();
    let of_kind = |kind: usize| {
        let parts = counted.iter().filter_map(|(middle, counts)| {
            let n = counts[kind].iter().sum::<u64>();
            let share = |&count: &u64| count as f64 / n as f64;
            (n > 0).then(|| (*middle, counts[kind].iter().map(share).collect()))
        });
        let choices = match kind < kinds.len() {
            true => space.choices(kind).iter().map(word).collect(),
            false => vec!["not read".to_owned(), "read".to_owned()],
        };
        Distribution {
            kind: kinds
                .get(kind)
                .map_or("earlier layers", |kind| kind.name)
                .replace('_', " "),
            choices,
            parts: parts.collect(),
        }
    };
    let all = (0..=kinds.len()).map(of_kind);
    // A choice among one is none.
    all.filter(|of| of.choices.len() > 1 && !of.parts.is_empty())
        .collect()
}

/// A choice without the quotes of a name.
fn word(choice: &serde_json::Value) -> String {
    choice
        .as_str()
        .map_or_else(|| choice.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::rng::{Purpose, Rng};

    fn space(preset: &str) -> Space {
        Space::new(&Config::preset(preset).unwrap().space).unwrap()
    }

    /// Every preset's draws: as many decisions as tokens, each place within its kind and layer.
    #[test]
    fn every_token_answers_a_decision() {
        for preset in ["sample", "v1", "v2", "v3", "ptb", "nas-bench-201"] {
            let space = space(preset);
            for sample in [0, 1, 2, 5_000] {
                let tokens = space.random(7, sample);
                let made = decisions(space.decisions(), &tokens).unwrap();
                let answered: Vec<Token> = made.iter().map(|made| made.token).collect();
                assert_eq!(answered, tokens, "{preset}");
                let mut places: Vec<_> = made.iter().map(|m| (m.layer, m.kind, m.nth)).collect();
                places.sort_unstable();
                places.dedup();
                assert_eq!(places.len(), tokens.len(), "{preset}: no place twice");
                let layers = made.iter().map(|made| usize::from(made.layer) + 1).max();
                assert_eq!(layers, Some(space.depth(sample)), "{preset}");
                // Cut short, too long, or out of range: no decisions, and no panic.
                let mut longer = tokens.clone();
                longer.push(9999);
                assert_eq!(decisions(space.decisions(), &longer), None, "{preset}");
                for end in 0..tokens.len() {
                    let _ = decisions(space.decisions(), &tokens[..end]);
                }
                assert_eq!(decisions(space.decisions(), &tokens[..1]), None, "{preset}");
            }
            assert_eq!(decisions(space.decisions(), &[]), None, "{preset}");
        }
    }

    /// The formula, place by place, on cells of which every place is decided by every sample.
    #[test]
    fn the_entropy_is_that_of_the_formula() {
        let space = space("nas-bench-201");
        let mut draw = Rng::new(3, Purpose::Test, 0);
        let tokens: Vec<Vec<Token>> = (0..250)
            .map(|i| {
                (0..6)
                    .map(|_| draw.below(if i < 100 { 5 } else { 2 }))
                    .collect()
            })
            .collect();
        let made: Vec<_> = tokens
            .iter()
            .map(|t| decisions(space.decisions(), t))
            .collect();
        let found = entropy(&space, &made);
        assert_eq!(found.len(), 250 - FEWEST + 1);
        for &(i, entropy) in &found {
            let window = &tokens[(i + 1).saturating_sub(100)..=i];
            let mean: f64 = (0..6)
                .map(|edge| {
                    (0..5)
                        .map(|choice| window.iter().filter(|t| t[edge] == choice).count())
                        .map(|n| n as f64 / window.len() as f64)
                        .filter(|p| *p > 0.0)
                        .map(|p| -p * p.ln() / 5f64.ln())
                        .sum::<f64>()
                })
                .sum::<f64>()
                / 6.0;
            assert!((entropy - mean).abs() < 1e-12, "{i}: {entropy}, {mean}");
        }
        let at = |i: usize| found.iter().find(|(at, _)| *at == i).unwrap().1;
        assert!(at(99) > 0.95, "{}", at(99)); // of a hundred even draws among five
        assert!(
            (at(249) - 2f64.ln() / 5f64.ln()).abs() < 0.02,
            "{}",
            at(249)
        );
    }

    #[test]
    fn always_the_same_has_no_entropy_and_one_choice_the_whole_share() {
        for preset in ["sample", "ptb"] {
            let space = space(preset);
            let tokens = space.random(1, 0);
            let made = vec![decisions(space.decisions(), &tokens); 30];
            assert!(
                entropy(&space, &made)
                    .iter()
                    .all(|(_, entropy)| *entropy == 0.0)
            );
            for of in distributions(&space, &made) {
                for (_, shares) in of.parts {
                    assert!(
                        (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12,
                        "{}",
                        of.kind
                    );
                }
            }
        }
        assert!(entropy(&space("sample"), &[None, None]).is_empty());
        assert!(distributions(&space("sample"), &[None]).is_empty());
    }
}
