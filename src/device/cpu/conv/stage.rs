//! Between planes and products: planes to positions of V, M to planes of outputs, dY to dM.

use super::transform;
use crate::device::cpu::simd::{Isa, Kernel, Simd};
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
        unsafe { dispatch(isa, points, self) }
    }
}

impl OutputRow {
    /// Writes the image from M.
    ///
    /// # Safety
    /// The tiles of all points are readable, the image is writable.
    pub unsafe fn write(self, isa: Isa, points: [usize; 2], add: bool) {
        // SAFETY: the caller's promise.
        unsafe { dispatch(isa, points, ToImage { row: self, add }) }
    }

    /// Fills M from the image.
    ///
    /// # Safety
    /// The tiles of all points are writable, the image is readable.
    pub unsafe fn read(self, isa: Isa, points: [usize; 2]) {
        // SAFETY: the caller's promise.
        unsafe { dispatch(isa, points, FromImage(self)) }
    }
}

/// Arguments whose kernel is compiled for every number of points and outputs of a tile.
trait Tiled: Copy {
    unsafe fn tiles<S: Simd, const AY: usize, const AX: usize, const MY: usize, const MX: usize>(
        self,
    );
}

/// Points and outputs of a tile as types.
struct Shaped<T, const AY: usize, const AX: usize, const MY: usize, const MX: usize>(T);

impl<T: Tiled, const AY: usize, const AX: usize, const MY: usize, const MX: usize> Kernel
    for Shaped<T, AY, AX, MY, MX>
{
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.tiles::<S, AY, AX, MY, MX>() }
    }
}

/// Enters the kernel for the points of both axes.
unsafe fn dispatch<T: Tiled>(isa: Isa, points: [usize; 2], args: T) {
    macro_rules! shapes {
        ($($ay:literal, $ax:literal: $my:literal, $mx:literal;)*) => {
            match points {
                // SAFETY: the caller's promise.
                $([$ay, $ax] => unsafe { isa.run(Shaped::<T, $ay, $ax, $my, $mx>(args)) },)*
                _ => unreachable!("schemes have 1, 6, 7 or 8 points"),
            }
        };
    }
    shapes! {
        1, 1: 1, 1; 1, 6: 1, 4; 1, 7: 1, 4; 1, 8: 1, 4;
        6, 1: 4, 1; 6, 6: 4, 4; 6, 7: 4, 4; 6, 8: 4, 4;
        7, 1: 4, 1; 7, 6: 4, 4; 7, 7: 4, 4; 7, 8: 4, 4;
        8, 1: 4, 1; 8, 6: 4, 4; 8, 7: 4, 4; 8, 8: 4, 4;
    }
}

impl Tiled for InputRow {
    #[inline(always)]
    unsafe fn tiles<S: Simd, const AY: usize, const AX: usize, const MY: usize, const MX: usize>(
        self,
    ) {
        let rows_inside = self.y >= 0 && self.y as usize + AY <= self.h;
        for first in (0..self.n).step_by(S::HALVES) {
            let halves = S::HALVES.min(self.n - first); // positions, one in each half of a vector
            let left = self.x + (first * self.step) as isize;
            let right = left + ((halves - 1) * self.step + AX) as isize;
            let v = self.v.wrapping_add(first * PLANE);
            // SAFETY: all inputs are inside of the image, or checked one by one; the caller
            // promises the rest.
            unsafe {
                if rows_inside && left >= 0 && right <= self.w as isize {
                    let corner = self
                        .plane
                        .add((self.y as usize * self.w + left as usize) * PLANE);
                    self.transform::<S, AY, AX>(v, halves, |y, x, half| {
                        corner.add((y * self.w + x + half * self.step) * PLANE)
                    });
                } else {
                    self.transform::<S, AY, AX>(v, halves, |y, x, half| {
                        let y = self.y + y as isize;
                        let x = left + (x + half * self.step) as isize;
                        // Negative ones are huge as unsigned numbers.
                        if (y as usize) < self.h && (x as usize) < self.w {
                            self.plane.add((y as usize * self.w + x as usize) * PLANE)
                        } else {
                            ZEROS.as_ptr()
                        }
                    });
                }
            }
        }
    }
}

impl InputRow {
    /// Transforms the inputs at `pixel(y, x, half)` to `halves` positions at `v`.
    #[inline(always)]
    unsafe fn transform<S: Simd, const AY: usize, const AX: usize>(
        &self,
        v: *mut f32,
        halves: usize,
        pixel: impl Fn(usize, usize, usize) -> *const f32,
    ) {
        // SAFETY: the caller promises that all pixels are readable and all points writable.
        unsafe {
            let mut columns = [[S::splat(0.0); AX]; AY];
            for x in 0..AX {
                let mut line = [S::splat(0.0); AY];
                for (y, d) in line.iter_mut().enumerate() {
                    *d = S::load_halves(|half| pixel(y, x, half.min(halves - 1)));
                }
                for (column, d) in columns.iter_mut().zip(transform::input(line)) {
                    column[x] = d;
                }
            }
            for (y, line) in columns.into_iter().enumerate() {
                for (x, d) in transform::input(line).into_iter().enumerate() {
                    d.store_halves(v.add((y * AX + x) * self.point_pitch), PLANE, halves);
                }
            }
        }
    }
}

impl Tiled for ToImage {
    #[inline(always)]
    unsafe fn tiles<S: Simd, const AY: usize, const AX: usize, const MY: usize, const MX: usize>(
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
                    let mut lines = [[S::splat(0.0); AX]; MY];
                    for x in 0..AX {
                        let mut line = [S::splat(0.0); AY];
                        for (y, s) in line.iter_mut().enumerate() {
                            *s = S::load(sums.add((y * AX + x) * point_pitch));
                        }
                        let column: [S; MY] = transform::output(line);
                        for (line, d) in lines.iter_mut().zip(column) {
                            line[x] = d;
                        }
                    }
                    for (y, line) in lines.into_iter().enumerate().take(rows) {
                        let line: [S; MX] = transform::output(line);
                        for (x, mut d) in line.into_iter().enumerate().take(cols) {
                            let out = out.add((y * w + x) * PLANE);
                            if self.add {
                                d = d + S::load_halves(|half| {
                                    out.add(half.min(halves - 1) * plane)
                                });
                            }
                            d.store_halves(out, plane, halves);
                        }
                    }
                }
            }
        }
    }
}

impl Tiled for FromImage {
    #[inline(always)]
    unsafe fn tiles<S: Simd, const AY: usize, const AX: usize, const MY: usize, const MX: usize>(
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
                    let mut lines = [[S::splat(0.0); MX]; AY];
                    for x in 0..cols {
                        let mut line = [S::splat(0.0); MY];
                        for (y, d) in line.iter_mut().enumerate().take(rows) {
                            *d = S::load_halves(|half| match half < halves {
                                true => dy.add(half * plane + (y * w + x) * PLANE),
                                false => ZEROS.as_ptr(),
                            });
                        }
                        let column: [S; AY] = transform::output_transposed(line);
                        for (line, d) in lines.iter_mut().zip(column) {
                            line[x] = d;
                        }
                    }
                    for (y, line) in lines.into_iter().enumerate() {
                        let line: [S; AX] = transform::output_transposed(line);
                        for (x, d) in line.into_iter().enumerate() {
                            d.store(sums.add((y * AX + x) * point_pitch));
                        }
                    }
                }
            }
        }
    }
}

/// Copies a row of pixels between zeros: `left` before it, and as many behind as `row` has room for.
pub(super) fn copy_row(source: &[f32], left: usize, row: &mut [f32]) {
    let (before, rest) = row.split_at_mut((left * PLANE).min(row.len()));
    let (pixels, after) = rest.split_at_mut(source.len().min(rest.len()));
    before.fill(0.0);
    pixels.copy_from_slice(&source[..pixels.len()]);
    after.fill(0.0);
}
