//! Plans a pass of a layer: transforms or plain sums, and the geometry, strips, blocks and tables
//! of offsets that follow from them.

use std::ops::Range;

use super::axis::{Axis, grid};
use super::blocks::{self, MAX_PLANES, Plane};
use super::pass::{Block, Class, Pass};
use super::reach::{Reach, Reaching};
use super::strips::{plain_strip, strip};
use super::transform::CookToom;
use crate::graph::Shape;
use crate::shape::PLANE;

/// Floats of V, and of the sums of products (M) of a strip. Together they are larger than a
/// second-level cache of 512 KB; smaller ones read the weights too often from the third.
#[allow(non_snake_case)]
const V_FLOATS: usize = 96 << 10;
const M_FLOATS: usize = 64 << 10;
/// Tiles of a strip of transforms: as many as M has room for between these.
const TRANSFORM_TILES: [usize; 2] = [8, 64];
/// Floats of the weights of a block of planes, for plain sums: every tile reads them all.
const W_FLOATS: usize = 48 << 10;

/// Which pass of a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PassKind {
    /// From x to y.
    Forward,
    /// From dY to dx.
    Data,
}

/// A layer, as a pass sees it.
pub(super) struct PassLayer<'a> {
    pub kind: PassKind,
    pub sources: &'a [Shape],
    /// Height and width of what comes out.
    pub out: [usize; 2],
    /// Planes that come out, at most, for one V.
    pub out_planes: usize,
    pub filter: [usize; 2],
    pub stride: [usize; 2],
    /// Images of a batch.
    pub images: usize,
    pub allow_transform: bool,
}

impl Pass {
    pub fn new(layer: PassLayer) -> Pass {
        let transform = layer.transform();
        let axes: [Axis; 2] = std::array::from_fn(|i| match (transform, layer.kind) {
            (Some(schemes), _) => Axis::transform(layer.out[i], schemes[i]),
            (None, PassKind::Forward) => {
                Axis::plain(layer.out[i], layer.filter[i], layer.stride[i])
            }
            (None, PassKind::Data) => Axis::gather(layer.out[i], layer.filter[i], layer.stride[i]),
        });
        let [rows, cols] = axes.map(|axis| axis.tiles());
        let points = axes[0].points * axes[1].points;
        let strip = match transform {
            Some(_) => {
                let wanted = M_FLOATS / (points * layer.out_planes * PLANE);
                let wanted = wanted.clamp(TRANSFORM_TILES[0], TRANSFORM_TILES[1]);
                strip(rows, cols, layer.images, wanted)
            }
            None => plain_strip(rows, cols, layer.images),
        };
        let positions = [axes[0].positions(strip[1]), axes[1].positions(cols)];
        let point_pitch = odd_lines(strip[0] * positions[0] * positions[1] * PLANE);
        let mut pass = Pass {
            transform,
            axes,
            sources: layer.sources.to_vec(),
            blocks: Vec::new(),
            classes: Vec::new(),
            strip,
            positions,
            point_pitch,
            plane_pitch: odd_lines(points * point_pitch),
            entries: 0,
            planes: blocks::concat(layer.sources),
        };
        let mut sizes: Vec<[usize; 2]> = layer.sources.iter().map(|s| [s.h, s.w]).collect();
        // The first block of transforms runs on all tiles, which it sets.
        sizes.insert(
            0,
            [0, 1].map(|i| sizes.iter().map(|size| size[i]).max().unwrap_or(1)),
        );
        pass.classes = pass.classes(layer.kind, layer.filter, &sizes);
        pass.blocks = pass.cut_blocks(layer.out_planes);
        pass.count_entries();
        pass
    }

    /// Blocks of planes of one source size, as many as V has room for or weights should take.
    fn cut_blocks(&self, out_planes: usize) -> Vec<Block> {
        let size = |plane: &Plane| {
            let source = &self.sources[plane.source];
            [source.h, source.w]
        };
        let room = match self.transform {
            Some(_) => V_FLOATS / self.plane_pitch,
            None => {
                let parts: usize = self.classes.iter().map(|class| class.parts.len()).sum();
                W_FLOATS / (parts * PLANE * out_planes * PLANE).max(1)
            }
        };
        let ranges = blocks::cut(&self.planes, room.clamp(1, MAX_PLANES), |a, b| {
            size(a) == size(b)
        });
        let reaches = &self.classes[0].reaches;
        let block = |(i, planes): (usize, Range<usize>)| {
            let size = size(&self.planes[planes.start]);
            let known = reaches.iter().position(|reach| reach.size == size);
            let whole = i == 0 && self.transform.is_some();
            Block {
                reach: if whole {
                    0
                } else {
                    known.expect("every size has a reach")
                },
                planes,
            }
        };
        ranges.into_iter().enumerate().map(block).collect()
    }

    fn classes(&self, kind: PassKind, filter: [usize; 2], sizes: &[[usize; 2]]) -> Vec<Class> {
        let [y, x] = &self.axes;
        if self.transform.is_some() || kind != PassKind::Data {
            let parts = [y.extent, x.extent].map(|n| (0..n).map(|part| (part, part)).collect());
            return vec![self.class([0, 0], [y.tiles(), x.tiles()], parts, sizes)];
        }
        let tiles = |axis: &Axis, phase: usize| (axis.outputs - phase).div_ceil(axis.out_step);
        grid(y.out_step.min(y.outputs), x.out_step.min(x.outputs))
            .map(|phase| {
                let parts = [
                    y.phase(phase[0], filter[0]).collect(),
                    x.phase(phase[1], filter[1]).collect(),
                ];
                self.class(
                    phase,
                    [tiles(y, phase[0]), tiles(x, phase[1])],
                    parts,
                    sizes,
                )
            })
            .collect()
    }

    /// `parts`: of each axis, positions and taps.
    fn class(
        &self,
        phase: [usize; 2],
        tiles: [usize; 2],
        parts: [Vec<(usize, usize)>; 2],
        sizes: &[[usize; 2]],
    ) -> Class {
        let reaching = Reaching {
            axes: &self.axes,
            tiles,
            parts: [parts[0].len(), parts[1].len()],
            first: [&parts[0], &parts[1]].map(|parts| parts.first().map_or(0, |part| part.0)),
            strip: self.strip,
        };
        let mut reaches: Vec<Reach> = Vec::new();
        for &size in sizes {
            if reaches.iter().any(|reach| reach.size == size) {
                continue;
            }
            reaches.push(match self.transform {
                Some(_) => reaching.transformed(size, self.positions[1]),
                None => reaching.plain(size),
            });
        }
        let [rows, cols] = &parts;
        Class {
            phase,
            tiles,
            grid: reaching.parts,
            parts: grid(rows.len(), cols.len())
                .map(|[row, col]| [rows[row].1, cols[col].1])
                .collect(),
            reaches,
            entry_at: Vec::new(),
        }
    }

    fn count_entries(&mut self) {
        let mut at = 0;
        for block in 0..self.blocks.len() {
            let channels = self.block_channels(block);
            let points = self.points();
            for class in &mut self.classes {
                class.entry_at.push(at);
                at += points * channels * class.parts.len();
            }
        }
        self.entries = at;
    }
}

impl PassLayer<'_> {
    /// The transforms, where they are allowed and save enough to pay for themselves.
    fn transform(&self) -> Option<[CookToom; 2]> {
        let schemes = [
            CookToom::new(self.filter[0])?,
            CookToom::new(self.filter[1])?,
        ];
        let channels: usize = self.sources.iter().map(Shape::c).sum();
        let products = |i: usize| {
            let CookToom {
                tile,
                points,
                parts,
                ..
            } = schemes[i];
            self.out[i].div_ceil(tile) * points * parts
        };
        let plain = self.out[0] * self.out[1] * self.filter[0] * self.filter[1];
        let worth = products(0) * products(1) * 5 <= plain * 4;
        (self.allow_transform
            && self.stride == [1, 1]
            && self.filter != [1, 1]
            && channels >= 8
            && worth)
            .then_some(schemes)
    }
}

/// Floats rounded up to an odd number of cache lines, so that neighbours fall into different sets.
pub(super) fn odd_lines(floats: usize) -> usize {
    (floats.div_ceil(16) | 1) * 16
}

pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a strip has fewer than 2^32 floats")
}
