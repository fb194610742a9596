//! The gradient to the filter: one sum per fixed chunk of images, added in the order of the chunks.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::outputs::Outputs;
use super::pack::{MAX_LANES, MAX_TAPS, unpack};
use super::pass::Pass;
use super::product::{FilterProduct, entry_pieces};
use super::stage::OutputRow;
use super::strips::Strip;
use crate::device::cpu::layout::{image_len, plane_len};
use crate::device::cpu::simd::Isa;
use crate::shape::PLANE;

/// Chunks of a batch at most, and images and tiles of a chunk at least: sums of a chunk are turned
/// back to taps, which costs about as much as the products of 10 tiles.
const MAX_CHUNKS: usize = 16;
const MIN_IMAGES: usize = 8;
const MIN_TILES: usize = 64;

/// The plan of the gradient to the filter.
pub(super) struct FilterPass {
    pass: Arc<Pass>,
    /// dY, in the order of the pass.
    outputs: Arc<Outputs>,
    /// Whether dM is dY itself: plain sums, vectors of one plane, strips of one image.
    dy_in_place: bool,
    /// Of each block of planes, the offset of each of its entries.
    entries: OnceLock<Vec<Vec<u32>>>,
    images: usize,
    /// Images of a chunk.
    chunk: usize,
    /// Filters, input channels and taps.
    shape: [usize; 3],
}

impl FilterPass {
    pub fn new(
        pass: Arc<Pass>,
        outputs: Arc<Outputs>,
        images: usize,
        shape: [usize; 3],
    ) -> FilterPass {
        let tiles = pass.classes[0].tiles[0] * pass.classes[0].tiles[1];
        let least = MIN_TILES.div_ceil(tiles).max(MIN_IMAGES);
        let chunks = (images / least).clamp(1, MAX_CHUNKS);
        FilterPass {
            dy_in_place: pass.transform.is_none() && outputs.lanes == PLANE && pass.strip[0] == 1,
            pass,
            outputs,
            entries: OnceLock::new(),
            images,
            chunk: images.div_ceil(chunks),
            shape,
        }
    }

    /// The tables of entries, made when they are first asked for.
    pub fn entries(&self) -> &[Vec<u32>] {
        self.entries.get_or_init(|| {
            let blocks = 0..self.pass.blocks.len();
            blocks.map(|block| entries(&self.pass, block)).collect()
        })
    }

    /// Floats of scratch for a chunk: V, dM and the packed sums.
    pub fn scratch_len(&self) -> usize {
        let [v, m, sums] = self.scratch_parts();
        v + m + sums
    }

    /// Floats of the sums of all chunks.
    pub fn partials_len(&self) -> usize {
        self.images.div_ceil(self.chunk) * self.partial_len()
    }

    /// Floats of the sum of a chunk, `[vector][channel][tap][lane]`.
    pub fn partial_len(&self) -> usize {
        self.shape[1] * self.shape[2] * self.outputs.width()
    }

    /// The images of chunk `i`.
    pub fn chunk(&self, i: usize) -> Range<usize> {
        i * self.chunk..((i + 1) * self.chunk).min(self.images)
    }

    fn scratch_parts(&self) -> [usize; 3] {
        let m = match self.dy_in_place {
            true => 0,
            false => self.pass.points() * self.outputs.m_pitch,
        };
        [self.pass.v_len(), m, self.outputs.packed_len(&self.pass)]
    }

    /// The gradient of some images, `partial` overwritten.
    pub fn run(
        &self,
        isa: Isa,
        sources: &[&[f32]],
        dy: &[f32],
        images: Range<usize>,
        scratch: &mut [f32],
        partial: &mut [f32],
    ) {
        let [v_len, m_len, sums_len] = self.scratch_parts();
        let (v, rest) = scratch.split_at_mut(v_len);
        let (m, rest) = rest.split_at_mut(m_len);
        let sums = &mut rest[..sums_len];
        for (i, strip) in self.pass.strips(images).enumerate() {
            if !self.dy_in_place {
                self.transform_dy(isa, dy, strip, m);
            }
            for block in 0..self.pass.blocks.len() {
                // The first strip runs even on zeros: it sets the sums.
                if i > 0 && !self.pass.is_active(block, strip) {
                    continue;
                }
                if !self.pass.in_place {
                    self.pass.stage(isa, sources, block, strip, v);
                }
                self.multiply(isa, sources, dy, block, strip, v, m, sums, i > 0);
            }
        }
        unpack(isa, &self.pass, &self.outputs, sums, partial);
    }

    /// Adds the sums of all chunks, in order, for the filters of one vector: `dw` is their part of
    /// the canonical gradient.
    pub fn add_partials(&self, vector: usize, partials: &[f32], dw: &mut [f32]) {
        let [_, channels, taps] = self.shape;
        let lanes = self.outputs.lanes;
        let mut room = [0.0; MAX_TAPS * MAX_LANES];
        let sums = &mut room[..taps * lanes];
        for channel in 0..channels {
            let at = (vector * channels + channel) * sums.len();
            for (i, partial) in partials.chunks_exact(self.partial_len()).enumerate() {
                let values = &partial[at..][..sums.len()];
                match i {
                    0 => sums.copy_from_slice(values),
                    _ => sums
                        .iter_mut()
                        .zip(values)
                        .for_each(|(sum, value)| *sum += value),
                }
            }
            for (lane, filter) in dw.chunks_exact_mut(channels * taps).enumerate() {
                let column = sums[lane..].iter().step_by(lanes);
                let dw = &mut filter[channel * taps..][..taps];
                dw.iter_mut().zip(column).for_each(|(dw, sum)| *dw = *sum);
            }
        }
    }

    /// Filters of a vector.
    pub fn lanes(&self) -> usize {
        self.outputs.lanes
    }

    fn transform_dy(&self, isa: Isa, dy: &[f32], strip: Strip, m: &mut [f32]) {
        let Outputs {
            planes,
            h,
            w,
            m_pitch,
            ..
        } = *self.outputs;
        let [y, x] = self.pass.axes;
        for image in 0..strip.images {
            let dy =
                &dy[(strip.image + image) * self.outputs.image_len()..][..self.outputs.image_len()];
            for row in 0..strip.rows {
                let tile = (image * strip.rows + row) * x.tiles();
                let row = OutputRow {
                    m: m[tile * self.outputs.width()..].as_mut_ptr(),
                    point_pitch: m_pitch,
                    width: self.outputs.width(),
                    n: x.tiles(),
                    image: dy.as_ptr().cast_mut(),
                    planes,
                    h,
                    w,
                    y: (strip.row + row) * y.tile,
                };
                // SAFETY: M holds the tiles of the strip at every point; `dy` is one image, which
                // is read alone.
                unsafe { row.read(isa, [y.points, x.points]) }
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // one call; a struct would only repeat the names
    fn multiply(
        &self,
        isa: Isa,
        sources: &[&[f32]],
        dy: &[f32],
        block: usize,
        strip: Strip,
        v: &[f32],
        m: &[f32],
        sums: &mut [f32],
        add: bool,
    ) {
        let (pass, outputs) = (&self.pass, &self.outputs);
        let class = &pass.classes[0];
        let tiles = &class.tile_at[..pass.tiles(class, strip)];
        let entries = &self.entries()[block];
        let pieces = entry_pieces(isa, entries.len());
        let input = if pass.in_place {
            let number = pass.planes[pass.blocks[block].start].source;
            let source = &pass.sources[number];
            let row = strip.row * pass.axes[0].step * source.w * PLANE;
            &sources[number][strip.image * image_len(source) + row..]
        } else {
            v
        };
        for point in 0..pass.points() {
            let entry = class.entry_at[block] + point * entries.len();
            for vectors in &outputs.vectors {
                let plane = outputs.h * outputs.w * PLANE;
                let (dm, tile_pitch, vector_pitch) = if self.dy_in_place {
                    let row = strip.row * outputs.w * PLANE;
                    let at = strip.image * outputs.image_len() + vectors.start * plane + row;
                    (&dy[at..], PLANE, plane)
                } else {
                    let at = point * outputs.m_pitch + vectors.start * outputs.lanes;
                    (&m[at..], outputs.width(), outputs.lanes)
                };
                let product = FilterProduct {
                    input: input[point * pass.point_pitch..].as_ptr(),
                    entries,
                    pieces: pieces[vectors.len()],
                    tiles,
                    dm: dm.as_ptr(),
                    tile_pitch,
                    vector_pitch,
                    vectors: vectors.len(),
                    out: sums[outputs.packed_at(pass, vectors, entry)..].as_mut_ptr(),
                    add,
                };
                // SAFETY: the tables hold offsets of this strip's tiles and of this block's entries
                // in V (or in the source), whose lengths the plan has fixed.
                unsafe { product.run(isa) }
            }
        }
    }
}

/// Offsets of the entries of a block, in the order of the packed weights.
fn entries(pass: &Pass, block: usize) -> Vec<u32> {
    let mut list = Vec::new();
    for (i, plane) in pass.planes[pass.blocks[block].clone()].iter().enumerate() {
        let at = match pass.in_place {
            true => plane.index * plane_len(&pass.sources[plane.source]),
            false => i * pass.plane_pitch,
        };
        let at = u32::try_from(at).expect("a block has fewer than 2^32 floats");
        for part in &pass.classes[0].part_at {
            list.extend((0..plane.channels as u32).map(|c| at + part + c));
        }
    }
    list
}
