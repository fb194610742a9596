//! The softmax over the vocabulary: logits of a group of places at a time, of which the loss and
//! then, in their own memory, the gradient is made.

use super::loops::{self, Loop};
use super::math;
use super::product::{Left, Packed, Right, packed_len};
use super::simd::Isa;
use super::workers::each;
use crate::graph::recurrent::Decoder;

/// Places whose logits are in memory together.
const GROUP: usize = 256;

/// Floats that it needs while it runs: the logits of a group, the weights packed in both orders, and a
/// group of x.
pub fn scratch_len(decoder: &Decoder) -> usize {
    let (hidden, words) = (decoder.hidden, decoder.vocabulary);
    let group = GROUP.min(decoder.n);
    let weights = packed_len(words, hidden) + packed_len(hidden, words);
    group * words + weights + packed_len(hidden, group)
}

/// What the decoder reads and writes.
pub struct Buffers<'a> {
    /// `[n][h]`.
    pub x: &'a [f32],
    /// `[n]`.
    pub targets: &'a [f32],
    /// `[v][h]`.
    pub weight: &'a [f32],
    /// `[v]`.
    pub bias: &'a [f32],
    /// Room of [`scratch_len`].
    pub scratch: &'a mut [f32],
    /// Where gradients are wanted.
    pub gradients: Option<Gradients<'a>>,
}

/// Gradients of the loss divided by the rows, shaped as what they are of.
pub struct Gradients<'a> {
    pub dx: &'a mut [f32],
    pub dweight: &'a mut [f32],
    pub dbias: &'a mut [f32],
}

/// Sum of the cross-entropy over the places that have a target; and the gradients.
pub fn run(isa: Isa, decoder: &Decoder, buffers: Buffers) -> f64 {
    let (hidden, words) = (decoder.hidden, decoder.vocabulary);
    let Buffers {
        x,
        targets,
        weight,
        bias,
        scratch,
        mut gradients,
    } = buffers;
    let (logits, scratch) = scratch.split_at_mut(GROUP.min(decoder.n) * words);
    let (forward, scratch) = scratch.split_at_mut(packed_len(words, hidden));
    let (backward, room) = scratch.split_at_mut(packed_len(hidden, words));
    let forward = Packed::new(isa, Right::Columns(weight), words, hidden, forward);
    // Without gradients there is nothing to go back through.
    let backward = gradients
        .as_ref()
        .map(|_| Packed::new(isa, Right::Rows(weight), hidden, words, backward));
    let scale = gradients.as_ref().map(|_| 1.0 / decoder.rows as f32);
    let mut loss = 0.0;
    for first in (0..decoder.n).step_by(GROUP) {
        let n = GROUP.min(decoder.n - first);
        let x = &x[first * hidden..][..n * hidden];
        let logits = &mut logits[..n * words];
        forward.product(n, Left::Rows(x), logits, false);
        let mut losses = [0.0; GROUP];
        let places = logits
            .chunks_exact_mut(words)
            .zip(&targets[first..])
            .zip(&mut losses);
        each(places, |((logits, &target), loss)| {
            loops::run(
                isa,
                PlaceLoss {
                    logits,
                    bias,
                    target,
                    scale,
                    loss,
                },
            );
        });
        loss += losses[..n].iter().sum::<f64>();
        let Some((gradients, weight)) = gradients.as_mut().zip(backward) else {
            continue;
        };
        let dx = &mut gradients.dx[first * hidden..][..n * hidden];
        weight.product(n, Left::Rows(logits), dx, false);
        let x = Packed::new(isa, Right::Rows(x), hidden, n, room);
        x.product(words, Left::Columns(logits), gradients.dweight, first > 0);
        if first == 0 {
            gradients.dbias.fill(0.0);
        }
        for dlogits in logits.chunks_exact(words) {
            gradients
                .dbias
                .iter_mut()
                .zip(dlogits)
                .for_each(|(sum, x)| *sum += x);
        }
    }
    loss
}

/// One place: its loss, and with `scale` the gradient to its logits times that, in their place.
struct PlaceLoss<'a> {
    logits: &'a mut [f32],
    bias: &'a [f32],
    target: f32,
    scale: Option<f32>,
    loss: &'a mut f64,
}

/// Partial sums that are made side by side, in an order that no instruction set changes.
const LANES: usize = 16;

impl Loop for PlaceLoss<'_> {
    #[inline(always)]
    fn run(self) {
        let PlaceLoss {
            logits,
            bias,
            target,
            scale,
            loss,
        } = self;
        if target < 0.0 {
            logits.fill(0.0);
            return;
        }
        let target = target as usize;
        let mut largest = [f32::NEG_INFINITY; LANES];
        for (logits, bias) in logits.chunks_mut(LANES).zip(bias.chunks(LANES)) {
            for ((logit, bias), largest) in logits.iter_mut().zip(bias).zip(&mut largest) {
                *logit += bias;
                // NaN is passed over here and comes back by the sum.
                *largest = if *logit > *largest { *logit } else { *largest };
            }
        }
        let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let of_target = logits[target] - largest;
        let mut sums = [0.0f32; LANES];
        for logits in logits.chunks_mut(LANES) {
            for (logit, sum) in logits.iter_mut().zip(&mut sums) {
                *logit = math::exp(*logit - largest);
                *sum += *logit;
            }
        }
        let sum: f64 = sums.into_iter().map(f64::from).sum();
        *loss = sum.ln() - f64::from(of_target);
        let Some(scale) = scale else {
            return;
        };
        let factor = (f64::from(scale) / sum) as f32;
        logits.iter_mut().for_each(|logit| *logit *= factor);
        logits[target] -= scale;
    }
}
