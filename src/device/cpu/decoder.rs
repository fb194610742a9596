//! The softmax over the vocabulary, a block of words at a time, while what belongs to the block stays in
//! the second-level cache. Forward, each block's logits are made and counted into the softmax's sums of
//! their places; backward, they are read once more, to the gradients of the block.

use super::loops::{self, Loop};
use super::math;
use super::product::{Left, Packed, Right, packed_len};
use super::simd::Isa;
use super::workers::each;
use crate::graph::recurrent::Decoder;

/// Words of a block: whole panels of a product by any instruction set.
const BLOCK: usize = 480;

/// Floats that it needs while it runs: all logits, and of a block its weights packed, its gradients,
/// and x packed.
pub fn scratch_len(decoder: &Decoder) -> usize {
    let Decoder {
        n,
        hidden,
        vocabulary,
        ..
    } = *decoder;
    let block = BLOCK.min(vocabulary);
    let weights = packed_len(block, hidden).max(packed_len(hidden, block));
    n * vocabulary + weights + n * block + packed_len(hidden, n)
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
    let Decoder {
        n,
        hidden,
        vocabulary,
        ..
    } = *decoder;
    let Buffers {
        x,
        targets,
        weight,
        bias,
        scratch,
        gradients,
    } = buffers;
    let x = &x[..n * hidden];
    // Block by block, of all places.
    let (logits, scratch) = scratch.split_at_mut(n * vocabulary);
    let mut places: Vec<Place> = targets[..n].iter().map(Place::new).collect();
    let blocks = || {
        (0..vocabulary)
            .step_by(BLOCK)
            .map(|first| first..vocabulary.min(first + BLOCK))
    };
    for words in blocks() {
        let logits = &mut logits[words.start * n..words.end * n];
        let weight = &weight[words.start * hidden..words.end * hidden];
        let weight = Packed::new(isa, Right::Columns(weight), words.len(), hidden, scratch);
        weight.product(n, Left::Rows(x), logits, false);
        let tasks = logits.chunks_exact_mut(words.len()).zip(&mut places);
        each(tasks, |(logits, place)| {
            let bias = &bias[words.clone()];
            let first = words.start;
            loops::run(
                isa,
                Count {
                    logits,
                    bias,
                    first,
                    place,
                },
            );
        });
    }
    let loss = places.iter().map(Place::loss).sum();
    let Some(Gradients { dx, dweight, dbias }) = gradients else {
        return loss;
    };
    let block = BLOCK.min(vocabulary);
    let (weights, scratch) =
        scratch.split_at_mut(packed_len(block, hidden).max(packed_len(hidden, block)));
    let (dlogits, room) = scratch.split_at_mut(n * block);
    let packed_x = Packed::new(isa, Right::Rows(x), hidden, n, room);
    let scale = 1.0 / decoder.rows as f32;
    for words in blocks() {
        let logits = &logits[words.start * n..words.end * n];
        let dlogits = &mut dlogits[..n * words.len()];
        let tasks = logits.chunks_exact(words.len()).zip(&places);
        each(
            tasks.zip(dlogits.chunks_exact_mut(words.len())),
            |((logits, place), dlogits)| {
                let first = words.start;
                loops::run(
                    isa,
                    Gradient {
                        logits,
                        place,
                        first,
                        scale,
                        dlogits,
                    },
                );
            },
        );
        let weight = &weight[words.start * hidden..words.end * hidden];
        let weight = Packed::new(isa, Right::Rows(weight), hidden, words.len(), weights);
        weight.product(
            n,
            Left::Rows(dlogits),
            &mut dx[..n * hidden],
            words.start > 0,
        );
        let dweight = &mut dweight[words.start * hidden..words.end * hidden];
        packed_x.product(words.len(), Left::Columns(dlogits), dweight, false);
        let dbias = &mut dbias[words];
        dbias.fill(0.0);
        for dlogits in dlogits.chunks_exact(dbias.len()) {
            dbias.iter_mut().zip(dlogits).for_each(|(sum, x)| *sum += x);
        }
    }
    loss
}

/// The softmax of a place, as far as its words have been counted: the sum of the exponentials of all
/// logits less the largest (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax").
struct Place {
    /// The word that follows; none behind the end of a text.
    target: Option<usize>,
    of_target: f32,
    largest: f32,
    sum: f64,
}

impl Place {
    fn new(target: &f32) -> Place {
        Place {
            target: (*target >= 0.0).then_some(*target as usize),
            of_target: 0.0,
            largest: f32::NEG_INFINITY,
            sum: 0.0,
        }
    }

    /// The cross-entropy.
    fn loss(&self) -> f64 {
        let loss = self.sum.ln() - f64::from(self.of_target - self.largest);
        self.target.map_or(0.0, |_| loss)
    }
}

/// Partial sums that are made side by side, in an order that no instruction set changes.
const LANES: usize = 16;

/// Adds the bias to the logits of a block, whose first word is `first`, and counts them.
struct Count<'a> {
    logits: &'a mut [f32],
    bias: &'a [f32],
    first: usize,
    place: &'a mut Place,
}

impl Loop for Count<'_> {
    #[inline(always)]
    fn run(self) {
        let Count {
            logits,
            bias,
            first,
            place,
        } = self;
        let Some(target) = place.target else {
            return;
        };
        // Chunks of a length that the compiler knows, which it turns to vectors; NaN is passed over here
        // and comes back by the sum.
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        let (whole, last) = logits.as_chunks_mut::<LANES>();
        let (of_whole, of_last) = bias.as_chunks::<LANES>();
        let mut largest = [place.largest; LANES];
        for (logits, bias) in whole.iter_mut().zip(of_whole) {
            *logits = std::array::from_fn(|i| logits[i] + bias[i]);
            largest = std::array::from_fn(|i| larger(largest[i], logits[i]));
        }
        for ((logit, bias), largest) in last.iter_mut().zip(of_last).zip(&mut largest) {
            *logit += bias;
            *largest = larger(*largest, *logit);
        }
        let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        // A loop that only maps is turned to vectors, long as the function is.
        let mut exponentials = [0.0; BLOCK];
        let exponentials = &mut exponentials[..logits.len()];
        for (exponential, logit) in exponentials.iter_mut().zip(&*logits) {
            *exponential = math::exp(logit - largest);
        }
        let mut sums = [0.0f32; LANES];
        let (whole, last) = exponentials.as_chunks::<LANES>();
        for exponentials in whole {
            sums = std::array::from_fn(|i| sums[i] + exponentials[i]);
        }
        for (exponential, sum) in last.iter().zip(&mut sums) {
            *sum += exponential;
        }
        let sum: f64 = sums.into_iter().map(f64::from).sum();
        // Of nothing counted there is no largest logit to compare with.
        let before = match place.largest == f32::NEG_INFINITY {
            true => 0.0,
            false => place.sum * f64::from(math::exp(place.largest - largest)),
        };
        (place.largest, place.sum) = (largest, before + sum);
        if let Some(&logit) = target.checked_sub(first).and_then(|word| logits.get(word)) {
            place.of_target = logit;
        }
    }
}

/// The gradient of a place's loss, times `scale`, to the logits of a block.
struct Gradient<'a> {
    logits: &'a [f32],
    place: &'a Place,
    first: usize,
    scale: f32,
    dlogits: &'a mut [f32],
}

impl Loop for Gradient<'_> {
    #[inline(always)]
    fn run(self) {
        let Gradient {
            logits,
            place,
            first,
            scale,
            dlogits,
        } = self;
        let Some(target) = place.target else {
            dlogits.fill(0.0);
            return;
        };
        let factor = (f64::from(scale) / place.sum) as f32;
        for (dlogit, logit) in dlogits.iter_mut().zip(logits) {
            *dlogit = math::exp(logit - place.largest) * factor;
        }
        if let Some(dlogit) = target
            .checked_sub(first)
            .and_then(|word| dlogits.get_mut(word))
        {
            *dlogit -= scale;
        }
    }
}
