//! Products of matrices: the right factor is packed into panels of 16 columns, of which a register
//! tile takes one with some rows of the left factor. What is computed of a tile depends on the sizes
//! alone, so results do not depend on the number of threads.

use super::simd::{Isa, Kernel, Simd};
use super::workers::each;

/// Columns of a panel: one or two vectors.
const PANEL: usize = 16;
/// Rows of a register tile: with two vectors each, they leave registers for a panel's row.
const ROWS: usize = 6;
/// Panels and rows of a task.
const TASK_PANELS: usize = 4;
const TASK_ROWS: usize = 20 * ROWS;

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

/// Floats of a right factor of k x n that is packed.
pub fn packed_len(n: usize, k: usize) -> usize {
    n.next_multiple_of(PANEL) * k
}

/// A right factor in panels, `[n / 16][k][16]`; the last is filled up with zeros.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    panels: &'a [f32],
    n: usize,
    k: usize,
}

impl<'a> Packed<'a> {
    /// Packs `right`, k x n, into `room` of at least [`packed_len`].
    pub fn new(right: Right, n: usize, k: usize, room: &'a mut [f32]) -> Packed<'a> {
        let room = &mut room[..packed_len(n, k)];
        let panels = room.chunks_exact_mut((PANEL * k).max(1)).enumerate();
        each(panels, |(panel, out)| {
            let first = panel * PANEL;
            let columns = PANEL.min(n - first);
            match right {
                Right::Rows(right) => {
                    for (row, out) in right.chunks_exact(n).zip(out.chunks_exact_mut(PANEL)) {
                        out[..columns].copy_from_slice(&row[first..first + columns]);
                        out[columns..].fill(0.0);
                    }
                }
                Right::Columns(right) => {
                    out.fill(0.0);
                    let right = &right[first * k..(first + columns) * k];
                    for (i, column) in right.chunks_exact(k).enumerate() {
                        for (out, x) in out.iter_mut().skip(i).step_by(PANEL).zip(column) {
                            *out = *x;
                        }
                    }
                }
            }
        });
        Packed { panels: room, n, k }
    }

    /// out = left right, or out += left right if `add`; `out` is m x n in row order.
    ///
    /// # Panics
    /// If `left` or `out` is shorter than m rows.
    pub fn product(&self, isa: Isa, m: usize, left: Left, out: &mut [f32], add: bool) {
        let Packed { panels, n, k } = *self;
        let (left, row_step, k_step) = match left {
            Left::Rows(left) => (left, k, 1),
            Left::Columns(left) => (left, 1, m),
        };
        assert!(left.len() >= m * k && out.len() >= m * n, "whole matrices");
        let places = Places {
            left: left.as_ptr(),
            out: out.as_mut_ptr(),
        };
        let n_panels = n.div_ceil(PANEL);
        let rows = (0..m).step_by(TASK_ROWS);
        let tasks = rows.flat_map(|row| (0..n_panels).step_by(TASK_PANELS).map(move |p| (row, p)));
        each(tasks, |(first_row, first_panel)| {
            let Places { left, out } = { places };
            for panel in first_panel..n_panels.min(first_panel + TASK_PANELS) {
                let columns = PANEL.min(n - panel * PANEL);
                let end = m.min(first_row + TASK_ROWS);
                for (row, rows) in pieces(first_row, end) {
                    // SAFETY: rows and columns are of the matrices, whose lengths were asserted; no
                    // other task has them.
                    unsafe {
                        isa.run(Tile {
                            left: left.add(row * row_step),
                            row_step,
                            k_step,
                            panel: panels.as_ptr().add(panel * PANEL * k),
                            k,
                            out: out.add(row * n + panel * PANEL),
                            out_step: n,
                            rows,
                            columns,
                            add,
                        });
                    }
                }
            }
        });
    }
}

/// Rows cut into pieces of at most [`ROWS`], as equal as can be: first row and number.
fn pieces(first: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = end - first;
    let n_pieces = n.div_ceil(ROWS);
    (0..n_pieces).map(move |i| {
        let at = |i: usize| first + n * i / n_pieces;
        (at(i), at(i + 1) - at(i))
    })
}

/// Where tasks read and write.
#[derive(Clone, Copy)]
struct Places {
    left: *const f32,
    out: *mut f32,
}
// SAFETY: tasks write rows and columns of their own, and nothing writes what they read.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

/// `rows` rows of one panel.
struct Tile {
    left: *const f32,
    row_step: usize,
    k_step: usize,
    /// `[k][16]`
    panel: *const f32,
    k: usize,
    out: *mut f32,
    out_step: usize,
    /// 1 to [`ROWS`].
    rows: usize,
    columns: usize,
    add: bool,
}

impl Kernel for Tile {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise: rows and columns lie within the matrices.
        unsafe {
            match PANEL / S::LANES {
                1 => self.of_vectors::<S, 1>(),
                _ => self.of_vectors::<S, 2>(),
            }
        }
    }
}

impl Tile {
    #[inline(always)]
    unsafe fn of_vectors<S: Simd, const V: usize>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.rows {
                1 => self.of::<S, V, 1>(),
                2 => self.of::<S, V, 2>(),
                3 => self.of::<S, V, 3>(),
                4 => self.of::<S, V, 4>(),
                5 => self.of::<S, V, 5>(),
                _ => self.of::<S, V, ROWS>(),
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
                panel = panel.add(PANEL);
                left = left.wrapping_add(self.k_step);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let mut row = [0.0f32; PANEL];
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(row.as_mut_ptr().add(v * S::LANES));
                }
                let out = self.out.add(r * self.out_step);
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
                        true => Packed::new(Right::Rows(&b), n, k, &mut room),
                        false => Packed::new(Right::Columns(&b), n, k, &mut room),
                    };
                    let mut out = c.clone();
                    let of_left = if left_rows {
                        Left::Rows(&a)
                    } else {
                        Left::Columns(&a)
                    };
                    packed.product(isa, m, of_left, &mut out, add);
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
