//! Vectors as plain arrays, for any CPU.

use std::ops::{Add, Mul, Sub};

use super::Simd;

/// Plain arrays, for the compiler to vectorise; no fused multiplication, which may be a call.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Portable<const L: usize>([f32; L]);

impl<const L: usize> Portable<L> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl<const L: usize> Add for Portable<L> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl<const L: usize> Sub for Portable<L> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

impl<const L: usize> Mul for Portable<L> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
}

impl<const L: usize> Simd for Portable<L> {
    const LANES: usize = L;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Portable([x; L])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller promises L readable floats; arrays of floats need the alignment of
        // one.
        Portable(unsafe { *p.cast() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller promises L writable floats.
        unsafe { *p.cast() = self.0 }
    }

    #[inline(always)]
    unsafe fn load_halves(low: *const f32, high: *const f32) -> Self {
        let half = |i| if i < 8 { low } else { high };
        // SAFETY: the caller promises 8 readable floats in each half.
        Portable(std::array::from_fn(|i| unsafe { *half(i).add(i % 8) }))
    }

    #[inline(always)]
    unsafe fn store_halves(self, p: *mut f32, stride: usize, halves: usize) {
        for (i, &x) in self.0.iter().take(halves * 8).enumerate() {
            // SAFETY: the caller promises 8 writable floats at each half.
            unsafe { *p.add(i / 8 * stride + i % 8) = x }
        }
    }

    #[inline(always)]
    fn prefetch(_p: *const f32) {}

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self * b + c
    }
}
