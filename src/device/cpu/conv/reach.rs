//! What the tiles of a class reach of an input: nothing is multiplied by the zeros of the padding.
//!
//! Inputs of a concatenation are padded to the largest. A small one among large ones is mostly
//! padding, and of a filter with a stride on a small image many taps lie outside, so tiles are sorted
//! by the parts of the filter that meet pixels. A sum takes these parts in the order of all parts:
//! results do not depend on which tiles are worked on together.

use std::ops::Range;

use super::axis::{Axis, grid};
use super::plan::offset;
use crate::shape::PLANE;

/// A tile of a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub image: u32,
    /// Floats from the first position of an image's plane to that of the tile's first part.
    pub at: u32,
    /// Its number in the strip, by image, row and column.
    pub number: u32,
}

/// Tiles that reach the input by the same parts.
pub(super) struct Group {
    /// Rows and columns of parts.
    pub parts: [Range<usize>; 2],
    /// Where its tiles begin, and how many a unit has: an image, or a row of tiles.
    pub first: usize,
    pub per_unit: usize,
}

/// The tiles of a class, sorted by the parts by which they reach an input of one size.
pub(super) struct Reach {
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Rows and columns of tiles that reach it at all; they are the first ones.
    pub tiles: [usize; 2],
    pub groups: Vec<Group>,
    /// By group, image, row and column.
    pub tile_at: Vec<Tile>,
}

/// A class, as its reach is planned.
pub(super) struct Reaching<'a> {
    pub axes: &'a [Axis; 2],
    /// Rows and columns of tiles in an image.
    pub tiles: [usize; 2],
    /// Rows and columns of parts, and the position of the first.
    pub parts: [usize; 2],
    pub first: [usize; 2],
    /// Images and rows of tiles of a strip.
    pub strip: [usize; 2],
}

/// Neighbouring rows (or columns) of tiles that reach the input by the same parts.
struct Run {
    tiles: Range<usize>,
    parts: Range<usize>,
}

impl Reaching<'_> {
    /// The tiles of plain sums, which read the input itself: a unit is an image.
    pub fn plain(&self, size: [usize; 2]) -> Reach {
        let [y, x] = [0, 1].map(|i| self.runs(i, size[i]));
        let mut reach = Reach {
            size,
            tiles: [&y, &x].map(|runs| reached(runs)),
            groups: Vec::new(),
            tile_at: Vec::new(),
        };
        for rows in &y {
            for cols in &x {
                let parts = [rows.parts.clone(), cols.parts.clone()];
                let tiles = [rows.tiles.clone(), cols.tiles.clone()];
                self.add(&mut reach, parts, tiles, size[1]);
            }
        }
        reach
    }

    /// The tiles of transforms, which read positions of V, `width` of them in a row: a unit is a row
    /// of tiles where strips are rows of one image, else an image.
    pub fn transformed(&self, size: [usize; 2], width: usize) -> Reach {
        let tiles = [0, 1].map(|i| reached(&self.runs(i, size[i])));
        let [rows, cols] = tiles;
        let by_rows = self.strip[0] == 1;
        let listed = if by_rows { self.strip[1] } else { rows };
        let mut tile_at = Vec::new();
        for image in 0..self.strip[0] {
            tile_at.extend(grid(listed, cols).map(|[row, col]| Tile {
                image: offset(image),
                at: offset((row * self.axes[0].step * width + col * self.axes[1].step) * PLANE),
                number: offset((image * self.strip[1] + row) * self.tiles[1] + col),
            }));
        }
        let group = Group {
            parts: self.parts.map(|parts| 0..parts),
            first: 0,
            per_unit: if by_rows { cols } else { rows * cols },
        };
        Reach {
            size,
            tiles,
            groups: vec![group],
            tile_at,
        }
    }

    fn runs(&self, axis: usize, size: usize) -> Vec<Run> {
        let parts =
            |tile| self.axes[axis].parts_inside(tile, self.first[axis], self.parts[axis], size);
        let mut runs: Vec<Run> = Vec::new();
        for tile in 0..self.tiles[axis] {
            let parts = parts(tile);
            match runs.last_mut() {
                Some(run) if run.parts == parts => run.tiles.end = tile + 1,
                _ => runs.push(Run {
                    tiles: tile..tile + 1,
                    parts,
                }),
            }
        }
        runs
    }

    fn add(
        &self,
        reach: &mut Reach,
        parts: [Range<usize>; 2],
        tiles: [Range<usize>; 2],
        width: usize,
    ) {
        let pixel = |axis: usize, tile: usize| {
            let Axis { step, before, .. } = self.axes[axis];
            // Without a part inside nothing is read.
            (tile * step + self.first[axis] + parts[axis].start).saturating_sub(before)
        };
        let first = reach.tile_at.len();
        for image in 0..self.strip[0] {
            let [rows, cols] = tiles.clone();
            for row in rows {
                reach.tile_at.extend(cols.clone().map(|col| Tile {
                    image: offset(image),
                    at: offset((pixel(0, row) * width + pixel(1, col)) * PLANE),
                    number: offset((image * self.tiles[0] + row) * self.tiles[1] + col),
                }));
            }
        }
        reach.groups.push(Group {
            parts,
            first,
            per_unit: tiles.map(|tiles| tiles.len()).iter().product(),
        });
    }
}

/// Rows or columns up to the last that reaches anything.
fn reached(runs: &[Run]) -> usize {
    let last = runs.iter().rev().find(|run| !run.parts.is_empty());
    last.map_or(0, |run| run.tiles.end)
}

impl Group {
    /// Whether its tiles reach nothing.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().any(|parts| parts.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Of every tile, by image, row and column: the parts by which it reaches an input, and the pixel
    /// where the first of them lies.
    type Found = HashMap<u32, ([Range<usize>; 2], u32)>;

    /// Says of each axis which pixel a tile reads by a part, if any: what `Axis` is for, anew.
    fn expected(
        reaching: &Reaching,
        size: [usize; 2],
        pixel: impl Fn(usize, usize, usize) -> Option<usize>,
    ) -> Found {
        let along = |axis: usize, tile: usize| {
            let pixels = (0..reaching.parts[axis]).map(|part| pixel(axis, tile, part));
            let inside: Vec<(usize, usize)> = pixels
                .enumerate()
                .filter_map(|(part, pixel)| Some((part, pixel?)))
                .filter(|&(_, pixel)| pixel < size[axis])
                .collect();
            let (first, last) = (inside.first().copied(), inside.last().copied());
            first
                .zip(last)
                .map(|((first, pixel), (last, _))| (first..last + 1, pixel))
        };
        let mut found = Found::new();
        for image in 0..reaching.strip[0] {
            for [row, col] in grid(reaching.tiles[0], reaching.tiles[1]) {
                let number = (image * reaching.tiles[0] + row) * reaching.tiles[1] + col;
                if let Some(((rows, y), (cols, x))) = along(0, row).zip(along(1, col)) {
                    found.insert(
                        offset(number),
                        ([rows, cols], offset((y * size[1] + x) * PLANE)),
                    );
                }
            }
        }
        found
    }

    fn found(reach: &Reach, images: usize) -> Found {
        let mut found = Found::new();
        let mut listed = 0;
        for group in &reach.groups {
            let tiles = &reach.tile_at[group.first..][..group.per_unit * images];
            listed += tiles.len();
            for tile in tiles.iter().filter(|_| !group.is_empty()) {
                let before = found.insert(tile.number, (group.parts.clone(), tile.at));
                assert!(before.is_none(), "a tile is in one group");
            }
        }
        assert_eq!(listed, reach.tile_at.len(), "groups hold all tiles");
        found
    }

    #[test]
    fn tiles_reach_what_a_filter_with_a_stride_meets() {
        let cases: [(usize, usize, usize); 6] = [
            (1, 1, 5),
            (3, 1, 6),
            (5, 2, 11),
            (7, 3, 11),
            (1, 3, 7),
            (7, 2, 3),
        ];
        for (taps, stride, input) in cases {
            let outputs = input.div_ceil(stride);
            for size in 1..=input {
                // Rows as given, columns of a filter of 3 taps that keeps the size.
                let axes = [Axis::plain(outputs, taps, stride), Axis::plain(input, 3, 1)];
                let reaching = Reaching {
                    axes: &axes,
                    tiles: [outputs, input],
                    parts: [taps, 3],
                    first: [0, 0],
                    strip: [2, outputs],
                };
                let pixel = |axis: usize, tile: usize, tap: usize| {
                    let (taps, stride) = [(taps, stride), (3, 1)][axis];
                    (tile * stride + tap).checked_sub(taps / 2)
                };
                let sizes = [size, input.min(size + 1)];
                let reach = reaching.plain(sizes);
                let expected = expected(&reaching, sizes, pixel);
                assert_eq!(
                    found(&reach, 2),
                    expected,
                    "{taps} taps, stride {stride}, {size} of {input}"
                );
                assert_eq!(
                    reach.tile_at.len(),
                    2 * outputs * input,
                    "every tile is listed"
                );
            }
        }
    }

    #[test]
    fn gradients_reach_the_outputs_that_read_a_pixel() {
        let cases: [(usize, usize, usize); 5] =
            [(3, 2, 9), (7, 3, 11), (5, 2, 4), (1, 3, 7), (7, 2, 2)];
        for (taps, stride, input) in cases {
            let outputs = input.div_ceil(stride);
            let axis = Axis::gather(input, taps, stride);
            for phase in 0..stride.min(input) {
                let parts: Vec<(usize, usize)> = axis.phase(phase, taps).collect();
                let tiles = (input - phase).div_ceil(stride);
                let axes = [axis, Axis::plain(1, 1, 1)];
                let reaching = Reaching {
                    axes: &axes,
                    tiles: [tiles, 1],
                    parts: [parts.len(), 1],
                    first: [parts.first().map_or(0, |part| part.0), 0],
                    strip: [1, tiles],
                };
                // Output o reads pixel p by tap t where o stride + t is p + taps / 2.
                let pixel = |axis: usize, tile: usize, part: usize| {
                    if axis == 1 {
                        return Some(0);
                    }
                    let ahead = (phase + tile * stride + taps / 2).checked_sub(parts[part].1)?;
                    assert_eq!(ahead % stride, 0, "a tap of the phase");
                    Some(ahead / stride)
                };
                let expected = expected(&reaching, [outputs, 1], pixel);
                let reach = reaching.plain([outputs, 1]);
                assert_eq!(
                    found(&reach, 1),
                    expected,
                    "{taps} taps, stride {stride}, phase {phase}"
                );
            }
        }
    }
}
