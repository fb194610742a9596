//! Why a sample is what it is: the controller's decisions for it, with the probabilities that they
//! were drawn by and those after its batch was learned from.

use serde::Serialize;
use serde_json::Value;

use super::SearchError;
use super::evolution::{self, Evolution};
use super::rules::{self, Strategy};
use crate::config::Config;
use crate::controller::Controller;
use crate::run::entry::Child;
use crate::run::history::History;
use crate::space::{Decision, Space, SpaceError, Token};

/// The decisions for a sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Its number.
    pub sample: u64,
    /// That of its batch.
    pub batch: u64,
    /// The logarithm of the probability with which it was drawn.
    pub log_probability: f64,
    /// The same after the batch's update, where there is one.
    pub log_probability_after: Option<f64>,
    /// What it earned; nothing where a machine was at fault.
    pub reward: Option<f64>,
    /// What the reward is measured by, where the controller has learned from the batch.
    pub baseline: Option<f64>,
    /// The reward less the baseline.
    pub advantage: Option<f64>,
    /// In the order of the tokens: an anchor is one decision a bit.
    pub decisions: Vec<Explained>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// Its place among the decisions, from 0, which is that of its token.
    pub step: usize,
    /// The layer that it is for, or block, from 1; nothing where it is for all, or for a cell.
    pub layer: Option<usize>,
    /// What is decided: `filter_height`, say, or `anchor`.
    pub kind: String,
    /// The earlier layer that an anchor reads or does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<usize>,
    /// What there is to choose from; of an anchor 0 and 1.
    pub choices: Vec<Value>,
    /// The index of what was chosen.
    pub chosen: usize,
    /// The probability of each choice.
    pub probabilities: Vec<f64>,
    /// The same after the batch's update, with the same decisions before it, where there is one.
    pub probabilities_after: Option<Vec<f64>>,
}

/// Explains a child of a run by learning again what is on record of the batches before it.
///
/// # Errors
/// A space that cannot be made, or tokens on record that are none of it.
pub fn explain(
    config: &Config,
    history: &History,
    child: &Child,
) -> Result<Explanation, SearchError> {
    let wrong = |source: SpaceError| SearchError::Space {
        sample: child.sample,
        source,
    };
    let space = Space::new(&config.space).map_err(wrong)?;
    let mut strategy = Strategy::new(config, &space);
    let tokens = &child.tokens;
    let mut baseline = None;
    for (batch, update) in history.updates.range(..=child.batch) {
        for sample in &update.samples {
            space
                .decode(&history.children[sample].tokens)
                .map_err(wrong)?;
        }
        let Strategy::Policy(controller) = &mut strategy else {
            break;
        };
        if *batch == child.batch {
            break;
        }
        learn(controller, history, &update.samples);
    }
    space.decode(tokens).map_err(wrong)?;
    let depth = space.decisions().depth_of_tokens(tokens);
    let before = distributions(&strategy, &space, tokens, depth);
    let mut after = None;
    if let (Strategy::Policy(controller), Some(update)) =
        (&mut strategy, history.updates.get(&child.batch))
    {
        baseline = learn(controller, history, &update.samples);
        after = Some(distributions(&strategy, &space, tokens, depth));
    }
    Ok(explained(
        &space,
        child,
        &before,
        after.as_deref(),
        baseline,
    ))
}

/// The child that evolution made another of; none where it was drawn uniformly.
pub fn parent<'a>(config: &Config, history: &'a History, child: &Child) -> Option<&'a Child> {
    let of_batch = history
        .children
        .values()
        .find(|other| other.batch == child.batch)?;
    let past = evolution::past(&history.children, of_batch.sample);
    Evolution::of(config).parent(past, child.sample)
}

/// What is to be said of a child by the logarithms of the probabilities of each decision's choices, before and
/// after the controller learned from its batch, and the baseline that it used.
pub(crate) fn explained(
    space: &Space,
    child: &Child,
    before: &[Vec<f64>],
    after: Option<&[Vec<f64>]>,
    baseline: Option<f64>,
) -> Explanation {
    let tokens = &child.tokens;
    let depth = space.decisions().depth_of_tokens(tokens);
    let chosen = |distributions: &[Vec<f64>]| -> f64 {
        let pairs = distributions.iter().zip(tokens);
        pairs.map(|(log_p, token)| log_p[*token as usize]).sum()
    };
    Explanation {
        sample: child.sample,
        batch: child.batch,
        log_probability: chosen(before),
        log_probability_after: after.map(chosen),
        reward: child.reward,
        baseline,
        advantage: child.reward.zip(baseline).map(|(reward, b)| reward - b),
        decisions: decisions(space, tokens, depth, before, after),
    }
}

/// Learns from a batch on record; the baseline that it used.
fn learn(controller: &mut Controller, history: &History, samples: &[u64]) -> Option<f64> {
    let (_, scored) = rules::counted(samples.iter().copied(), &history.children);
    controller.learn(&scored)
}

/// The logarithms of the probabilities that each token was drawn by.
fn distributions(
    strategy: &Strategy,
    space: &Space,
    tokens: &[Token],
    depth: usize,
) -> Vec<Vec<f64>> {
    match strategy {
        Strategy::Policy(controller) => controller.policy().distributions(tokens),
        Strategy::Random { .. } | Strategy::Evolution(_) => {
            let questions = questions(space, tokens, depth);
            let uniform = |n: usize| vec![-(n as f64).ln(); n];
            questions
                .into_iter()
                .map(|question| uniform(question.n_choices(space)))
                .collect()
        }
    }
}

/// What a token answers.
struct Question {
    layer: usize,
    /// The kind of choice; nothing of an anchor.
    kind: Option<usize>,
    reads: Option<usize>,
}

impl Question {
    fn n_choices(&self, space: &Space) -> usize {
        self.kind
            .map_or(2, |kind| space.decisions().kinds[kind].n_choices)
    }
}

/// What each of the tokens answers.
fn questions(space: &Space, tokens: &[Token], depth: usize) -> Vec<Question> {
    let mut walk = space.decisions().walk(depth);
    let mut questions: Vec<Question> = Vec::new();
    let mut layer = 1;
    while let Some(decision) = walk.decision() {
        let answered = questions.len();
        match decision {
            Decision::Choice { kind } => questions.push(Question {
                layer,
                kind: Some(kind),
                reads: None,
            }),
            Decision::Anchor { n_candidates } => {
                questions.extend((1..=n_candidates).map(|earlier| Question {
                    layer,
                    kind: None,
                    reads: Some(earlier),
                }));
                layer += 1;
            }
        }
        walk.take(&tokens[answered..questions.len()]);
    }
    questions
}

fn decisions(
    space: &Space,
    tokens: &[Token],
    depth: usize,
    before: &[Vec<f64>],
    after: Option<&[Vec<f64>]>,
) -> Vec<Explained> {
    let exp = |log_p: &Vec<f64>| log_p.iter().map(|log_p| log_p.exp()).collect::<Vec<f64>>();
    let questions = questions(space, tokens, depth).into_iter().enumerate();
    let explained = questions.map(|(step, question)| {
        let kind = question.kind.map(|kind| space.decisions().kinds[kind].name);
        let is_of_all = !matches!(space, Space::Conv(_)) || kind == Some("learning_rate");
        Explained {
            step,
            layer: (!is_of_all).then_some(question.layer),
            kind: kind.unwrap_or("anchor").to_owned(),
            reads: question.reads,
            choices: match question.kind {
                Some(kind) => space.choices(kind),
                None => vec![0.into(), 1.into()],
            },
            chosen: tokens[step] as usize,
            probabilities: exp(&before[step]),
            probabilities_after: after.map(|after| exp(&after[step])),
        }
    });
    explained.collect()
}
