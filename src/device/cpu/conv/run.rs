//! Runs a pass from planes to planes: forward, and the gradient to data.

use std::ops::Range;

use super::outputs::Outputs;
use super::pass::Pass;
use super::product::Product;
use super::stage::{InputRow, OutputRow};
use super::strips::Strip;
use crate::device::cpu::layout::{image_len, plane_len};
use crate::device::cpu::simd::Isa;
use crate::shape::PLANE;

/// Floats from a weight to that which is asked for ahead of time, by plain sums: a page's half, which
/// is further than the second-level cache takes to answer.
const PLAIN_AHEAD: usize = 512;

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
                // The first block runs even where it reaches nothing: it sets the sums.
                if self.transform.is_some() {
                    if block > 0 && !self.is_reached(block, strip) {
                        continue;
                    }
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

    /// Whether a block of transforms holds anything but zeros in a strip: a small source has no rows
    /// at the bottom.
    pub fn is_reached(&self, block: usize, strip: Strip) -> bool {
        let reach = &self.classes[0].reaches[self.blocks[block].reach];
        self.reached_rows(reach, strip) > 0
    }

    /// Transforms a block of planes to V, as far as its tiles reach.
    pub fn stage(&self, isa: Isa, sources: &[&[f32]], block: usize, strip: Strip, v: &mut [f32]) {
        let [y, x] = self.axes;
        let [rows, cols] = self.positions;
        let reach = &self.classes[0].reaches[self.blocks[block].reach];
        let [used_rows, used_cols] = [(y, self.reached_rows(reach, strip)), (x, reach.tiles[1])]
            .map(|(axis, tiles)| match tiles {
                0 => 0,
                tiles => axis.positions(tiles),
            });
        let planes = &self.planes[self.blocks[block].planes.clone()];
        for (i, plane) in planes.iter().enumerate() {
            let source = &self.sources[plane.source];
            let pixels = plane_len(source);
            let v = &mut v[i * self.plane_pitch..][..self.points() * self.point_pitch];
            for image in 0..strip.images {
                let at = (strip.image + image) * image_len(source) + plane.index * pixels;
                let pixels = &sources[plane.source][at..][..pixels];
                for row in 0..used_rows {
                    let row = InputRow {
                        plane: pixels.as_ptr(),
                        h: source.h,
                        w: source.w,
                        y: self.first_input_row(strip) + (row * y.pixels) as isize,
                        x: -(x.before as isize),
                        step: x.pixels,
                        row_step: y.pixels,
                        ahead: plane_len(source),
                        n: used_cols,
                        v: v[(image * rows + row) * cols * PLANE..].as_mut_ptr(),
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
        let inputs = match self.transform {
            Some(_) => self.inputs_in_v(block, v, &mut room),
            None => self.inputs_in_place(block, strip, sources, &mut room),
        };
        let (channels, number) = (self.block_channels(block), self.blocks[block].reach);
        for (class, out_tiles) in self.classes.iter().zip(&outputs.tile_at) {
            let (reach, out_tiles) = (&class.reaches[number], &out_tiles[number]);
            let units = self.units(reach, strip);
            for point in 0..self.points() {
                let entry = class.entry_at[block] + point * channels * class.parts.len();
                for vectors in &outputs.vectors {
                    let first_lane = vectors.start * outputs.lanes;
                    let first_plane = first_lane / PLANE;
                    let (out, out_plane) = if self.transform.is_some() {
                        (&mut m[point * outputs.m_pitch + first_lane..], PLANE)
                    } else {
                        let plane = outputs.h * outputs.w * PLANE;
                        let image = (strip.image - first_image) * outputs.image_len();
                        (&mut target.out[image + first_plane * plane..], plane)
                    };
                    let weights = &target.packed[outputs.packed_at(self, vectors, entry)..];
                    for group in reach
                        .groups
                        .iter()
                        .filter(|group| !(add && group.is_empty()))
                    {
                        let tiles = group.first..group.first + group.per_unit * units;
                        let product = Product {
                            inputs,
                            skip: point * self.point_pitch,
                            parts: &group.parts,
                            part_cols: class.grid[1],
                            all_parts: class.parts.len(),
                            row_pitch: self.row_pitch(block),
                            tiles: &reach.tile_at[tiles.clone()],
                            out_tiles: &out_tiles[tiles],
                            weights: weights.as_ptr(),
                            out: out.as_mut_ptr(),
                            vectors: vectors.len(),
                            out_plane,
                            out_planes: match self.transform {
                                Some(_) => vectors.len() * outputs.lanes / PLANE,
                                None => outputs.planes - first_plane,
                            },
                            add,
                            ahead: match self.transform {
                                Some(_) => {
                                    channels * class.parts.len() * vectors.len() * outputs.lanes
                                }
                                None => PLAIN_AHEAD,
                            },
                        };
                        // SAFETY: the tables hold offsets of this strip's tiles in V (or in the
                        // source) and in M (or in the target), whose lengths the plan has fixed.
                        unsafe { product.run(isa) }
                    }
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
