//! Products of matrices: the right factor is packed into panels as wide as a register tile, which takes
//! one panel and some rows of the left factor. What is computed of a tile depends on the sizes alone, so
//! results do not depend on the number of threads.

use std::ops::Range;

use super::simd::{Isa, Kernel, Simd};
use super::workers::{each, each_with};

/// Columns of the widest panel; those of others divide it.
const WIDEST: usize = 48;
/// Rows of the tallest register tile.
const TALLEST: usize = 8;
/// The sum is taken in blocks of so many terms: a block of a panel stays in the second cache, one of a
/// tile's rows in the first.
const BLOCK: usize = 384;
/// Rows of the left factor that are gathered together where it is in column order: their values lie
/// side by side there, and those of the next column far away.
const GATHERED: usize = 32;
const _: () = assert!(GATHERED >= TALLEST, "a tile's rows are gathered together");
/// Panels and rows of a task.
const TASK_PANELS: usize = 6;
const TASK_ROWS: usize = 120;

/// The left factor, m x k.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// In row order.
    Rows(&'a [f32]),
    /// In column order: the rows of the slice are its columns.
    Columns(&'a [f32]),
}

/// The right factor, k x n.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// In row order.
    Rows(&'a [f32]),
    /// In column order: the rows of the slice are its columns.
    Columns(&'a [f32]),
}

/// Floats of a right factor of k x n that is packed, at most.
pub fn packed_len(n: usize, k: usize) -> usize {
    n.next_multiple_of(WIDEST) * k
}

/// A right factor in panels, `[n / width][k][width]`; the last is filled up with zeros.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    isa: Isa,
    panels: &'a [f32],
    /// Columns of a panel.
    width: usize,
    n: usize,
    k: usize,
}

impl<'a> Packed<'a> {
    /// Packs `right`, k x n, into `room` of at least [`packed_len`].
    pub fn new(isa: Isa, right: Right, n: usize, k: usize, room: &'a mut [f32]) -> Packed<'a> {
        let width = isa.register_tile().1 * isa.lanes();
        let room = &mut room[..n.next_multiple_of(width) * k];
        let panels = room.chunks_exact_mut((width * k).max(1)).enumerate();
        each(panels, |(panel, out)| {
            let first = panel * width;
            let columns = width.min(n - first);
            match right {
                Right::Rows(right) => {
                    for (row, out) in right.chunks_exact(n).zip(out.chunks_exact_mut(width)) {
                        out[..columns].copy_from_slice(&row[first..first + columns]);
                        out[columns..].fill(0.0);
                    }
                }
                Right::Columns(right) => {
                    out.fill(0.0);
                    let right = &right[first * k..(first + columns) * k];
                    for (i, column) in right.chunks_exact(k).enumerate() {
                        for (out, x) in out.iter_mut().skip(i).step_by(width).zip(column) {
                            *out = *x;
                        }
                    }
                }
            }
        });
        Packed {
            isa,
            panels: room,
            width,
            n,
            k,
        }
    }

    /// out = left right, or out += left right if `add`; `out` is m x n in row order.
    ///
    /// # Panics
    /// If `left` or `out` is shorter than m rows.
    pub fn product(&self, m: usize, left: Left, out: &mut [f32], add: bool) {
        let Packed { n, k, .. } = *self;
        let values = match left {
            Left::Rows(left) | Left::Columns(left) => left,
        };
        assert!(
            values.len() >= m * k && out.len() >= m * n,
            "whole matrices"
        );
        let out = Out(out.as_mut_ptr());
        let rows = (0..m).step_by(TASK_ROWS);
        let n_panels = n.div_ceil(self.width);
        let tasks = rows.flat_map(|row| (0..n_panels).step_by(TASK_PANELS).map(move |p| (row, p)));
        // For columns that are gathered.
        let room_len = match left {
            Left::Rows(_) => 0,
            Left::Columns(_) => GATHERED * BLOCK,
        };
        let rooms = std::iter::repeat_with(|| vec![0.0; room_len]);
        each_with(tasks, rooms, |(row, panel), room| {
            let rows = row..m.min(row + TASK_ROWS);
            let panels = panel..n_panels.min(panel + TASK_PANELS);
            // SAFETY: rows and columns are of the matrices, whose lengths were asserted; no other task
            // has them; the room is as long as was asked for above.
            unsafe { self.task(m, left, out, (rows, panels), add, room) };
        });
    }

    /// Some rows and panels of a product.
    ///
    /// # Safety
    /// The matrices have them, nobody else uses these places of `out`, and `room` has GATHERED x BLOCK
    /// floats where the left factor is in column order.
    unsafe fn task(
        &self,
        m: usize,
        left: Left,
        out: Out,
        (rows, panels): (Range<usize>, Range<usize>),
        add: bool,
        room: &mut [f32],
    ) {
        let Packed { isa, n, k, .. } = *self;
        for first in (0..k.max(1)).step_by(BLOCK) {
            let len = BLOCK.min(k - first);
            let mut gathered = rows.start..rows.start;
            for (row, n_rows) in pieces(rows.clone(), isa.register_tile().0) {
                let (left, row_step, k_step) = match left {
                    Left::Rows(left) => (left[row * k + first..].as_ptr(), k, 1),
                    Left::Columns(left) => {
                        if row + n_rows > gathered.end {
                            gathered = row..rows.end.min(row + GATHERED);
                            let left = &left[first * m..][..len * m];
                            gather(left, m, gathered.clone(), room);
                        }
                        (room[row - gathered.start..].as_ptr(), 1, GATHERED)
                    }
                };
                for panel in panels.clone() {
                    let column = panel * self.width;
                    let tile = Tile {
                        left,
                        row_step,
                        k_step,
                        panel: self.panels[column * k + first * self.width..].as_ptr(),
                        width: self.width,
                        k: len,
                        // SAFETY: the caller's promise.
                        out: unsafe { out.0.add(row * n + column) },
                        out_step: n,
                        rows: n_rows,
                        columns: self.width.min(n - column),
                        add: add || first > 0,
                    };
                    // SAFETY: the caller's promise; a block of a panel is `len` rows of `width`.
                    unsafe { isa.run(tile) };
                }
            }
        }
    }
}

/// Some columns of a matrix whose rows are m long, to rows of [`GATHERED`].
fn gather(matrix: &[f32], m: usize, columns: Range<usize>, out: &mut [f32]) {
    for (row, out) in matrix.chunks_exact(m).zip(out.as_chunks_mut().0) {
        // Where there are enough, more come along than asked for: a copy of one length takes no call.
        match row[columns.start..].first_chunk::<GATHERED>() {
            Some(whole) => *out = *whole,
            None => out[..columns.len()].copy_from_slice(&row[columns.clone()]),
        }
    }
}

/// Rows cut into pieces of at most `most`, as equal as can be: first row and number.
fn pieces(rows: Range<usize>, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n_pieces = rows.len().div_ceil(most);
    (0..n_pieces).map(move |i| {
        let at = |i: usize| rows.start + rows.len() * i / n_pieces;
        (at(i), at(i + 1) - at(i))
    })
}

/// Where tasks write.
#[derive(Clone, Copy)]
struct Out(*mut f32);
// SAFETY: tasks write rows and columns of their own.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Some rows of one panel, over a block of the sum.
struct Tile {
    left: *const f32,
    row_step: usize,
    k_step: usize,
    /// `[k][width]`
    panel: *const f32,
    width: usize,
    k: usize,
    out: *mut f32,
    out_step: usize,
    /// 1 to that of a register tile.
    rows: usize,
    /// 1 to `width`.
    columns: usize,
    add: bool,
}

impl Kernel for Tile {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise: rows and columns lie within the matrices.
        unsafe {
            match self.columns.div_ceil(S::LANES) {
                1 => self.of_vectors::<S, 1>(),
                2 => self.of_vectors::<S, 2>(),
                3 => self.of_vectors::<S, 3>(),
                vectors => unreachable!("a tile of {vectors} vectors"),
            }
        }
    }
}

impl Tile {
    #[inline(always)]
    unsafe fn of_vectors<S: Simd, const V: usize>(self) {
        // What this instruction set never asks for is not compiled.
        let (most_rows, most_vectors) = S::REGISTER_TILE;
        if V > most_vectors || self.rows > most_rows {
            unreachable!("a tile of {} rows and {V} vectors", self.rows);
        }
        // SAFETY: the caller's promise.
        unsafe {
            match self.rows {
                1 => self.of::<S, V, 1>(),
                2 => self.of::<S, V, 2>(),
                3 => self.of::<S, V, 3>(),
                4 => self.of::<S, V, 4>(),
                5 => self.of::<S, V, 5>(),
                6 => self.of::<S, V, 6>(),
                7 => self.of::<S, V, 7>(),
                TALLEST => self.of::<S, V, TALLEST>(),
                rows => unreachable!("a tile of {rows} rows"),
            }
        }
    }

    /// R rows of V vectors, whose sums stay in registers: every loop over them has a length that the
    /// compiler knows.
    #[inline(always)]
    unsafe fn of<S: Simd, const V: usize, const R: usize>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            let zero = S::splat(0.0);
            let mut sums = [[zero; V]; R];
            let (mut panel, mut left) = (self.panel, self.left);
            for _ in 0..self.k {
                let mut right = [zero; V];
                for (v, right) in right.iter_mut().enumerate() {
                    *right = S::load(panel.add(v * S::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = *left.add(r * self.row_step);
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = right.mul_add_scaled(x, *sum);
                    }
                }
                panel = panel.add(self.width);
                left = left.wrapping_add(self.k_step);
            }
            let whole = self.columns == V * S::LANES;
            for (r, sums) in sums.into_iter().enumerate() {
                let out = self.out.add(r * self.out_step);
                if whole {
                    for (v, sum) in sums.into_iter().enumerate() {
                        let out = out.add(v * S::LANES);
                        let before = if self.add { S::load(out) } else { zero };
                        (before + sum).store(out);
                    }
                    continue;
                }
                let mut row = [0.0f32; WIDEST];
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(row.as_mut_ptr().add(v * S::LANES));
                }
                for (i, x) in row.iter().enumerate().take(self.columns) {
                    *out.add(i) = if self.add { *out.add(i) + x } else { *x };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, whose products and sums are exact.
    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 31 + seed * 17) % 13) as f32 - 6.0)
            .collect()
    }

    #[test]
    fn every_order_and_size_is_the_sum_of_products() {
        for isa in Isa::available() {
            for (m, n, k) in [
                (1, 1, 1),
                (5, 16, 3),
                (7, 17, 9),
                (20, 70, 33),
                (125, 66, 20),
                (9, 50, BLOCK + 1),
                (13, 98, 2 * BLOCK),
            ] {
                let (a, b, c) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
                for orders in 0..8 {
                    let [left_rows, right_rows, add] = [1, 2, 4].map(|bit| orders & bit != 0);
                    let left = |i: usize, l: usize| {
                        if left_rows {
                            a[i * k + l]
                        } else {
                            a[l * m + i]
                        }
                    };
                    let right = |l: usize, j: usize| {
                        if right_rows {
                            b[l * n + j]
                        } else {
                            b[j * k + l]
                        }
                    };
                    let mut room = vec![f32::NAN; packed_len(n, k)];
                    let packed = match right_rows {
                        true => Packed::new(isa, Right::Rows(&b), n, k, &mut room),
                        false => Packed::new(isa, Right::Columns(&b), n, k, &mut room),
                    };
                    let mut out = c.clone();
                    let of_left = if left_rows {
                        Left::Rows(&a)
                    } else {
                        Left::Columns(&a)
                    };
                    packed.product(m, of_left, &mut out, add);
                    for i in 0..m {
                        for j in 0..n {
                            let sum: f32 = (0..k).map(|l| left(i, l) * right(l, j)).sum();
                            let before = if add { c[i * n + j] } else { 0.0 };
                            assert_eq!(out[i * n + j], before + sum, "{m}x{n}x{k} at {i}, {j}");
                        }
                    }
                }
            }
        }
    }
}
