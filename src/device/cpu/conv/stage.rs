//! Between planes and products: planes to positions of V, M to planes of outputs, dY to dM.

use std::mem::MaybeUninit;

use super::points::{self, ByPoints};
use super::transform;
use crate::device::cpu::simd::{Isa, Simd};
use crate::shape::PLANE;

/// A pixel outside of an image.
static ZEROS: [f32; PLANE] = [0.0; PLANE];

/// Brings a row of positions of one plane into V: transforms `points_y x points_x` inputs each.
#[derive(Clone, Copy)]
pub(super) struct InputRow {
    /// The plane, `[h][w][8]`.
    pub plane: *const f32,
    pub h: usize,
    pub w: usize,
    /// The input row and column of the first position's first input; negative in the padding.
    pub y: isize,
    pub x: isize,
    /// Input columns from a position to the next.
    pub step: usize,
    /// Input rows from a row of positions to the next.
    pub row_step: usize,
    /// Floats from an input to that of the plane that is read next, which is asked for ahead of time.
    pub ahead: usize,
    /// Positions.
    pub n: usize,
    /// `[point][..][position][8]`: the row's first position.
    pub v: *mut f32,
    pub point_pitch: usize,
}

/// A row of tiles of outputs, as sums of products M.
#[derive(Clone, Copy)]
pub(super) struct OutputRow {
    /// `[point][tile][vectors * LANES]`: the row's first tile.
    pub m: *mut f32,
    pub point_pitch: usize,
    /// Floats of a tile: those of all vectors.
    pub width: usize,
    /// Tiles.
    pub n: usize,
    /// An image, `[planes][h][w][8]`, read where it is dY.
    pub image: *mut f32,
    pub planes: usize,
    pub h: usize,
    pub w: usize,
    /// The image's row where the tiles begin.
    pub y: usize,
}

/// Sums of products to outputs, added to the image or set.
#[derive(Clone, Copy)]
struct ToImage {
    row: OutputRow,
    add: bool,
}

/// Gradients of outputs to gradients of the sums: the transpose.
#[derive(Clone, Copy)]
struct FromImage(OutputRow);

impl InputRow {
    /// # Safety
    /// The plane is readable, the positions of all points are writable.
    pub unsafe fn run(self, isa: Isa, points: [usize; 2]) {
        // SAFETY: the caller's promise.
        unsafe { points::run(isa, points, self) }
    }
}

impl OutputRow {
    /// Writes the image from M.
    ///
    /// # Safety
    /// The tiles of all points are readable, the image is writable.
    pub unsafe fn write(self, isa: Isa, points: [usize; 2], add: bool) {
        // SAFETY: the caller's promise.
        unsafe { points::run(isa, points, ToImage { row: self, add }) }
    }

    /// Fills M from the image.
    ///
    /// # Safety
    /// The tiles of all points are writable, the image is readable.
    pub unsafe fn read(self, isa: Isa, points: [usize; 2]) {
        // SAFETY: the caller's promise.
        unsafe { points::run(isa, points, FromImage(self)) }
    }
}

/// A grid of vectors on the stack: the lines of a tile between its two transforms.
struct Grid<S, const Y: usize, const X: usize>(MaybeUninit<[[S; X]; Y]>);

impl<S: Simd, const Y: usize, const X: usize> Grid<S, Y, X> {
    #[inline(always)]
    fn new() -> Self {
        Grid(MaybeUninit::uninit()) // filling it with zeros would take as long as a transform
    }

    /// Writes column `x`.
    #[inline(always)]
    fn set_column(&mut self, x: usize, column: [S; Y]) {
        for (y, value) in column.into_iter().enumerate() {
            // SAFETY: (y, x) is inside of the grid: `x` is below X wherever this is called.
            unsafe { (&raw mut (*self.0.as_mut_ptr())[y][x]).write(value) }
        }
    }

    /// # Safety
    /// All columns have been written.
    #[inline(always)]
    unsafe fn row(&self, y: usize) -> [S; X] {
        // SAFETY: the caller's promise.
        unsafe { (*self.0.as_ptr())[y] }
    }
}

impl ByPoints for InputRow {
    #[inline(always)]
    unsafe fn kernel<
        S: Simd,
        const AY: usize,
        const AX: usize,
        const RY: usize,
        const RX: usize,
        const MY: usize,
        const MX: usize,
    >(
        self,
    ) {
        let rows_inside = self.y >= 0 && self.y as usize + AY <= self.h;
        for first in (0..self.n).step_by(S::HALVES) {
            // Each half of a vector is a position; without a second one, it repeats the first.
            let halves = S::HALVES.min(self.n - first);
            let left = self.x + (first * self.step) as isize;
            let right = left + ((halves - 1) * self.step + AX) as isize;
            let v = self.v.wrapping_add(first * PLANE);
            self.prefetch::<S>([AY, AX], left, halves * self.step);
            // SAFETY: all inputs are inside of the image, or checked one by one.
            unsafe {
                if rows_inside && left >= 0 && right <= self.w as isize {
                    self.transform::<S, AY, AX, true>(left, halves, v);
                } else {
                    self.transform::<S, AY, AX, false>(left, halves, v);
                }
            }
        }
    }
}

impl InputRow {
    /// Asks for the inputs of the next plane that no position before asked for: `n` columns of the last
    /// rows.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, [rows, cols]: [usize; 2], left: isize, n: usize) {
        let column = left + (cols - self.step) as isize;
        for row in 0..self.row_step {
            let row = self.y + (rows - self.row_step + row) as isize;
            let at = (row * self.w as isize + column) * PLANE as isize + self.ahead as isize;
            for line in (0..n).step_by(2) {
                S::prefetch(self.plane.wrapping_offset(at + (line * PLANE) as isize));
            }
        }
    }

    /// Transforms `halves` positions whose inputs begin at column `left`.
    ///
    /// # Safety
    /// Positions at `v` are writable at all points; the inputs are readable if `INSIDE`.
    #[inline(always)]
    unsafe fn transform<S: Simd, const AY: usize, const AX: usize, const INSIDE: bool>(
        &self,
        left: isize,
        halves: usize,
        v: *mut f32,
    ) {
        let second = (halves - 1) * self.step;
        let corner = self
            .plane
            .wrapping_offset((self.y * self.w as isize + left) * PLANE as isize);
        // SAFETY: the caller's promise.
        unsafe {
            let mut grid = Grid::<S, AY, AX>::new();
            for x in 0..AX {
                let mut line = [S::splat(0.0); AY];
                for (y, d) in line.iter_mut().enumerate() {
                    let mut first = corner.wrapping_add(y * self.w * PLANE + x * PLANE);
                    let mut other = first.wrapping_add(second * PLANE);
                    if !INSIDE {
                        let (row, column) = (self.y + y as isize, left + x as isize);
                        first = self.or_zeros(first, row, column);
                        other = self.or_zeros(other, row, column + second as isize);
                    }
                    *d = S::load_halves(first, other);
                }
                grid.set_column(x, transform::input(line));
            }
            let mut point = v;
            for y in 0..AY {
                for d in transform::input(grid.row(y)) {
                    if halves == S::HALVES {
                        d.store(point); // positions are neighbours
                    } else {
                        d.store_halves(point, PLANE, halves);
                    }
                    point = point.wrapping_add(self.point_pitch);
                }
            }
        }
    }

    /// The pixel at (y, x), or zeros outside of the image.
    #[inline(always)]
    fn or_zeros(&self, pixel: *const f32, y: isize, x: isize) -> *const f32 {
        // Negative coordinates are huge as unsigned numbers.
        if (y as usize) < self.h && (x as usize) < self.w {
            pixel
        } else {
            ZEROS.as_ptr()
        }
    }
}

impl ByPoints for ToImage {
    #[inline(always)]
    unsafe fn kernel<
        S: Simd,
        const AY: usize,
        const AX: usize,
        const RY: usize,
        const RX: usize,
        const MY: usize,
        const MX: usize,
    >(
        self,
    ) {
        let OutputRow {
            m,
            point_pitch,
            width,
            n,
            image,
            planes,
            h,
            w,
            y,
        } = self.row;
        let (plane, rows) = (h * w * PLANE, MY.min(h - y));
        for tile in 0..n {
            let cols = MX.min(w - tile * MX);
            for z in 0..planes.div_ceil(S::HALVES) {
                let halves = S::HALVES.min(planes - z * S::HALVES);
                // SAFETY: the caller's promise; rows and columns end with the image.
                unsafe {
                    let sums = m.add(tile * width + z * S::LANES);
                    let out = image.add(z * S::HALVES * plane + (y * w + tile * MX) * PLANE);
                    let mut grid = Grid::<S, MY, AX>::new();
                    for x in 0..AX {
                        let mut line = [S::splat(0.0); AY];
                        let mut point = sums.add(x * point_pitch);
                        for s in &mut line {
                            *s = S::load(point);
                            point = point.wrapping_add(AX * point_pitch);
                        }
                        grid.set_column(x, transform::output(line));
                    }
                    for y in 0..rows {
                        let line: [S; MX] = transform::output(grid.row(y));
                        for (x, &d) in line.iter().enumerate() {
                            if x < cols {
                                let out = out.add((y * w + x) * PLANE);
                                self.write(d, out, plane, halves);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl ToImage {
    /// # Safety
    /// The pixel `out` of `halves` planes is writable.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, mut d: S, out: *mut f32, plane: usize, halves: usize) {
        // SAFETY: the caller's promise; a half that does not exist is not written.
        unsafe {
            if self.add {
                d = d + S::load_halves(out, out.add((halves - 1) * plane));
            }
            d.store_halves(out, plane, halves);
        }
    }
}

impl ByPoints for FromImage {
    #[inline(always)]
    unsafe fn kernel<
        S: Simd,
        const AY: usize,
        const AX: usize,
        const RY: usize,
        const RX: usize,
        const MY: usize,
        const MX: usize,
    >(
        self,
    ) {
        let OutputRow {
            m,
            point_pitch,
            width,
            n,
            image,
            planes,
            h,
            w,
            y,
        } = self.0;
        let (plane, rows) = (h * w * PLANE, MY.min(h - y));
        for tile in 0..n {
            let cols = MX.min(w - tile * MX);
            for z in 0..width / S::LANES {
                let halves = S::HALVES.min(planes - z * S::HALVES);
                // SAFETY: the caller's promise; what is outside of the image reads zeros.
                unsafe {
                    let sums = m.add(tile * width + z * S::LANES);
                    let dy = image.add(z * S::HALVES * plane + (y * w + tile * MX) * PLANE);
                    let mut grid = Grid::<S, AY, MX>::new();
                    for x in 0..MX {
                        let mut line = [S::splat(0.0); MY];
                        for (y, d) in line.iter_mut().enumerate() {
                            let low = dy.wrapping_add((y * w + x) * PLANE);
                            let high = low.wrapping_add(plane);
                            if y < rows && x < cols {
                                *d = S::load_halves(
                                    low,
                                    if halves > 1 { high } else { ZEROS.as_ptr() },
                                );
                            }
                        }
                        grid.set_column(x, transform::output_transposed(line));
                    }
                    let mut point = sums;
                    for y in 0..AY {
                        let line: [S; AX] = transform::output_transposed(grid.row(y));
                        for d in line {
                            d.store(point);
                            point = point.wrapping_add(point_pitch);
                        }
                    }
                }
            }
        }
    }
}
