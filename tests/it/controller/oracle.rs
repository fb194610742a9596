//! The policy's probabilities against the paper's formulas, one scalar at a time.
//!
//! Finite differences show that a gradient belongs to a function; this shows that the function is
//! the paper's: what is fed back, where anchors stand, what they compare, what follows them.

use nas_engine::controller::Policy;
use nas_engine::space::{ConvSpaceConfig, Token};

use super::{lively, preset, space};

struct Formulas<'a> {
    policy: &'a Policy,
    hidden: usize,
    /// h and c of the two layers.
    state: [[Vec<f64>; 2]; 2],
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Formulas<'_> {
    fn tensor(&self, name: &str) -> &[f64] {
        let (_, range) = self
            .policy
            .tensors()
            .iter()
            .find(|(tensor, _)| tensor == name)
            .unwrap();
        &self.policy.weights[range.clone()]
    }

    /// Output `o` of `x` times the matrix `[inputs][outputs]`.
    fn product(&self, name: &str, x: &[f64], n_outputs: usize, o: usize) -> f64 {
        let w = self.tensor(name);
        (0..x.len()).map(|i| x[i] * w[i * n_outputs + o]).sum()
    }

    /// One step of both layers; the upper one's output.
    fn step(&mut self, input: &[f64]) -> Vec<f64> {
        let n = self.hidden;
        let mut x = input.to_vec();
        for layer in 0..2 {
            let [h, c] = self.state[layer].clone();
            let gate = |part: usize, k: usize| {
                let name = |what: &str| format!("lstm.{}.{what}", layer + 1);
                let unit = part * n + k;
                self.product(&name("input"), &x, 4 * n, unit)
                    + self.product(&name("hidden"), &h, 4 * n, unit)
                    + self.tensor(&name("bias"))[unit]
            };
            let cell =
                |k: usize| sigmoid(gate(1, k)) * c[k] + sigmoid(gate(0, k)) * gate(2, k).tanh();
            let c_after: Vec<f64> = (0..n).map(cell).collect();
            let h_after: Vec<f64> = (0..n)
                .map(|k| sigmoid(gate(3, k)) * c_after[k].tanh())
                .collect();
            x.clone_from(&h_after);
            self.state[layer] = [h_after, c_after];
        }
        x
    }

    /// ln P of a choice after `input`, and the embedding that is the next input.
    fn choice(&mut self, kind: &str, token: Token, input: &[f64]) -> (f64, Vec<f64>) {
        let h = self.step(input);
        let bias = self.tensor(&format!("{kind}.bias"));
        let n = bias.len();
        let logit = |o: usize| self.product(&format!("{kind}.head"), &h, n, o) + bias[o];
        let total: f64 = (0..n).map(|o| logit(o).exp()).sum();
        let embedding = self.tensor(&format!("{kind}.embedding"));
        let start = token as usize * self.hidden;
        let next = embedding[start..start + self.hidden].to_vec();
        (logit(token as usize) - total.ln(), next)
    }

    /// ln P of an anchor's bits after `input`, its output, and the next layer's first input.
    fn anchor(&mut self, bits: &[Token], input: &[f64], earlier: &[Vec<f64>]) -> [Vec<f64>; 3] {
        let n = self.hidden;
        let h_i = self.step(input);
        let mut log_p = 0.0;
        for (h_j, &bit) in earlier.iter().zip(bits) {
            let u = |k| {
                let previous = self.product("anchor.previous", h_j, n, k);
                (previous + self.product("anchor.current", &h_i, n, k)).tanh()
            };
            let p = sigmoid((0..n).map(|k| self.tensor("anchor.v")[k] * u(k)).sum());
            log_p += if bit == 1 { p.ln() } else { (1.0 - p).ln() };
        }
        let chosen: Vec<&Vec<f64>> = earlier
            .iter()
            .zip(bits)
            .filter(|(_, bit)| **bit == 1)
            .map(|(h, _)| h)
            .collect();
        let mean = |k| chosen.iter().map(|h| h[k]).sum::<f64>() / chosen.len() as f64;
        let next = match chosen.is_empty() {
            true => self.tensor("first_input").to_vec(),
            false => (0..n).map(mean).collect(),
        };
        [vec![log_p], h_i, next]
    }
}

/// Kinds that a layer chooses in the space with types, by its type's token.
fn own_kinds(type_token: Token) -> &'static [&'static str] {
    match type_token {
        0 => &[
            "filter_height",
            "filter_width",
            "stride_height",
            "stride_width",
            "filters",
        ],
        1 | 2 => &[
            "pool_height",
            "pool_width",
            "pool_stride_height",
            "pool_stride_width",
        ],
        _ => &[],
    }
}

// paper P2.1, P2.2, P2.3, P4.1, P4.2, P4.3
#[test]
fn log_probability_follows_the_papers_formulas() {
    let with_types = ConvSpaceConfig {
        predict_layer_type: true,
        predict_learning_rate: true,
        depth: 7,
        ..preset("v2")
    };
    let sample = preset("sample");
    for (config, seed) in [
        (&sample, 1),
        (&sample, 2),
        (&with_types, 3),
        (&with_types, 4),
    ] {
        let space = space(config);
        let controller = lively(&space, 6, seed);
        let tokens = controller.sample(seed);
        let zero = || [vec![0.0; 6], vec![0.0; 6]];
        let policy = controller.policy();
        let mut formulas = Formulas {
            policy,
            hidden: 6,
            state: [zero(), zero()],
        };
        let mut left = tokens.as_slice();
        let mut take = |n: usize| {
            let (taken, rest) = left.split_at(n);
            left = rest;
            taken
        };
        let mut total = 0.0;
        let mut input = formulas.tensor("first_input").to_vec();
        let mut choose = |formulas: &mut Formulas, kind: &str, token, input: &mut Vec<f64>| {
            let (log_p, next) = formulas.choice(kind, token, input);
            *input = next;
            total += log_p;
        };
        if config.predict_learning_rate {
            choose(&mut formulas, "learning_rate", take(1)[0], &mut input);
        }
        let mut anchors: Vec<Vec<f64>> = Vec::new();
        let mut anchor_total = 0.0;
        for layer in 1..=config.depth {
            let mut kinds = own_kinds(0).to_vec();
            if config.predict_layer_type {
                let type_token = take(1)[0];
                choose(&mut formulas, "layer_type", type_token, &mut input);
                kinds = own_kinds(type_token).to_vec();
            } else if layer == 1 {
                kinds = vec!["filter_height", "filter_width", "filters"];
            }
            for kind in kinds {
                choose(&mut formulas, kind, take(1)[0], &mut input);
            }
            let [log_p, h, next] = formulas.anchor(take(layer - 1), &input, &anchors);
            anchor_total += log_p[0];
            anchors.push(h);
            input = next;
        }
        total += anchor_total;
        assert!(left.is_empty());
        let found = controller.log_probability(&tokens);
        assert!(
            (found - total).abs() < 1e-11,
            "seed {seed}: {found}, by the formulas {total}"
        );
    }
}
