//! Launches of local contrast normalisation.

use super::declare::{Bf16, In, Out, structs};
use super::launches::Launches;
use crate::graph::Shape;
use crate::graph::step::BufferId;
use crate::shape::PLANE;

structs! {
    /// Of `lcn_fwd` and `lcn_bwd`.
    struct LcnArgs {
        x: In<Bf16>,
        dout: In<Bf16>,
        out: Out<Bf16>,
        planes: i32,
        h: i32,
        w: i32,
        add: i32,
    }
}

/// Bytes of shared memory for `arrays` images of one channel, and the sums of eight warps.
fn shared_bytes(arrays: usize, shape: &Shape) -> usize {
    4 * (arrays * shape.h * shape.w + 8)
}

impl Launches<'_> {
    pub(super) fn lcn_fwd(&mut self, x: BufferId, out: BufferId, shape: &Shape) {
        let args = LcnArgs {
            x: self.input(x),
            dout: In::at(0),
            out: self.output(out),
            planes: shape.planes() as i32,
            h: shape.h as i32,
            w: shape.w as i32,
            add: 0,
        };
        let grid = [PLANE * shape.planes(), self.batch(), 1];
        self.push_shared("lcn_fwd", grid, 256, shared_bytes(3, shape), &args);
    }

    /// Sets the gradient `dx` of the input, or adds to it.
    pub(super) fn lcn_bwd(&mut self, [x, dout, dx]: [BufferId; 3], shape: &Shape, add: bool) {
        let args = LcnArgs {
            x: self.input(x),
            dout: self.input(dout),
            out: self.output(dx),
            planes: shape.planes() as i32,
            h: shape.h as i32,
            w: shape.w as i32,
            add: i32::from(add),
        };
        let grid = [PLANE * shape.planes(), self.batch(), 1];
        self.push_shared("lcn_bwd", grid, 256, shared_bytes(4, shape), &args);
    }
}
