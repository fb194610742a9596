//! Dropout by addressed masks: see [`crate::device::reference`] for the formula.

use super::workers::each;
use crate::device::Moment;
use crate::graph::recurrent::Stack;
use crate::rng::Mask;

/// Values that a task handles; a multiple of the mask's words of a block.
const PIECE: usize = 1 << 14;

/// `x` `[t][b][width]` with some values dropped to `out`, or the gradient back through that.
pub fn run(stack: &Stack, moment: &Moment, place: usize, width: usize, x: &[f32], out: &mut [f32]) {
    let dropout = stack.dropout;
    let n = stack.steps * stack.rows * width;
    let (x, out) = (&x[..n], &mut out[..n]);
    let Some(epoch) = moment.epoch.filter(|_| dropout.rate > 0.0) else {
        return out.copy_from_slice(x);
    };
    let mask = Mask::new(moment.seed, epoch, moment.batch, place as u8, dropout.rate);
    let factor = (1.0 / (1.0 - dropout.rate)) as f32;
    if dropout.variational {
        let a_step = stack.rows * width;
        let mut factors = vec![1.0; a_step];
        let ones = vec![1.0; a_step];
        drop(&mask, factor, 0, &ones, &mut factors);
        let steps = x.chunks_exact(a_step).zip(out.chunks_exact_mut(a_step));
        return each(steps, |(x, out)| {
            for ((out, x), factor) in out.iter_mut().zip(x).zip(&factors) {
                *out = x * factor;
            }
        });
    }
    let pieces = x.chunks(PIECE).zip(out.chunks_mut(PIECE)).enumerate();
    each(pieces, |(i, (x, out))| {
        drop(&mask, factor, (i * PIECE) as u64, x, out);
    });
}

/// Elements from `first`, a multiple of 4, of a mask.
fn drop(mask: &Mask, factor: f32, first: u64, x: &[f32], out: &mut [f32]) {
    for (i, (x, out)) in x.chunks(4).zip(out.chunks_mut(4)).enumerate() {
        let keeps = mask.block(first / 4 + i as u64);
        for ((out, x), keep) in out.iter_mut().zip(x).zip(keeps) {
            *out = if keep { x * factor } else { 0.0 };
        }
    }
}
