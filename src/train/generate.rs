//! Text from a trained language model: a word after the other, each drawn given those before.
//!
//! A word depends on the one drawn before it, and nothing is read back from a device within a run:
//! so this is a plain loop in f64 on the host, the program's meaning itself.

use crate::graph::language::{LanguageModel, LanguageSettings, LayerSpans, Spans};
use crate::graph::recurrent::Unit;
use crate::rng::{Purpose, Rng};

/// A language model that reads a text word by word.
pub struct Reader<'a> {
    model: &'a LanguageModel,
    spans: Spans,
    /// Trained parameters, laid out by [`LanguageModel::params`].
    weights: &'a [f32],
    /// `h` and `c` of each layer, `[h]`; zeros before the first word.
    states: Vec<[Vec<f64>; 2]>,
}

impl<'a> Reader<'a> {
    /// One that has read nothing yet.
    pub fn new(model: &'a LanguageModel, weights: &'a [f32]) -> Reader<'a> {
        let LanguageSettings { layers, hidden, .. } = model.settings;
        Reader {
            model,
            spans: model.params().1,
            weights,
            states: vec![[vec![0.0; hidden], vec![0.0; hidden]]; layers],
        }
    }

    /// Reads a word; the logits of the one that follows, `[v]`.
    pub fn read(&mut self, word: u32) -> Vec<f64> {
        let hidden = self.model.settings.hidden;
        let embedding = &self.weights[self.spans.embedding.range()];
        let mut x = wide(&embedding[word as usize * hidden..][..hidden]);
        for (layer, spans) in self.spans.layers.iter().enumerate() {
            self.states[layer] = self.step(spans, &x, &self.states[layer]);
            x.clone_from(&self.states[layer][0]);
        }
        let bias = wide(&self.weights[self.spans.decoder_bias.range()]);
        let logits = products(&self.weights[self.spans.decoder.range()], &x);
        logits
            .iter()
            .zip(bias)
            .map(|(sum, bias)| sum + bias)
            .collect()
    }

    /// `h_t` and `c_t` of a layer.
    fn step(&self, spans: &LayerSpans, x: &[f64], [h, c]: &[Vec<f64>; 2]) -> [Vec<f64>; 2] {
        let program = &self.model.program;
        let mut input = products(&self.weights[spans.input.range()], x);
        if let Some(bias) = spans.bias {
            let bias = &self.weights[bias.range()];
            input
                .iter_mut()
                .zip(bias)
                .for_each(|(sum, &b)| *sum += f64::from(b));
        }
        let hidden = products(&self.weights[spans.hidden.range()], h);
        let n_units = h.len();
        let unit = |j: usize| {
            let leaves = |of: &[f64]| {
                of.iter()
                    .skip(j)
                    .step_by(n_units)
                    .copied()
                    .collect::<Vec<_>>()
            };
            let (input, hidden) = (leaves(&input), leaves(&hidden));
            let (zs, values) = Unit {
                input: &input,
                hidden: &hidden,
                state: c[j],
            }
            .run(program);
            (values[program.output], zs[program.state])
        };
        let (h, c) = (0..n_units).map(unit).unzip();
        [h, c]
    }
}

/// The word at a position of a text, drawn with probabilities softmax(logits / temperature); at
/// temperature 0 the most probable one, the lowest of equals.
pub fn draw(logits: &[f64], temperature: f64, seed: u64, position: u64) -> u32 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let most_probable = || {
        logits
            .iter()
            .position(|&logit| logit == largest)
            .unwrap_or(0)
    };
    if temperature == 0.0 {
        return most_probable() as u32;
    }
    let weight = |logit: &f64| ((logit - largest) / temperature).exp();
    let mut left =
        Rng::new(seed, Purpose::Text, position).uniform() * logits.iter().map(weight).sum::<f64>();
    let drawn = logits.iter().map(weight).position(|weight| {
        left -= weight;
        left < 0.0
    });
    drawn.unwrap_or_else(most_probable) as u32
}

/// Rows of a matrix times a vector.
fn products(matrix: &[f32], x: &[f64]) -> Vec<f64> {
    let dot = |row: &[f32]| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum();
    matrix.chunks_exact(x.len()).map(dot).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_drawn_as_often_as_they_are_probable() {
        let logits = [0.5f64.ln(), 0.0, 0.25f64.ln(), f64::NEG_INFINITY];
        let mut counts = [0u32; 4];
        for position in 0..7000 {
            counts[draw(&logits, 1.0, 3, position) as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([2000u32, 4000, 1000, 0]) {
            assert!(count.abs_diff(expected) < 150, "{counts:?}");
        }
        assert_eq!(draw(&logits, 0.0, 3, 0), 1);
        let cold: Vec<u32> = (0..100).map(|i| draw(&logits, 0.01, 3, i)).collect();
        assert_eq!(cold, [1; 100]);
    }
}
