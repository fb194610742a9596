//! Launches of padded copies.

use super::declare::{In, Out, Pixel, structs};
use super::launches::Launches;
use crate::graph::Shape;
use crate::graph::step::{BufferId, Source};

structs! {
    /// Of `concat_pad_fwd` and `concat_pad_bwd`.
    struct ConcatPadArgs {
        x: In<Pixel>,
        out: Out<Pixel>,
        planes: i32,
        h: i32,
        w: i32,
        first_plane: i32,
        concat_planes: i32,
        concat_h: i32,
        concat_w: i32,
        add: i32,
    }
}

impl Launches<'_> {
    pub(super) fn concat_pad_fwd(&mut self, sources: &[Source], out: BufferId, concat: &Shape) {
        let mut first_plane = 0;
        for source in sources {
            let (x, out) = (self.input(source.buffer), self.output(out));
            let args = args(x, out, &source.shape, concat, first_plane, false);
            let pixels = concat.h * concat.w;
            let grid = [source.shape.planes(), pixels.div_ceil(256), self.batch()];
            self.push("concat_pad_fwd", grid, 256, &args);
            first_plane += source.shape.planes();
        }
    }

    /// Sets the gradient `dx` of a tensor of `shape`, or adds to it.
    pub(super) fn concat_pad_bwd(
        &mut self,
        [dout, dx]: [BufferId; 2],
        [concat, shape]: [&Shape; 2],
        first_plane: usize,
        add: bool,
    ) {
        let (dout, dx) = (self.input(dout), self.output(dx));
        let args = args(dout, dx, shape, concat, first_plane, add);
        let grid = [
            shape.planes(),
            (shape.h * shape.w).div_ceil(256),
            self.batch(),
        ];
        self.push("concat_pad_bwd", grid, 256, &args);
    }
}

fn args(
    x: In<Pixel>,
    out: Out<Pixel>,
    source: &Shape,
    concat: &Shape,
    first_plane: usize,
    add: bool,
) -> ConcatPadArgs {
    ConcatPadArgs {
        x,
        out,
        planes: source.planes() as i32,
        h: source.h as i32,
        w: source.w as i32,
        first_plane: first_plane as i32,
        concat_planes: concat.planes() as i32,
        concat_h: concat.h as i32,
        concat_w: concat.w as i32,
        add: i32::from(add),
    }
}
