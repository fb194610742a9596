//! The policy: an LSTM that walks the decisions of a space, and the gradient of what it did.

use std::ops::Range;

use super::attention;
use super::lstm::{self, LstmStep};
use super::products::{add, add_product, add_product_bwd_data, add_product_bwd_weights};
use super::weights::Layout;
use crate::space::{Decision, Space, Token};

/// A distribution over the architectures of a space.
///
/// Two LSTM layers run through the whole architecture, a step a decision. A choice's step ends in
/// a softmax over the choices of its kind, and what was chosen is embedded as the next step's
/// input. The last step of a layer is its anchor, which compares its output with those of earlier
/// anchors; the mean of the chosen ones is the next layer's first input.
#[derive(Clone, Debug)]
pub struct Policy {
    /// All weights, f64; [`Policy::tensors`] says where which lie.
    pub weights: Vec<f64>,
    pub(super) layout: Layout,
    pub(super) hidden: usize,
    space: Space,
}

/// What of a sequence of tokens is to be increased, each a sum over its decisions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Weight of the log-probability: reward less baseline.
    pub log_probability: f64,
    /// Weight of the entropies of the distributions that the tokens were drawn from.
    pub entropy: f64,
}

/// A walk through the decisions of one architecture, with all that its gradient needs.
pub(super) struct Trace {
    tokens: Vec<Token>,
    steps: Vec<Step>,
    log_probability: f64,
    entropy: f64,
}

struct Step {
    input: Input,
    layers: [LstmStep; 2],
    taken: Taken,
}

/// Where a step's input comes from.
enum Input {
    First,
    Embedding {
        kind: usize,
        token: Token,
    },
    /// The mean of these steps' outputs.
    Mean(Vec<usize>),
}

enum Taken {
    Choice {
        kind: usize,
        drawn: Drawn,
    },
    /// For each earlier anchor: its step, the attention's tanh, and the bit.
    Anchor(Vec<(usize, Vec<f64>, Drawn)>),
}

/// A token and the distribution that it was drawn from.
struct Drawn {
    token: Token,
    log_p: Vec<f64>,
}

impl Policy {
    /// A policy with initial weights uniform in ±`range`.
    pub(super) fn new(space: Space, hidden: usize, range: f64, seed: u64) -> Self {
        let layout = Layout::new(hidden, &space.decisions().kinds);
        Policy {
            weights: layout.initial(seed, range),
            layout,
            hidden,
            space,
        }
    }

    /// The space whose decisions it makes.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Names of the tensors and their places in the weights and in a gradient.
    pub fn tensors(&self) -> &[(String, Range<usize>)] {
        &self.layout.tensors
    }

    /// Tokens of an architecture of this depth. `draw` gets the log-probabilities of the choices
    /// (of 0 and 1, for an anchor's bit) and returns the index of one.
    pub(super) fn sample(&self, depth: usize, draw: impl FnMut(&[f64]) -> Token) -> Vec<Token> {
        self.trace(depth, draw).tokens
    }

    /// The logarithm of the probability of these tokens, and the sum of the entropies of the
    /// distributions that they were drawn from.
    ///
    /// # Panics
    /// If they are not the tokens of an architecture of the space; [`Space::decode`] tells.
    pub fn evaluate(&self, tokens: &[Token]) -> (f64, f64) {
        let trace = self.replay(tokens);
        (trace.log_probability, trace.entropy)
    }

    /// The logarithms of the probabilities that each token was drawn by: of a choice's choices, of 0
    /// and 1 for an anchor's bit.
    ///
    /// # Panics
    /// As [`Policy::evaluate`].
    pub fn distributions(&self, tokens: &[Token]) -> Vec<Vec<f64>> {
        let mut distributions = Vec::new();
        for step in self.replay(tokens).steps {
            match step.taken {
                Taken::Choice { drawn, .. } => distributions.push(drawn.log_p),
                Taken::Anchor(bits) => {
                    distributions.extend(bits.into_iter().map(|(_, _, drawn)| drawn.log_p));
                }
            }
        }
        distributions
    }

    /// Adds the gradient of an objective at these tokens to `gradient`, laid out as the weights.
    ///
    /// # Panics
    /// As [`Policy::evaluate`].
    pub fn add_gradient(&self, tokens: &[Token], objective: Objective, gradient: &mut [f64]) {
        self.trace_bwd(&self.replay(tokens), objective, gradient);
    }

    pub(super) fn replay(&self, tokens: &[Token]) -> Trace {
        let depth = self.space.decisions().depth_of_tokens(tokens);
        let mut rest = tokens.iter();
        let trace = self.trace(depth, |_| {
            *rest.next().expect("tokens end with their last decision")
        });
        assert!(rest.next().is_none(), "tokens end with their last layer");
        trace
    }

    fn trace(&self, depth: usize, mut draw: impl FnMut(&[f64]) -> Token) -> Trace {
        let mut trace = Trace {
            tokens: vec![],
            steps: vec![],
            log_probability: 0.0,
            entropy: 0.0,
        };
        let mut walk = self.space.decisions().walk(depth);
        let mut input = Input::First;
        let mut anchors: Vec<(usize, Vec<f64>)> = Vec::new(); // step, and its part as the earlier
        while let Some(decision) = walk.decision() {
            let layers = self.step(&trace.steps, &input);
            let h = &layers[1].h;
            let n_tokens = trace.tokens.len();
            let (taken, next_input) = match decision {
                Decision::Choice { kind } => {
                    // paper P4.2
                    let drawn = trace.draw(&self.logits(kind, h), &mut draw);
                    // paper P4.3
                    let next_input = Input::Embedding {
                        kind,
                        token: drawn.token,
                    };
                    (Taken::Choice { kind, drawn }, next_input)
                }
                // paper P2.1
                Decision::Anchor { n_candidates } => {
                    let weights = &self.weights[self.layout.attention.clone()];
                    let current = attention::as_current(weights, h);
                    let mut bits = Vec::new();
                    for (step, previous) in &anchors[..n_candidates] {
                        let (logit, u) = attention::score(weights, previous, &current);
                        // paper P2.3
                        bits.push((*step, u, trace.draw(&[0.0, logit], &mut draw)));
                    }
                    anchors.push((trace.steps.len(), attention::as_previous(weights, h)));
                    let chosen = bits.iter().filter(|(_, _, drawn)| drawn.token == 1);
                    let chosen: Vec<usize> = chosen.map(|(step, _, _)| *step).collect();
                    let none = chosen.is_empty();
                    let next_input = if none {
                        Input::First
                    } else {
                        Input::Mean(chosen)
                    };
                    (Taken::Anchor(bits), next_input)
                }
            };
            walk.take(&trace.tokens[n_tokens..]);
            trace.steps.push(Step {
                input,
                layers,
                taken,
            });
            input = next_input;
        }
        trace
    }

    /// Runs both LSTM layers on an input, from the state that the last step left.
    // paper P4.1
    fn step(&self, steps: &[Step], input: &Input) -> [LstmStep; 2] {
        let x = match input {
            Input::First => self.weights[self.layout.first.clone()].to_vec(),
            Input::Embedding { kind, token } => {
                self.weights[self.embedding(*kind, *token)].to_vec()
            }
            Input::Mean(chosen) => {
                let mut mean = vec![0.0; self.hidden];
                chosen
                    .iter()
                    .for_each(|&step| add(&mut mean, &steps[step].layers[1].h));
                mean.iter_mut().for_each(|x| *x /= chosen.len() as f64);
                mean
            }
        };
        let zero = vec![0.0; self.hidden];
        let state = |layer: usize| match steps.last() {
            Some(step) => (
                step.layers[layer].h.as_slice(),
                step.layers[layer].c.as_slice(),
            ),
            None => (zero.as_slice(), zero.as_slice()),
        };
        let run = |layer: usize, x: Vec<f64>| {
            let weights = &self.weights[self.layout.lstm[layer].clone()];
            lstm::step(weights, x, state(layer).0, state(layer).1)
        };
        let lower = run(0, x);
        let upper = run(1, lower.h.clone());
        [lower, upper]
    }

    fn embedding(&self, kind: usize, token: Token) -> Range<usize> {
        let start = self.layout.kinds[kind].embedding.start + token as usize * self.hidden;
        start..start + self.hidden
    }

    fn logits(&self, kind: usize, h: &[f64]) -> Vec<f64> {
        let kind = &self.layout.kinds[kind];
        let mut logits = self.weights[kind.bias.clone()].to_vec();
        add_product(&mut logits, h, &self.weights[kind.head.clone()]);
        logits
    }

    /// Back through a trace, last step first: whatever a step's output feeds lies after it.
    pub(super) fn trace_bwd(&self, trace: &Trace, objective: Objective, gradient: &mut [f64]) {
        let n = self.hidden;
        let mut doutputs = vec![vec![0.0; n]; trace.steps.len()]; // of the upper layer, by step
        let mut dh = [vec![0.0; n], vec![0.0; n]];
        let mut dc = [vec![0.0; n], vec![0.0; n]];
        for (t, step) in trace.steps.iter().enumerate().rev() {
            self.taken_bwd(trace, t, objective, gradient, &mut doutputs);
            add(&mut dh[1], &doutputs[t]);
            let mut run_bwd = |layer: usize, dh: &mut [f64]| {
                let range = self.layout.lstm[layer].clone();
                let (weights, dweights) = (&self.weights[range.clone()], &mut gradient[range]);
                lstm::step_bwd(weights, &step.layers[layer], dh, &mut dc[layer], dweights)
            };
            let dlower = run_bwd(1, &mut dh[1]);
            add(&mut dh[0], &dlower);
            let dx = run_bwd(0, &mut dh[0]);
            match &step.input {
                Input::First => add(&mut gradient[self.layout.first.clone()], &dx),
                Input::Embedding { kind, token } => {
                    add(&mut gradient[self.embedding(*kind, *token)], &dx);
                }
                Input::Mean(chosen) => {
                    let share: Vec<f64> = dx.iter().map(|dx| dx / chosen.len() as f64).collect();
                    chosen
                        .iter()
                        .for_each(|&step| add(&mut doutputs[step], &share));
                }
            }
        }
    }

    /// The gradient of step `t`'s own decision, to weights and to outputs of this and earlier steps.
    fn taken_bwd(
        &self,
        trace: &Trace,
        t: usize,
        objective: Objective,
        gradient: &mut [f64],
        doutputs: &mut [Vec<f64>],
    ) {
        let output = |step: usize| trace.steps[step].layers[1].h.as_slice();
        match &trace.steps[t].taken {
            Taken::Choice { kind, drawn } => {
                let kind = &self.layout.kinds[*kind];
                let dlogits = drawn.dlogits(objective);
                add(&mut gradient[kind.bias.clone()], &dlogits);
                add_product_bwd_weights(&mut gradient[kind.head.clone()], output(t), &dlogits);
                let head = &self.weights[kind.head.clone()];
                add_product_bwd_data(&mut doutputs[t], &dlogits, head);
            }
            Taken::Anchor(bits) => {
                let weights = &self.weights[self.layout.attention.clone()];
                let dweights = &mut gradient[self.layout.attention.clone()];
                let mut dcurrent = vec![0.0; self.hidden];
                for (step, u, drawn) in bits {
                    let dlogit = drawn.dlogits(objective)[1];
                    let (h, dh) = (output(*step), &mut doutputs[*step]);
                    attention::score_bwd(weights, u, h, dlogit, dweights, dh, &mut dcurrent);
                }
                let dh = &mut doutputs[t];
                attention::as_current_bwd(weights, output(t), &dcurrent, dweights, dh);
            }
        }
    }
}

impl Trace {
    /// Has a token drawn from the softmax of `logits`.
    fn draw(&mut self, logits: &[f64], draw: &mut impl FnMut(&[f64]) -> Token) -> Drawn {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        let log_p: Vec<f64> = logits
            .iter()
            .map(|logit| logit - largest - total.ln())
            .collect();
        let token = draw(&log_p);
        self.tokens.push(token);
        self.log_probability += log_p[token as usize];
        let drawn = Drawn { token, log_p };
        self.entropy += drawn.entropy();
        drawn
    }
}

impl Drawn {
    fn entropy(&self) -> f64 {
        -self
            .log_p
            .iter()
            .map(|log_p| log_p.exp() * log_p)
            .sum::<f64>()
    }

    /// The gradient of the objective to the logits of the softmax: with p the probabilities and H
    /// their entropy, that of the log-probability is 1 (where drawn) - p, and that of H is
    /// -p (log p + H).
    fn dlogits(&self, objective: Objective) -> Vec<f64> {
        let entropy = self.entropy();
        let dlogit = |(i, log_p): (usize, &f64)| {
            let p = log_p.exp();
            let drawn = if i == self.token as usize { 1.0 } else { 0.0 };
            objective.log_probability * (drawn - p) - objective.entropy * p * (log_p + entropy)
        };
        self.log_p.iter().enumerate().map(dlogit).collect()
    }
}
