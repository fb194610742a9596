//! Plans a pass of a layer: transforms or plain sums, and the geometry, strips, blocks and tables
//! of offsets that follow from them.

use std::ops::Range;

use super::axis::{Axis, grid};
use super::blocks::{self, MAX_PLANES, Plane};
use super::pass::{Class, FilterPart, Pass};
use super::strips::strip;
use super::transform::CookToom;
use crate::device::cpu::layout::image_len;
use crate::graph::Shape;
use crate::shape::PLANE;

/// Floats of V, and of the sums of products (M) of a strip. Together they are larger than a
/// second-level cache of 512 KB; smaller ones read the weights too often from the third.
const V_FLOATS: usize = 96 << 10;
const M_FLOATS: usize = 64 << 10;
/// Tiles of a strip: of transforms, as many as M has room for between these; of plain sums.
const TRANSFORM_TILES: [usize; 2] = [8, 64];
const PLAIN_TILES: usize = 192;

/// Which pass of a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PassKind {
    /// From x to y.
    Forward,
    /// From x and dY to the gradient of the filter: the geometry of forward.
    Filter,
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
            (None, PassKind::Forward | PassKind::Filter) => {
                Axis::plain(layer.out[i], layer.filter[i], layer.stride[i])
            }
            (None, PassKind::Data) => Axis::gather(layer.out[i], layer.filter[i], layer.stride[i]),
        });
        let [rows, cols] = axes.map(|axis| axis.tiles());
        let points = axes[0].points * axes[1].points;
        let wanted = match transform {
            Some(_) => (M_FLOATS / (points * layer.out_planes * PLANE))
                .clamp(TRANSFORM_TILES[0], TRANSFORM_TILES[1]),
            None => PLAIN_TILES,
        };
        let strip = strip(rows, cols, layer.images, wanted);
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
            in_place: false,
            planes: blocks::concat(layer.sources),
        };
        pass.in_place = pass.can_read_in_place(layer.filter);
        pass.blocks = pass.cut_blocks(layer.kind);
        pass.classes = pass.classes(layer.kind, layer.filter);
        pass.count_entries();
        pass
    }

    /// Whether positions are pixels of sources without padding, and strips are contiguous.
    fn can_read_in_place(&self, filter: [usize; 2]) -> bool {
        let first = &self.sources[0];
        let covered = |axis: &Axis, size| axis.positions(axis.tiles()) <= size;
        filter == [1, 1]
            && self
                .sources
                .iter()
                .all(|source| (source.h, source.w) == (first.h, first.w))
            && (self.strip[0] == 1 || self.sources.len() == 1)
            && covered(&self.axes[0], first.h)
            && covered(&self.axes[1], first.w)
    }

    /// Blocks of planes of one source size that V has room for; those that are read in place by
    /// offsets from one address are of one source.
    fn cut_blocks(&self, kind: PassKind) -> Vec<Range<usize>> {
        let most = match self.in_place {
            true => MAX_PLANES,
            false => (V_FLOATS / self.plane_pitch).clamp(1, MAX_PLANES),
        };
        let size = |plane: &Plane| {
            let source = &self.sources[plane.source];
            (source.h, source.w)
        };
        let one_source = self.in_place && kind == PassKind::Filter;
        blocks::cut(&self.planes, most, |a, b| match one_source {
            true => a.source == b.source,
            false => size(a) == size(b),
        })
    }

    fn classes(&self, kind: PassKind, filter: [usize; 2]) -> Vec<Class> {
        let [y, x] = &self.axes;
        if self.transform.is_some() || kind != PassKind::Data {
            let parts = grid(y.extent, x.extent).map(|part| FilterPart {
                position: part,
                tap: part,
            });
            return vec![self.class([0, 0], [y.tiles(), x.tiles()], parts.collect())];
        }
        grid(y.out_step.min(y.outputs), x.out_step.min(x.outputs))
            .map(|phase| {
                let mut parts = Vec::new();
                for (row, ky) in y.phase(phase[0], filter[0]) {
                    let columns = x.phase(phase[1], filter[1]);
                    parts.extend(columns.map(|(column, kx)| FilterPart {
                        position: [row, column],
                        tap: [ky, kx],
                    }));
                }
                let tiles =
                    |axis: &Axis, phase: usize| (axis.outputs - phase).div_ceil(axis.out_step);
                self.class(phase, [tiles(y, phase[0]), tiles(x, phase[1])], parts)
            })
            .collect()
    }

    fn class(&self, phase: [usize; 2], tiles: [usize; 2], parts: Vec<FilterPart>) -> Class {
        let [y, x] = &self.axes;
        let source = &self.sources[0];
        let (image, width) = match self.in_place {
            true => (image_len(source), source.w),
            false => (
                self.positions[0] * self.positions[1] * PLANE,
                self.positions[1],
            ),
        };
        let at = |row: usize, column: usize| (row * width + column) * PLANE;
        let mut tile_at = Vec::new();
        for i in 0..self.strip[0] {
            tile_at.extend(
                grid(tiles[0].min(self.strip[1]), tiles[1])
                    .map(|[r, c]| offset(i * image + at(r * y.step, c * x.step))),
            );
        }
        let part_at = parts
            .iter()
            .map(|part| offset(at(part.position[0], part.position[1])));
        Class {
            phase,
            tiles,
            part_at: part_at.collect(),
            parts,
            tile_at,
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
