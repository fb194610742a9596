//! Where each of the policy's tensors lies in one flat list, and their initial values.

use std::ops::Range;

use crate::rng::{Purpose, Rng};
use crate::space::DecisionKind;

/// Positions of the tensors. Matrices are `[inputs][outputs]`.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Every tensor in order: name and position.
    pub tensors: Vec<(String, Range<usize>)>,
    /// For each of the two LSTM layers: input `[H][4H]`, hidden `[H][4H]`, bias `[4H]`.
    pub lstm: [Range<usize>; 2],
    /// The first input of an architecture, and of a layer whose predecessor chose no anchor: `[H]`.
    pub first: Range<usize>,
    /// W_prev `[H][H]`, W_curr `[H][H]`, v `[H]`.
    pub attention: Range<usize>,
    pub kinds: Vec<KindLayout>,
}

/// The tensors of a kind of choice.
#[derive(Clone, Debug)]
pub(super) struct KindLayout {
    /// The input after each choice: `[n][H]`.
    pub embedding: Range<usize>,
    /// From the output to the choices' logits: `[H][n]`.
    pub head: Range<usize>,
    /// `[n]`.
    pub bias: Range<usize>,
}

impl Layout {
    pub fn new(hidden: usize, kinds: &[DecisionKind]) -> Self {
        let h = hidden;
        let mut tensors: Vec<(String, Range<usize>)> = Vec::new();
        let mut place = |name: String, len: usize| {
            let start = tensors.last().map_or(0, |(_, range)| range.end);
            tensors.push((name, start..start + len));
            start..start + len
        };
        let lstm = [1, 2].map(|layer| {
            let input = place(format!("lstm.{layer}.input"), h * 4 * h);
            place(format!("lstm.{layer}.hidden"), h * 4 * h);
            let bias = place(format!("lstm.{layer}.bias"), 4 * h);
            input.start..bias.end
        });
        let first = place("first_input".to_owned(), h);
        let previous = place("anchor.previous".to_owned(), h * h);
        place("anchor.current".to_owned(), h * h);
        let v = place("anchor.v".to_owned(), h);
        let kind = |kind: &DecisionKind| KindLayout {
            embedding: place(format!("{}.embedding", kind.name), kind.n_choices * h),
            head: place(format!("{}.head", kind.name), h * kind.n_choices),
            bias: place(format!("{}.bias", kind.name), kind.n_choices),
        };
        let kinds = kinds.iter().map(kind).collect();
        Layout {
            tensors,
            lstm,
            first,
            attention: previous.start..v.end,
            kinds,
        }
    }

    /// Initial weights, uniform in ±`range`, a function of the seed and the tensor's position.
    // paper P4.4
    pub fn initial(&self, seed: u64, range: f64) -> Vec<f64> {
        let mut weights = Vec::new();
        for (i, (_, tensor)) in self.tensors.iter().enumerate() {
            let mut rng = Rng::new(seed, Purpose::ControllerInit, i as u64);
            weights.extend(tensor.clone().map(|_| rng.uniform_in(-range, range)));
        }
        weights
    }
}
