//! Strips: the images, or rows of tiles, that a pass works on together.

use std::ops::Range;

use super::plan::{Class, Pass};

/// Images, or rows of tiles of one image, that are worked on together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strip {
    pub image: usize,
    pub images: usize,
    pub row: usize,
    pub rows: usize,
}

/// Images and rows of a strip of about `wanted` tiles: rows of one image, or whole images.
pub(super) fn strip(rows: usize, cols: usize, images: usize, wanted: usize) -> [usize; 2] {
    let even = |n: usize, most: usize| n.div_ceil(n.div_ceil(most.clamp(1, n)));
    match wanted / (rows * cols) {
        0 | 1 => [1, even(rows, wanted / cols)],
        most => [even(images, most), rows],
    }
}

impl Pass {
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
}
