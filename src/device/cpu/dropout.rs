//! Dropout by addressed masks: see [`crate::device::reference`] for the formula.

use super::loops::{self, Loop};
use super::simd::Isa;
use super::workers::each;
use crate::device::Moment;
use crate::graph::recurrent::Stack;
use crate::rng::Mask;

/// Blocks of a mask that are made side by side, and the values that they are for.
const BLOCKS: usize = 16;
const VALUES: usize = 4 * BLOCKS;
/// Values that a task handles.
const PIECE: usize = 256 * VALUES;

/// `x` `[t][b][width]` with some values dropped to `out`, or the gradient back through that; `place` is
/// the layer that reads it, or the number of layers for what the last one gives.
pub fn run(
    isa: Isa,
    (stack, moment): (&Stack, &Moment),
    place: usize,
    width: usize,
    x: &[f32],
    out: &mut [f32],
) {
    let dropout = stack.dropout;
    let n = stack.steps * stack.rows * width;
    let (x, out) = (&x[..n], &mut out[..n]);
    let Some(epoch) = moment.epoch.filter(|_| dropout.rate > 0.0) else {
        return out.copy_from_slice(x);
    };
    let mask = Mask::new(moment.seed, epoch, moment.batch, place as u8, dropout.rate);
    let factor = (1.0 / (1.0 - dropout.rate)) as f32;
    // A variational mask is that of a step, made again for each.
    let (piece, moves_on) = match dropout.variational {
        true => (stack.rows * width, 0),
        false => (PIECE, PIECE / 4),
    };
    let pieces = x.chunks(piece).zip(out.chunks_mut(piece)).enumerate();
    each(pieces, |(i, (x, out))| {
        let first = (i * moves_on) as u64;
        let piece = Piece {
            mask,
            factor,
            first,
            x,
            out,
        };
        loops::run(isa, piece);
    });
}

/// Values of consecutive blocks of a mask.
struct Piece<'a> {
    mask: Mask,
    factor: f32,
    /// The first block.
    first: u64,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Loop for Piece<'_> {
    #[inline(always)]
    fn run(self) {
        let values = self.x.chunks(VALUES).zip(self.out.chunks_mut(VALUES));
        for (first, (x, out)) in (self.first..).step_by(BLOCKS).zip(values) {
            let keeps = self.mask.blocks::<BLOCKS>(first);
            let mut kept = [false; VALUES];
            for (i, kept) in kept.iter_mut().enumerate() {
                *kept = keeps[i % 4][i / 4];
            }
            for ((out, &x), kept) in out.iter_mut().zip(x).zip(kept) {
                *out = if kept { x * self.factor } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::recurrent::{Dropout, Program};
    use crate::graph::step::BufferId;

    /// Every element, over pieces and groups of blocks that are not whole.
    #[test]
    fn what_is_kept_is_what_the_mask_says() {
        for (variational, rows, width) in [
            (false, 3, PIECE / 3 + 24),
            (true, 10, 7),
            (true, 131, 1),
            (true, 2, 64),
        ] {
            let stack = Stack {
                program: Program::lstm(),
                steps: 2,
                rows,
                hidden: width,
                layers: vec![],
                dropout: Dropout {
                    rate: 0.4,
                    variational,
                },
                input: BufferId(0),
                dinput: BufferId(0),
                output: BufferId(0),
                doutput: BufferId(0),
            };
            let moment = Moment {
                seed: 5,
                epoch: Some(2),
                batch: 3,
            };
            let mask = Mask::new(5, 2, 3, 1, 0.4);
            let n = 2 * rows * width;
            let x: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; n];
                run(isa, (&stack, &moment), 1, width, &x, &mut out);
                for (i, (out, x)) in out.iter().zip(&x).enumerate() {
                    let element = if variational { i % (rows * width) } else { i };
                    let factor = (1.0 / 0.6f64) as f32;
                    let kept = if mask.keeps(element as u64) {
                        x * factor
                    } else {
                        0.0
                    };
                    assert_eq!(*out, kept, "{variational}, {rows} x {width}, {i}");
                }
            }
        }
    }
}
