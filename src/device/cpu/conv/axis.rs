//! One axis of a pass: where positions, tiles and taps lie along it.

use std::ops::Range;

use super::transform::CookToom;

/// One axis of a pass: from input pixels to positions of V to tiles of outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Output pixels.
    pub outputs: usize,
    /// Neighbouring outputs that a tile computes.
    pub tile: usize,
    /// Output pixels from a tile to the next of its phase.
    pub out_step: usize,
    /// Points of the transform.
    pub points: usize,
    /// Zeros before the first input pixel.
    pub before: usize,
    /// Input pixels from a position to the next.
    pub pixels: usize,
    /// Positions from a tile to the next.
    pub step: usize,
    /// Positions that a tile reads.
    pub extent: usize,
}

impl Axis {
    /// A transform of a filter that keeps the size.
    pub fn transform(outputs: usize, scheme: CookToom) -> Axis {
        Axis {
            outputs,
            tile: scheme.tile,
            out_step: scheme.tile,
            points: scheme.points,
            before: scheme.taps / 2,
            pixels: scheme.tile,
            step: 1,
            extent: scheme.parts,
        }
    }

    /// Plain sums over `taps`.
    pub fn plain(outputs: usize, taps: usize, stride: usize) -> Axis {
        let before = taps / 2;
        Axis {
            outputs,
            tile: 1,
            out_step: 1,
            points: 1,
            before,
            pixels: 1,
            step: stride,
            extent: taps,
        }
    }

    /// The gradient to data by plain sums: outputs are the pixels of x, inputs those of dY.
    pub fn gather(outputs: usize, taps: usize, stride: usize) -> Axis {
        let (before, after) = (taps / 2 / stride, (taps / 2).div_ceil(stride));
        Axis {
            before,
            out_step: stride,
            extent: before + 1 + after,
            ..Axis::plain(outputs, taps, 1)
        }
    }

    /// Tiles of the first phase, which has the most.
    pub fn tiles(&self) -> usize {
        self.outputs.div_ceil(self.out_step)
    }

    /// Positions that `tiles` neighbouring tiles read.
    pub fn positions(&self, tiles: usize) -> usize {
        (tiles - 1) * self.step + self.extent
    }

    /// The positions and taps that meet phase `phase` of a gather, each position next to the one
    /// before.
    pub fn phase(&self, phase: usize, taps: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (stride, before) = (self.out_step, self.before);
        // Pixel p of x meets tap t in pixel (p + taps/2 - t) / stride of dY, if that is whole.
        (0..taps).rev().filter_map(move |tap| {
            let ahead = phase + taps / 2 + before * stride;
            let distance = ahead.checked_sub(tap)?;
            (distance % stride == 0).then_some((distance / stride, tap))
        })
    }

    /// The parts of a filter, `parts` of them from position `first`, by which a tile reaches pixels of
    /// an input of `size`; by the others it reads the padding alone.
    pub fn parts_inside(
        &self,
        tile: usize,
        first: usize,
        parts: usize,
        size: usize,
    ) -> Range<usize> {
        let inside = |&part: &usize| {
            // Of the position's pixels, the first and the one behind the last, behind the padding.
            let begin = (tile * self.step + first + part) * self.pixels;
            begin < self.before + size && begin + self.points > self.before
        };
        let mut inside = (0..parts).filter(inside);
        inside
            .next()
            .map_or(0..0, |first| first..inside.next_back().unwrap_or(first) + 1)
    }

    /// The tiles, of `tiles`, that reach pixels of an input of `size` by the position `position`.
    pub fn tiles_inside(&self, position: usize, tiles: usize, size: usize) -> Range<usize> {
        let inside = |&tile: &usize| !self.parts_inside(tile, position, 1, size).is_empty();
        let mut inside = (0..tiles).filter(inside);
        inside
            .next()
            .map_or(0..0, |first| first..inside.next_back().unwrap_or(first) + 1)
    }
}

/// All pairs below `rows`, `cols`, by row.
pub(super) fn grid(rows: usize, cols: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..rows).flat_map(move |row| (0..cols).map(move |col| [row, col]))
}
