//! Dropout: values are zero or divided by what is kept on average, by a mask that is addressed, so
//! that the backward pass finds the same.

use crate::device::Moment;
use crate::graph::recurrent::Stack;
use crate::rng;

/// `x` `[t][b][width]` with some values dropped, or the gradient that goes back through that;
/// `place` is the layer that reads it, or the number of layers for what the last one gives.
pub fn dropped(stack: &Stack, moment: &Moment, place: usize, width: usize, x: &[f64]) -> Vec<f64> {
    let dropout = stack.dropout;
    let Some(epoch) = moment.epoch.filter(|_| dropout.rate > 0.0) else {
        return x.to_vec();
    };
    let mask = rng::Mask::new(moment.seed, epoch, moment.batch, place as u8, dropout.rate);
    let a_step = stack.rows * width;
    let element = |i: usize| if dropout.variational { i % a_step } else { i };
    let keep = |(i, &x): (usize, &f64)| match mask.keeps(element(i) as u64) {
        true => x / (1.0 - dropout.rate),
        false => 0.0,
    };
    x.iter().enumerate().map(keep).collect()
}
