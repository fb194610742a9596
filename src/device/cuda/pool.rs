//! Launches of pooling.

use super::declare::{In, Out, Pixel, structs};
use super::launches::Launches;
use crate::graph::step::{BufferId, Pool, PoolKind};

structs! {
    /// Of `pool_fwd` and `pool_bwd`.
    struct PoolArgs {
        x: In<Pixel>,
        dout: In<Pixel>,
        out: Out<Pixel>,
        planes: i32,
        h: i32,
        w: i32,
        out_h: i32,
        out_w: i32,
        kh: i32,
        kw: i32,
        stride_h: i32,
        stride_w: i32,
        is_max: i32,
        add: i32,
        reserved: i32,
    }
}

impl Launches<'_> {
    pub(super) fn pool_fwd(&mut self, pool: &Pool) {
        let args = args(pool, self.input(pool.x), In::at(0), self.output(pool.out));
        let pixels = pool.output.h * pool.output.w;
        let grid = [pool.input.planes(), pixels.div_ceil(128), self.batch()];
        self.push("pool_fwd", grid, 128, &args);
    }

    /// Sets the gradient `dx` of the pool's input, or adds to it.
    pub(super) fn pool_bwd(&mut self, pool: &Pool, dout: BufferId, dx: BufferId, add: bool) {
        let mut args = args(pool, self.input(pool.x), self.input(dout), self.output(dx));
        args.add = i32::from(add);
        let pixels = pool.input.h * pool.input.w;
        let grid = [pool.input.planes(), pixels.div_ceil(128), self.batch()];
        self.push("pool_bwd", grid, 128, &args);
    }
}

fn args(pool: &Pool, x: In<Pixel>, dout: In<Pixel>, out: Out<Pixel>) -> PoolArgs {
    PoolArgs {
        x,
        dout,
        out,
        planes: pool.input.planes() as i32,
        h: pool.input.h as i32,
        w: pool.input.w as i32,
        out_h: pool.output.h as i32,
        out_w: pool.output.w as i32,
        kh: pool.window[0] as i32,
        kw: pool.window[1] as i32,
        stride_h: pool.stride[0] as i32,
        stride_w: pool.stride[1] as i32,
        is_max: i32::from(pool.kind == PoolKind::Max),
        add: 0,
        reserved: 0,
    }
}
