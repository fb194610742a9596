//! The gradient to the filter: one sum per fixed chunk of images, added in the order of the chunks.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::axis::{Axis, grid};
use super::blocks::Plane;
use super::outputs::Outputs;
use super::pack::{MAX_LANES, MAX_TAPS, unpack};
use super::pass::Pass;
use super::product::FilterProduct;
use super::stage::OutputRow;
use super::strips::Strip;
use crate::device::cpu::layout::{image_len, plane_len};
use crate::device::cpu::simd::Isa;
use crate::shape::PLANE;

/// Chunks of a batch at most, images of a chunk at least, and tiles: by transforms, sums of a chunk are
/// turned back to taps, which costs about as much as the products of 10 tiles; plain sums are read and
/// written anew, with more taps a tile.
const MAX_CHUNKS: usize = 16;
const MIN_IMAGES: usize = 8;
const MIN_TRANSFORMED: usize = 64;
const MIN_PLAIN: usize = 1024;

/// The plan of the gradient to the filter.
pub(super) struct FilterPass {
    pass: Arc<Pass>,
    /// dY, in the order of the pass.
    outputs: Arc<Outputs>,
    /// Whether dM is dY itself: plain sums, vectors of one plane.
    dy_in_place: bool,
    /// Of each block of planes, the offset of each of its entries in V; none for plain sums.
    entries: OnceLock<Vec<Vec<u32>>>,
    images: usize,
    /// Images of a chunk.
    chunk: usize,
    tasks: Vec<Blocks>,
    /// Filters, input channels and taps.
    shape: [usize; 3],
}

/// Blocks of planes whose gradient is a task of its own, for each chunk: one block of plain sums, all
/// blocks of transforms, which share dM.
struct Blocks {
    blocks: Range<usize>,
    channels: Range<usize>,
}

/// What the gradient of some blocks is made of.
pub(super) struct FilterTask<'a> {
    pub sources: &'a [&'a [f32]],
    pub dy: &'a [f32],
    pub images: Range<usize>,
    /// Number of the task within its chunk.
    pub number: usize,
}

impl FilterPass {
    pub fn new(
        pass: Arc<Pass>,
        outputs: Arc<Outputs>,
        images: usize,
        shape: [usize; 3],
    ) -> FilterPass {
        let tiles = pass.classes[0].tiles[0] * pass.classes[0].tiles[1];
        let min_tiles = match pass.transform {
            Some(_) => MIN_TRANSFORMED,
            None => MIN_PLAIN,
        };
        let least = min_tiles.div_ceil(tiles).max(MIN_IMAGES);
        let chunks = (images / least).clamp(1, MAX_CHUNKS);
        let n_blocks = pass.blocks.len();
        let together = match pass.transform {
            Some(_) => n_blocks,
            None => 1,
        };
        let ranges = (0..n_blocks)
            .step_by(together)
            .map(|block| block..block + together);
        let mut first = 0;
        let task = |blocks: Range<usize>| {
            let channels: usize = blocks.clone().map(|block| pass.block_channels(block)).sum();
            first += channels;
            Blocks {
                blocks,
                channels: first - channels..first,
            }
        };
        FilterPass {
            tasks: ranges.map(task).collect(),
            dy_in_place: pass.transform.is_none() && outputs.lanes == PLANE,
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
        self.entries.get_or_init(|| match self.pass.transform {
            Some(_) => {
                let blocks = 0..self.pass.blocks.len();
                blocks.map(|block| entries(&self.pass, block)).collect()
            }
            None => Vec::new(),
        })
    }

    /// Floats of scratch for a task: V, dM and the packed sums.
    pub fn scratch_len(&self) -> usize {
        let [v, m, sums] = self.scratch_parts();
        v + m + sums
    }

    /// Floats of the sums of all chunks.
    pub fn partials_len(&self) -> usize {
        self.images.div_ceil(self.chunk) * self.partial_len()
    }

    /// Floats of the sum of a chunk, of each task `[vector][channel][tap][lane]`.
    fn partial_len(&self) -> usize {
        self.shape[1] * self.shape[2] * self.outputs.width()
    }

    /// All tasks with the sums that each writes, in `partials`.
    pub fn tasks<'a>(
        &'a self,
        partials: &'a mut [f32],
    ) -> impl Iterator<Item = (Range<usize>, usize, &'a mut [f32])> {
        let chunks = (0..self.images).step_by(self.chunk);
        let mut rest = partials;
        chunks
            .flat_map(|first| (0..self.tasks.len()).map(move |number| (first, number)))
            .map(move |(first, number)| {
                let len = self.tasks[number].channels.len() * self.shape[2] * self.outputs.width();
                let (sums, after) = std::mem::take(&mut rest).split_at_mut(len);
                rest = after;
                (first..(first + self.chunk).min(self.images), number, sums)
            })
    }

    fn scratch_parts(&self) -> [usize; 3] {
        let m = match self.dy_in_place {
            true => 0,
            false => self.pass.points() * self.outputs.m_pitch,
        };
        let sums = match self.pass.transform {
            Some(_) => self.outputs.packed_len(&self.pass),
            None => 0,
        };
        [self.pass.v_len(), m, sums]
    }

    /// The gradient of some images, `partial` overwritten.
    pub fn run(&self, isa: Isa, task: FilterTask, scratch: &mut [f32], partial: &mut [f32]) {
        let [v_len, m_len, sums_len] = self.scratch_parts();
        let (v, rest) = scratch.split_at_mut(v_len);
        let (m, rest) = rest.split_at_mut(m_len);
        let sums = &mut rest[..sums_len];
        for (i, strip) in self.pass.strips(task.images.clone()).enumerate() {
            if !self.dy_in_place {
                self.transform_dy(isa, task.dy, strip, m);
            }
            if self.pass.transform.is_none() {
                self.plain(isa, &task, strip, m, partial, i > 0);
                continue;
            }
            for block in 0..self.pass.blocks.len() {
                // The first strip runs even on zeros: it sets the sums.
                if i > 0 && !self.pass.is_reached(block, strip) {
                    continue;
                }
                self.pass.stage(isa, task.sources, block, strip, v);
                self.transformed(isa, block, strip, v, m, sums, i > 0);
            }
        }
        if self.pass.transform.is_some() {
            unpack(isa, &self.pass, &self.outputs, sums, partial);
        }
    }

    /// Adds the sums of all chunks, in order, for the filters of one vector: `dw` is their part of
    /// the canonical gradient.
    pub fn add_partials(&self, vector: usize, partials: &[f32], dw: &mut [f32]) {
        let [_, channels, taps] = self.shape;
        let lanes = self.outputs.lanes;
        let mut room = [0.0; MAX_TAPS * MAX_LANES];
        let sums = &mut room[..taps * lanes];
        for Blocks {
            channels: of_task, ..
        } in &self.tasks
        {
            for channel in of_task.clone() {
                let before = of_task.start * self.outputs.width() / lanes;
                let at = before + vector * of_task.len() + channel - of_task.start;
                let at = at * sums.len();
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

    /// Products of a block in V and dM, into the packed sums.
    #[allow(clippy::too_many_arguments)] // one call; a struct would only repeat the names
    fn transformed(
        &self,
        isa: Isa,
        block: usize,
        strip: Strip,
        v: &[f32],
        m: &[f32],
        sums: &mut [f32],
        add: bool,
    ) {
        let (pass, outputs) = (&self.pass, &self.outputs);
        let [y, x] = &pass.axes;
        let class = &pass.classes[0];
        let reach = &class.reaches[pass.blocks[block].reach];
        let entries = &self.entries()[block];
        let width = outputs.width();
        for point in 0..pass.points() {
            let entry = class.entry_at[block] + point * entries.len();
            for vectors in &outputs.vectors {
                let product = FilterProduct {
                    input: v[point * pass.point_pitch..].as_ptr(),
                    entries,
                    tiles: [
                        strip.images,
                        pass.reached_rows(reach, strip),
                        reach.tiles[1],
                    ],
                    input_pitch: [
                        pass.v_image(),
                        pass.row_pitch(block) * y.step,
                        PLANE * x.step,
                    ],
                    dm: m[point * outputs.m_pitch + vectors.start * outputs.lanes..].as_ptr(),
                    dm_pitch: [strip.rows * x.tiles() * width, x.tiles() * width, width],
                    dm_vector: outputs.lanes,
                    vectors: vectors.len(),
                    out: sums[outputs.packed_at(pass, vectors, entry)..].as_mut_ptr(),
                    out_entry: vectors.len() * outputs.lanes,
                    out_vector: outputs.lanes,
                    add,
                };
                // SAFETY: the box of tiles and the block's entries lie in V and dM, whose lengths
                // the plan has fixed.
                unsafe { product.run(isa) }
            }
        }
    }

    /// Products of the planes of a task's block, where they lie, and dY, into `partial`: tap by tap
    /// the tiles that reach the plane by it.
    fn plain(
        &self,
        isa: Isa,
        task: &FilterTask,
        strip: Strip,
        m: &[f32],
        partial: &mut [f32],
        add: bool,
    ) {
        let Blocks { blocks, channels } = &self.tasks[task.number];
        let planes = self.pass.planes[self.pass.blocks[blocks.start].planes.clone()].iter();
        let filter = self.shape[2] * self.outputs.lanes;
        for plane in planes {
            let first = plane.channel - channels.start;
            for tap in 0..self.shape[2] {
                let sums = &mut partial[first * filter + tap * self.outputs.lanes..];
                let of = [channels.len() * filter, filter];
                self.plain_tap(isa, task, plane, tap, strip, m, sums, of, add);
            }
        }
    }

    /// `sums`: `[vector][channel][..][lane]`, vectors and channels `[vector, channel]` floats apart.
    #[allow(clippy::too_many_arguments)] // one call; a struct would only repeat the names
    fn plain_tap(
        &self,
        isa: Isa,
        task: &FilterTask,
        plane: &Plane,
        tap: usize,
        strip: Strip,
        m: &[f32],
        sums: &mut [f32],
        [out_vector, out_entry]: [usize; 2],
        add: bool,
    ) {
        let (pass, outputs) = (&self.pass, &self.outputs);
        let (class, source) = (&pass.classes[0], &pass.sources[plane.source]);
        let tap = [tap / class.grid[1], tap % class.grid[1]];
        let [y, x] = &pass.axes;
        let rows = y.tiles_inside(tap[0], class.tiles[0], source.h);
        let cols = x.tiles_inside(tap[1], class.tiles[1], source.w);
        // Without tiles nothing is read.
        let pixel = |axis: &Axis, first: usize, tap: usize| {
            (first * axis.step + tap).saturating_sub(axis.before)
        };
        let [row, col] = [pixel(y, rows.start, tap[0]), pixel(x, cols.start, tap[1])];
        let pixel = plane.index * plane_len(source) + (row * source.w + col) * PLANE;
        let input = &task.sources[plane.source][strip.image * image_len(source)..];
        let (dm, dm_pitch, dm_vector) = match self.dy_in_place {
            true => {
                let pitch = [outputs.image_len(), outputs.w * PLANE, PLANE];
                let dy = &task.dy[strip.image * outputs.image_len()..];
                (dy, pitch, outputs.h * outputs.w * PLANE)
            }
            false => {
                let width = outputs.width();
                let row = class.tiles[1] * width;
                (m, [class.tiles[0] * row, row, width], outputs.lanes)
            }
        };
        let first_tile = rows.start * dm_pitch[1] + cols.start * dm_pitch[2];
        for vectors in &outputs.vectors {
            let product = FilterProduct {
                input: input.as_ptr().wrapping_add(pixel),
                entries: &FIRST_CHANNELS[..plane.channels],
                tiles: [strip.images, rows.len(), cols.len()],
                input_pitch: [image_len(source), y.step * source.w * PLANE, x.step * PLANE],
                dm: dm
                    .as_ptr()
                    .wrapping_add(first_tile + vectors.start * dm_vector),
                dm_pitch,
                dm_vector,
                vectors: vectors.len(),
                out: sums[vectors.start * out_vector..].as_mut_ptr(),
                out_entry,
                out_vector,
                add,
            };
            // SAFETY: the box of tiles lies in the source, by this tap, and in dM; the sums are of all
            // channels of the plane and of all vectors.
            unsafe { product.run(isa) }
        }
    }
}

/// Offsets of the channels of a pixel.
static FIRST_CHANNELS: [u32; PLANE] = [0, 1, 2, 3, 4, 5, 6, 7];

/// Offsets of the entries of a block of V, in the order of the packed weights.
fn entries(pass: &Pass, block: usize) -> Vec<u32> {
    let class = &pass.classes[0];
    let planes = pass.planes[pass.blocks[block].planes.clone()].iter();
    let mut list = Vec::new();
    for (i, plane) in planes.enumerate() {
        let at = u32::try_from(i * pass.plane_pitch).expect("a block has fewer than 2^32 floats");
        for [row, col] in grid(class.grid[0], class.grid[1]) {
            let part = (row * pass.positions[1] + col) * PLANE;
            list.extend((0..plane.channels as u32).map(|c| at + part as u32 + c));
        }
    }
    list
}
