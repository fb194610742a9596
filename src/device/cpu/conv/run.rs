//! Runs a pass from planes to planes: forward, and the gradient to data.

use std::ops::Range;

use super::outputs::Outputs;
use super::pass::Pass;
use super::product::{Product, tile_pieces};
use super::stage::{InputRow, OutputRow, copy_row};
use super::strips::Strip;
use crate::device::cpu::layout::{image_len, plane_len};
use crate::device::cpu::simd::Isa;
use crate::shape::PLANE;

/// A tensor that a pass writes.
pub(super) struct Target<'a> {
    pub outputs: &'a Outputs,
    /// Weights, in the order of `outputs`.
    pub packed: &'a [f32],
    /// The images of the pass alone.
    pub out: &'a mut [f32],
    /// Whether to add to `out`, or to set it.
    pub add: bool,
}

impl Pass {
    /// Floats of scratch that [`Pass::run`] needs to write `outputs`.
    pub fn scratch_len(&self, outputs: &Outputs) -> usize {
        let m = match self.transform {
            Some(_) => self.points() * outputs.m_pitch,
            None => 0,
        };
        self.v_len() + m
    }

    /// Convolves `images` of the sources (all images of each) to the target.
    pub fn run(
        &self,
        isa: Isa,
        sources: &[&[f32]],
        images: Range<usize>,
        mut target: Target,
        scratch: &mut [f32],
    ) {
        let outputs = target.outputs;
        assert_eq!(
            target.packed.len(),
            outputs.packed_len(self),
            "packed weights"
        );
        let out_len = images.len() * outputs.image_len();
        assert_eq!(target.out.len(), out_len, "output images");
        let (v, m) = scratch.split_at_mut(self.v_len());
        let first = images.start;
        for strip in self.strips(images) {
            let mut add = target.add && self.transform.is_none();
            for block in 0..self.blocks.len() {
                // The first block runs even where it holds zeros alone: it sets the sums.
                if block > 0 && !self.is_active(block, strip) {
                    continue;
                }
                if !self.in_place {
                    self.stage(isa, sources, block, strip, v);
                }
                self.multiply(isa, sources, block, strip, v, m, first, &mut target, add);
                add = true;
            }
            if self.transform.is_some() {
                self.finish(isa, strip, m, first, &mut target);
            }
        }
    }

    /// Brings a block of planes into V.
    pub fn stage(&self, isa: Isa, sources: &[&[f32]], block: usize, strip: Strip, v: &mut [f32]) {
        let [y, x] = self.axes;
        let [rows, cols] = self.positions;
        let used_rows = (strip.rows - 1) * y.step + y.extent;
        for (i, plane) in self.planes[self.blocks[block].clone()].iter().enumerate() {
            let source = &self.sources[plane.source];
            let pixels = plane_len(source);
            let v = &mut v[i * self.plane_pitch..][..self.points() * self.point_pitch];
            for image in 0..strip.images {
                let at = (strip.image + image) * image_len(source) + plane.index * pixels;
                let pixels = &sources[plane.source][at..][..pixels];
                // Between the taps of a stride larger than the filter nothing is read.
                for row in (0..used_rows).filter(|row| row % y.step < y.extent) {
                    let input_row = self.first_input_row(strip) + (row * y.pixels) as isize;
                    let v = &mut v[(image * rows + row) * cols * PLANE..];
                    if self.transform.is_none() {
                        let inside = usize::try_from(input_row)
                            .ok()
                            .filter(|&row| row < source.h);
                        let line = inside.map(|row| &pixels[row * source.w * PLANE..]);
                        let line = line.map_or(&[][..], |line| &line[..source.w * PLANE]);
                        copy_row(line, x.before, &mut v[..cols * PLANE]);
                        continue;
                    }
                    let row = InputRow {
                        plane: pixels.as_ptr(),
                        h: source.h,
                        w: source.w,
                        y: input_row,
                        x: -(x.before as isize),
                        step: x.pixels,
                        n: cols,
                        v: v.as_mut_ptr(),
                        point_pitch: self.point_pitch,
                    };
                    // SAFETY: `pixels` is h x w; `v` holds the row at every point, which the slices
                    // above have checked for the first and the plane as a whole.
                    unsafe { row.run(isa, [y.points, x.points]) }
                }
            }
        }
    }

    /// Products of a block of planes, into M (transform) or the target itself (plain sums).
    #[allow(clippy::too_many_arguments)] // one call; a struct would only repeat the names
    fn multiply(
        &self,
        isa: Isa,
        sources: &[&[f32]],
        block: usize,
        strip: Strip,
        v: &[f32],
        m: &mut [f32],
        first_image: usize,
        target: &mut Target,
        add: bool,
    ) {
        let outputs = target.outputs;
        let mut room = Pass::no_inputs();
        let inputs = match self.in_place {
            true => self.inputs_in_place(block, strip, sources, &mut room),
            false => self.inputs_in_v(block, v, &mut room),
        };
        let channels = self.block_channels(block);
        for (class, tile_at) in self.classes.iter().zip(&outputs.tile_at) {
            let tiles = self.tiles(class, strip);
            let pieces = tile_pieces(isa, tiles);
            for point in 0..self.points() {
                let entry = class.entry_at[block] + point * channels * class.parts.len();
                for vectors in &outputs.vectors {
                    let first_lane = vectors.start * outputs.lanes;
                    let first_plane = first_lane / PLANE;
                    let (out, out_plane) = if self.transform.is_some() {
                        (&mut m[point * outputs.m_pitch + first_lane..], PLANE)
                    } else {
                        let plane = outputs.h * outputs.w * PLANE;
                        let row = strip.row * self.axes[0].out_step * outputs.w * PLANE;
                        let image = (strip.image - first_image) * outputs.image_len();
                        (&mut target.out[image + first_plane * plane + row..], plane)
                    };
                    let product = Product {
                        inputs,
                        skip: point * self.point_pitch,
                        parts: &class.part_at,
                        tiles: &class.tile_at[..tiles],
                        out_tiles: &tile_at[..tiles],
                        pieces: pieces[vectors.len()],
                        weights: target.packed[outputs.packed_at(self, vectors, entry)..].as_ptr(),
                        out: out.as_mut_ptr(),
                        vectors: vectors.len(),
                        out_plane,
                        out_planes: match self.transform {
                            Some(_) => vectors.len() * outputs.lanes / PLANE,
                            None => outputs.planes - first_plane,
                        },
                        add,
                        next_weights: channels * class.parts.len() * vectors.len() * outputs.lanes,
                    };
                    // SAFETY: the tables hold offsets of this strip's tiles in V (or in the source)
                    // and in M (or in the target), whose lengths the plan has fixed.
                    unsafe { product.run(isa) }
                }
            }
        }
    }

    /// Transforms the sums of a strip to outputs.
    fn finish(
        &self,
        isa: Isa,
        strip: Strip,
        m: &mut [f32],
        first_image: usize,
        target: &mut Target,
    ) {
        let Outputs {
            planes,
            h,
            w,
            m_pitch,
            ..
        } = *target.outputs;
        let [y, x] = self.axes;
        for image in 0..strip.images {
            let at = (strip.image - first_image + image) * target.outputs.image_len();
            let out = &mut target.out[at..][..target.outputs.image_len()];
            for row in 0..strip.rows {
                let tile = (image * strip.rows + row) * x.tiles();
                let row = OutputRow {
                    m: m[tile * target.outputs.width()..].as_mut_ptr(),
                    point_pitch: m_pitch,
                    width: target.outputs.width(),
                    n: x.tiles(),
                    image: out.as_mut_ptr(),
                    planes,
                    h,
                    w,
                    y: (strip.row + row) * y.tile,
                };
                // SAFETY: M holds the tiles of the strip at every point; `out` is one image.
                unsafe { row.write(isa, [y.points, x.points], target.add) }
            }
        }
    }
}
