//! What a pass writes: its channels as lanes of vectors, and the order of its packed weights.

use std::ops::Range;

use super::pass::{Class, Pass};
use super::plan::{odd_lines, offset};
use super::product::most_vectors;
use super::reach::Reach;
use crate::device::cpu::simd::Isa;
use crate::graph::Shape;
use crate::shape::PLANE;

/// What a pass writes: a tensor, its channels, and the order of its packed weights,
/// `[block of vectors][block of planes][class][point][plane][part][channel][vectors * lanes]`.
pub(super) struct Outputs {
    pub planes: usize,
    pub h: usize,
    pub w: usize,
    /// Of each lane, its channel, from the first of the tensor; none where the last plane of a group is not full.
    pub channels: Vec<Option<usize>>,
    /// Blocks of vectors that register tiles span.
    pub vectors: Vec<Range<usize>>,
    /// Lanes of a vector.
    pub lanes: usize,
    /// Of each class and reach, the offset of each of its tiles: in the tensor (plain), in M
    /// (transform).
    pub tile_at: Vec<Vec<Vec<u32>>>,
    /// Floats from a point of M to the next.
    pub m_pitch: usize,
}

impl Outputs {
    /// The tensor of `shape` that `pass` writes.
    pub fn new(isa: Isa, pass: &Pass, shape: &Shape) -> Outputs {
        let (planes, lanes) = (shape.planes(), isa.lanes());
        let mut channels = vec![None; (PLANE * planes).next_multiple_of(lanes)];
        for (c, lane) in shape.lanes().enumerate() {
            channels[lane] = Some(c);
        }
        let n_vectors = channels.len() / lanes;
        let blocks = n_vectors.div_ceil(most_vectors(lanes));
        let cut = |i: usize| (i * n_vectors).div_ceil(blocks);
        let vectors = (0..blocks).map(|i| cut(i)..cut(i + 1)).collect();
        let tiles = pass.strip[0] * pass.strip[1] * pass.axes[1].tiles();
        let mut outputs = Outputs {
            planes,
            h: shape.h,
            w: shape.w,
            m_pitch: odd_lines(tiles * channels.len()),
            channels,
            vectors,
            lanes,
            tile_at: Vec::new(),
        };
        let classes = pass.classes.iter();
        outputs.tile_at = classes
            .map(|class| {
                let reaches = class.reaches.iter();
                reaches
                    .map(|reach| outputs.tiles(pass, class, reach))
                    .collect()
            })
            .collect();
        outputs
    }

    /// Floats of an image.
    pub fn image_len(&self) -> usize {
        self.planes * self.h * self.w * PLANE
    }

    /// Lanes of all vectors.
    pub fn width(&self) -> usize {
        self.channels.len()
    }

    /// Floats of the packed weights.
    pub fn packed_len(&self, pass: &Pass) -> usize {
        pass.entries * self.width()
    }

    /// Where the weights of `entry` begin for a block of vectors.
    pub fn packed_at(&self, pass: &Pass, vectors: &Range<usize>, entry: usize) -> usize {
        (pass.entries * vectors.start + entry * vectors.len()) * self.lanes
    }

    fn tiles(&self, pass: &Pass, class: &Class, reach: &Reach) -> Vec<u32> {
        let [y, x] = &pass.axes;
        let [rows, cols] = class.tiles;
        let tile = |number: usize| {
            if pass.transform.is_some() {
                return number * self.width();
            }
            let (image, tile) = (number / (rows * cols), number % (rows * cols));
            let row = class.phase[0] + tile / cols * y.out_step;
            let column = class.phase[1] + tile % cols * x.out_step;
            image * self.image_len() + (row * self.w + column) * PLANE
        };
        let tiles = reach.tile_at.iter();
        tiles.map(|at| offset(tile(at.number as usize))).collect()
    }
}
