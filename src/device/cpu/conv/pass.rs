//! One pass over images, as it is planned: geometry, strips, blocks and tables of offsets.
//!
//! Every pass (forward, gradient to data, gradient to the filter) has the same shape. Outputs come in
//! *tiles*; a tile reads, for each *part* of the filter, the *position* at the tile's own offset plus
//! the part's, of the parts that reach the input (see `reach`). Work goes a strip of images or rows
//! and a block of planes at a time. Plain sums read the planes where they lie. Transforms bring them
//! to a buffer V first, `[plane][point][image][row][column][8]`.
//!
//! | scheme | a position is | a part is | a tile is |
//! |---|---|---|---|
//! | plain | a pixel | a tap | an output pixel |
//! | plain, gradient of a stride | a pixel of dY | a tap of the phase | a pixel of the phase |
//! | transform | 6, 7 or 8 inputs, transformed | 1, or 1 of 2 halves of 7 taps | 4 outputs |
//!
//! Pixels of a strided layer's input fall into stride² phases by their coordinates modulo the
//! stride; each phase is a convolution of its own with the taps that meet it: nothing is multiplied
//! by zeros between the pixels of dY.

use std::ops::Range;

use super::axis::Axis;
use super::blocks::{MAX_PLANES, Plane};
use super::product::InputPlane;
use super::reach::Reach;
use super::strips::Strip;
use super::transform::CookToom;
use crate::device::cpu::layout::{image_len, plane_len};
use crate::graph::Shape;
use crate::shape::PLANE;

/// A part of the filter by its tap (plain) or index (transform).
pub(super) type Part = [usize; 2];

/// Outputs that share their parts: all of them, or one phase of the gradient of a strided layer.
pub(super) struct Class {
    /// First output row and column.
    pub phase: [usize; 2],
    /// Rows and columns of tiles in an image.
    pub tiles: [usize; 2],
    /// Rows and columns of parts.
    pub grid: [usize; 2],
    /// The parts by row and column; neighbours read neighbouring positions.
    pub parts: Vec<Part>,
    /// Its tiles in inputs of every size.
    pub reaches: Vec<Reach>,
    /// Of each block of planes, where its weights begin, counted in entries: input channel of a
    /// part.
    pub entry_at: Vec<usize>,
}

/// Planes that are worked on together: of sources of one size.
pub(super) struct Block {
    pub planes: Range<usize>,
    /// Which of its classes' reaches is that of its sources.
    pub reach: usize,
}

/// The plan of a pass.
pub(super) struct Pass {
    pub transform: Option<[CookToom; 2]>,
    pub axes: [Axis; 2],
    pub sources: Vec<Shape>,
    pub planes: Vec<Plane>,
    pub blocks: Vec<Block>,
    pub classes: Vec<Class>,
    /// Images and rows of tiles of a full strip; more than one image only with all rows.
    pub strip: [usize; 2],
    /// Rows and columns of V for one image of a strip.
    pub positions: [usize; 2],
    /// Floats from a point of V to the next, from a plane to the next.
    pub point_pitch: usize,
    pub plane_pitch: usize,
    /// Entries of the packed weights: all channels x parts x points x classes.
    pub entries: usize,
}

impl Pass {
    pub fn points(&self) -> usize {
        self.axes[0].points * self.axes[1].points
    }

    /// Strips that cover `images`.
    pub fn strips(&self, images: Range<usize>) -> impl Iterator<Item = Strip> + use<> {
        let ([n, r], all_rows) = (self.strip, self.axes[0].tiles());
        images.clone().step_by(n).flat_map(move |image| {
            (0..all_rows).step_by(r).map(move |row| Strip {
                image,
                images: n.min(images.end - image),
                row,
                rows: r.min(all_rows - row),
            })
        })
    }

    /// Whether strips are rows of one image.
    fn by_rows(&self) -> bool {
        self.transform.is_some() && self.strip[0] == 1
    }

    /// Rows of tiles of one image of a strip that reach the input.
    pub fn reached_rows(&self, reach: &Reach, strip: Strip) -> usize {
        reach.tiles[0].saturating_sub(strip.row).min(strip.rows)
    }

    /// Units of a group of tiles that a strip has.
    pub fn units(&self, reach: &Reach, strip: Strip) -> usize {
        match self.by_rows() {
            true => self.reached_rows(reach, strip),
            false => strip.images,
        }
    }

    /// The first input row that a strip reads (negative in the padding).
    pub fn first_input_row(&self, strip: Strip) -> isize {
        let axis = &self.axes[0];
        (strip.row * axis.step * axis.pixels) as isize - axis.before as isize
    }

    /// Floats of V.
    pub fn v_len(&self) -> usize {
        let most = self.blocks.iter().map(|block| block.planes.len()).max();
        match self.transform {
            Some(_) => most.unwrap_or(0) * self.plane_pitch,
            None => 0,
        }
    }

    /// Input channels of a block.
    pub fn block_channels(&self, block: usize) -> usize {
        self.planes[self.blocks[block].planes.clone()]
            .iter()
            .map(|plane| plane.channels)
            .sum()
    }

    /// A block's planes where they lie, from the first image of a strip.
    pub fn inputs_in_place<'a>(
        &self,
        block: usize,
        strip: Strip,
        sources: &[&[f32]],
        inputs: &'a mut [InputPlane; MAX_PLANES],
    ) -> &'a [InputPlane] {
        let range = self.blocks[block].planes.clone();
        for (input, plane) in inputs.iter_mut().zip(&self.planes[range.clone()]) {
            let source = &self.sources[plane.source];
            let at = strip.image * image_len(source) + plane.index * plane_len(source);
            *input = InputPlane {
                at: sources[plane.source][at..].as_ptr(),
                channels: plane.channels,
                image: image_len(source),
            };
        }
        &inputs[..range.len()]
    }

    /// A block's planes in V.
    pub fn inputs_in_v<'a>(
        &self,
        block: usize,
        v: &[f32],
        inputs: &'a mut [InputPlane; MAX_PLANES],
    ) -> &'a [InputPlane] {
        let range = self.blocks[block].planes.clone();
        for (i, plane) in self.planes[range.clone()].iter().enumerate() {
            inputs[i] = InputPlane {
                at: v[i * self.plane_pitch..].as_ptr(),
                channels: plane.channels,
                image: self.v_image(),
            };
        }
        &inputs[..range.len()]
    }

    /// Floats from an image of V to the next.
    pub fn v_image(&self) -> usize {
        self.positions[0] * self.positions[1] * PLANE
    }

    /// Floats from a row of positions of a block to the next.
    pub fn row_pitch(&self, block: usize) -> usize {
        let width = match self.transform {
            Some(_) => self.positions[1],
            None => self.sources[self.planes[self.blocks[block].planes.start].source].w,
        };
        width * PLANE
    }

    /// Room for the addresses of a block's planes.
    pub fn no_inputs() -> [InputPlane; MAX_PLANES] {
        [InputPlane {
            at: std::ptr::null(),
            channels: 0,
            image: 0,
        }; MAX_PLANES]
    }
}
