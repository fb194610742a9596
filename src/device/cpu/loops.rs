//! Loops over pixels in safe code, compiled for every instruction set.
//!
//! The operations around the convolutions move memory; loops over `[f32; 8]` that the compiler
//! vectorises are as fast as that. There is no fused multiplication in them, so that every
//! instruction set gives the same bits.

use super::simd::{Isa, Kernel, Simd};
use crate::shape::PLANE;

/// The 8 channels of a pixel in a plane.
pub type Pixel = [f32; PLANE];

/// A pixel of zeros.
pub const ZERO: Pixel = [0.0; PLANE];

/// A loop with its arguments.
pub trait Loop {
    /// Does the work; implementations, and what they call, are `#[inline(always)]`, or they are
    /// compiled without the instruction set.
    fn run(self);
}

/// Runs a loop as compiled for `isa`.
pub fn run(isa: Isa, work: impl Loop) {
    struct Safe<L>(L);
    impl<L: Loop> Kernel for Safe<L> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            self.0.run();
        }
    }
    // SAFETY: a safe loop asks for nothing.
    unsafe { isa.run(Safe(work)) }
}

/// Values as pixels.
#[inline(always)]
pub fn pixels(values: &[f32]) -> &[Pixel] {
    let (pixels, rest) = values.as_chunks();
    debug_assert!(rest.is_empty(), "planes hold whole pixels");
    pixels
}

/// As [`pixels`], to write.
#[inline(always)]
pub fn pixels_mut(values: &mut [f32]) -> &mut [Pixel] {
    let (pixels, rest) = values.as_chunks_mut();
    debug_assert!(rest.is_empty(), "planes hold whole pixels");
    pixels
}

/// Applies `f` to each channel of two pixels.
#[inline(always)]
pub fn zip(a: &Pixel, b: &Pixel, f: impl Fn(f32, f32) -> f32) -> Pixel {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Sum of `f` of every pixel, in four interleaved partial sums.
#[inline(always)]
pub fn sum(values: &[Pixel], f: impl Fn(&Pixel) -> Pixel) -> Pixel {
    sum_of_two(values, values, |x, _| f(x))
}

/// Sum of `f` of every two pixels, in four interleaved partial sums.
#[inline(always)]
pub fn sum_of_two(a: &[Pixel], b: &[Pixel], f: impl Fn(&Pixel, &Pixel) -> Pixel) -> Pixel {
    let mut sums = [ZERO; 4];
    let add = |sum: &mut Pixel, a, b| *sum = zip(sum, &f(a, b), |a, b| a + b);
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            add(sum, a, b);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        add(sum, a, b);
    }
    let [a, b, c, d] = sums;
    std::array::from_fn(|i| (a[i] + b[i]) + (c[i] + d[i]))
}
