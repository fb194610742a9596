//! Strips: the images, or rows of tiles, that a pass works on together.

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
