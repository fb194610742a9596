//! Launches of global average pooling.

use super::declare::{In, Out, Pixel, structs};
use super::launches::Launches;
use crate::graph::Shape;
use crate::graph::step::{BufferId, Source};

structs! {
    /// Of `global_average_pool_fwd` and `global_average_pool_bwd`.
    struct GlobalAveragePoolArgs {
        x: In<Pixel>,
        channels: In<i32>,
        dfeatures: In<f32>,
        features: Out<f32>,
        dx: Out<Pixel>,
        planes: i32,
        pixels: i32,
        first_feature: i32,
        n_features: i32,
        all_pixels: f32,
        add: i32,
    }
}

impl Launches<'_> {
    pub(super) fn global_average_pool_fwd(
        &mut self,
        sources: &[Source],
        pixels: usize,
        features: BufferId,
    ) {
        let n_features: usize = sources.iter().map(|source| source.shape.c()).sum();
        for source in sources {
            let shape = &source.shape;
            let args = GlobalAveragePoolArgs {
                x: self.input(source.buffer),
                channels: self.tables.channels(shape),
                dfeatures: In::at(0),
                features: self.output(features),
                dx: Out::at(0),
                planes: shape.planes() as i32,
                pixels: (shape.h * shape.w) as i32,
                first_feature: source.first_channel as i32,
                n_features: n_features as i32,
                all_pixels: pixels as f32,
                add: 0,
            };
            let grid = [shape.planes(), self.batch(), 1];
            self.push_shared("global_average_pool_fwd", grid, 128, 4 * 4, &args);
        }
    }

    /// Sets the gradient `dx` of a tensor of `shape`, or adds to it.
    pub(super) fn global_average_pool_bwd(
        &mut self,
        [dfeatures, dx]: [BufferId; 2],
        shape: &Shape,
        [first_feature, n_features, pixels]: [usize; 3],
        add: bool,
    ) {
        let own_pixels = shape.h * shape.w;
        let args = GlobalAveragePoolArgs {
            x: In::at(0),
            channels: self.tables.channels(shape),
            dfeatures: self.input(dfeatures),
            features: Out::at(0),
            dx: self.output(dx),
            planes: shape.planes() as i32,
            pixels: own_pixels as i32,
            first_feature: first_feature as i32,
            n_features: n_features as i32,
            all_pixels: pixels as f32,
            add: i32::from(add),
        };
        let grid = [shape.planes(), own_pixels.div_ceil(256), self.batch()];
        self.push("global_average_pool_bwd", grid, 256, &args);
    }
}
