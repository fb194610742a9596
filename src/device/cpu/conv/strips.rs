//! Strips: the images, or rows of tiles, that a pass works on together.

/// Tiles of a strip of plain sums at least, images of one at most, and strips of a batch at least.
const PLAIN_TILES: usize = 1024;
const MOST_IMAGES: usize = 8;
const MANY_THREADS: usize = 16;

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

/// Images and rows of a strip of plain sums: whole images, so many that tiles at the border, which few
/// parts of a filter reach, fill register tiles together, and so few that threads can share a batch.
pub(super) fn plain_strip(rows: usize, cols: usize, images: usize) -> [usize; 2] {
    let most = PLAIN_TILES.div_ceil(rows * cols).clamp(1, MOST_IMAGES);
    let shared = images.div_ceil(MANY_THREADS);
    [most.min(shared).max(1), rows]
}
