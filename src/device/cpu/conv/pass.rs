//! One pass over images, as it is planned: geometry, strips, blocks and tables of offsets.
//!
//! Every pass (forward, gradient to data, gradient to the filter) has the same shape. Input planes
//! are brought, a strip of images or rows and a block of planes at a time, to *positions* in a
//! buffer V, `[plane][point][image][row][column][8]`. Outputs come in *tiles*; a tile reads, for
//! each *part* of the filter, the position at the tile's own offset plus the part's.
//!
//! | scheme | a position is | a part is | a tile is |
//! |---|---|---|---|
//! | plain | a pixel, with the zero padding around | a tap | an output pixel |
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
use super::strips::Strip;
use super::transform::CookToom;
use crate::device::cpu::layout::image_len;
use crate::graph::Shape;
use crate::shape::PLANE;

/// A part of the filter: its position relative to the tile's, and its tap (plain) or index
/// (transform).
#[derive(Clone, Copy, Debug)]
pub(super) struct FilterPart {
    pub position: [usize; 2],
    pub tap: [usize; 2],
}

/// Outputs that share their parts: all of them, or one phase of the gradient of a strided layer.
pub(super) struct Class {
    /// First output row and column.
    pub phase: [usize; 2],
    /// Rows and columns of tiles in an image.
    pub tiles: [usize; 2],
    pub parts: Vec<FilterPart>,
    /// Offset of each part in V.
    pub part_at: Vec<u32>,
    /// Offset in V of each tile of a strip, by image, row and column.
    pub tile_at: Vec<u32>,
    /// Of each block of planes, where its weights begin, counted in entries: input channel of a
    /// part.
    pub entry_at: Vec<usize>,
}

/// The plan of a pass.
pub(super) struct Pass {
    pub transform: Option<[CookToom; 2]>,
    pub axes: [Axis; 2],
    pub sources: Vec<Shape>,
    pub planes: Vec<Plane>,
    /// Ranges of planes that are in V together, of sources of one size.
    pub blocks: Vec<Range<usize>>,
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
    /// V is the source itself (1x1 filters without padding).
    pub in_place: bool,
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

    /// Tiles of `class` in a strip: that many of the class's tables are meant.
    pub fn tiles(&self, class: &Class, strip: Strip) -> usize {
        strip.images * class.tiles[0].saturating_sub(strip.row).min(strip.rows) * class.tiles[1]
    }

    /// The first input row that a strip reads (negative in the padding).
    pub fn first_input_row(&self, strip: Strip) -> isize {
        let axis = &self.axes[0];
        (strip.row * axis.step * axis.pixels) as isize - axis.before as isize
    }

    /// Whether a block holds anything but zeros in a strip: a small source has no rows at the
    /// bottom.
    pub fn is_active(&self, block: usize, strip: Strip) -> bool {
        let source = &self.sources[self.planes[self.blocks[block].start].source];
        self.first_input_row(strip) < source.h as isize
    }

    /// Floats of V.
    pub fn v_len(&self) -> usize {
        let most = self
            .blocks
            .iter()
            .map(|block| block.len())
            .max()
            .unwrap_or(0);
        if self.in_place {
            0
        } else {
            most * self.plane_pitch
        }
    }

    /// Input channels of a block.
    pub fn block_channels(&self, block: usize) -> usize {
        self.planes[self.blocks[block].clone()]
            .iter()
            .map(|plane| plane.channels)
            .sum()
    }

    /// Addresses of a block's planes when V is the source itself.
    pub fn inputs_in_place<'a>(
        &self,
        block: usize,
        strip: Strip,
        sources: &[&[f32]],
        inputs: &'a mut [InputPlane; MAX_PLANES],
    ) -> &'a [InputPlane] {
        let row = strip.row * self.axes[0].step;
        let range = self.blocks[block].clone();
        for (input, plane) in inputs.iter_mut().zip(&self.planes[range.clone()]) {
            let source = &self.sources[plane.source];
            let pixel = (plane.index * source.h + row) * source.w;
            let at = strip.image * image_len(source) + pixel * PLANE;
            *input = InputPlane {
                at: sources[plane.source][at..].as_ptr(),
                channels: plane.channels,
            };
        }
        &inputs[..range.len()]
    }

    /// Addresses of a block's planes in V.
    pub fn inputs_in_v<'a>(
        &self,
        block: usize,
        v: &[f32],
        inputs: &'a mut [InputPlane; MAX_PLANES],
    ) -> &'a [InputPlane] {
        let range = self.blocks[block].clone();
        for (i, plane) in self.planes[range.clone()].iter().enumerate() {
            let at = v[i * self.plane_pitch..].as_ptr();
            inputs[i] = InputPlane {
                at,
                channels: plane.channels,
            };
        }
        &inputs[..range.len()]
    }

    /// Room for the addresses of a block's planes.
    pub fn no_inputs() -> [InputPlane; MAX_PLANES] {
        [InputPlane {
            at: std::ptr::null(),
            channels: 0,
        }; MAX_PLANES]
    }
}
