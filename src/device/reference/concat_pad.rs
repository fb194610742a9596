//! Concatenation in depth with zeros at the bottom and right, and its gradient.

use super::tensor::{Memory, Tensor};
use crate::graph::Shape;
use crate::graph::step::Source;
use crate::shape;

/// The concatenation of `sources`, of shape `concat`, of `n` images.
// paper P2.4, P2.7
pub fn fwd(sources: &[Source], concat: &Shape, n: usize, memory: &Memory) -> Tensor {
    let mut out = Tensor::images(n, concat);
    for source in sources {
        let x = &memory[source.buffer];
        for [n, c, i, j] in x.positions() {
            out[[n, source.first_channel + c, i, j]] = x[[n, c, i, j]];
        }
    }
    out
}

/// Gradient to the part of shape `part` that begins at `first_channel`.
pub fn bwd(dout: &Tensor, first_channel: usize, part: &Shape) -> Tensor {
    let mut dx = Tensor::images(dout.dims[0], part);
    for [n, c, i, j] in dx.positions() {
        dx[[n, c, i, j]] = dout[[n, first_channel + c, i, j]];
    }
    dx
}

/// The first channel of `plane`, with which a group of `concat` begins.
pub fn first_channel(concat: &Shape, plane: usize) -> usize {
    let (mut channel, mut first_plane) = (0, 0);
    for &c in &concat.groups {
        if first_plane == plane {
            return channel;
        }
        channel += c;
        first_plane += shape::planes(c);
    }
    panic!("plane {plane} begins no group of {concat:?}")
}
