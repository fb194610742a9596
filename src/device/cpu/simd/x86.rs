//! Vectors of AVX2 and of AVX-512.

use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

use super::Simd;

/// AVX2 with fused multiplication: 8 lanes, 16 registers.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Avx2(__m256);

/// AVX-512: 16 lanes, 32 registers.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Avx512(__m512);

/// Lane-wise operators by intrinsics of two arguments.
macro_rules! operators {
    ($vector:ident: $($operator:ident $method:ident $intrinsic:ident),*) => { $(
        impl $operator for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: `self` exists, so the CPU has the instruction.
                $vector(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    )* };
}
operators!(Avx2: Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps);
operators!(Avx512: Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps);

// SAFETY of every block below: the caller promises the memory, and either promises the
// instructions or holds a vector, which exists only where they do.
impl Simd for Avx2 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Avx2(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: as above.
        Avx2(unsafe { _mm256_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn load_halves(low: *const f32, _high: *const f32) -> Self {
        // SAFETY: as above.
        unsafe { Self::load(low) }
    }

    #[inline(always)]
    unsafe fn store_halves(self, p: *mut f32, _stride: usize, _halves: usize) {
        // SAFETY: as above.
        unsafe { self.store(p) }
    }

    #[inline(always)]
    fn prefetch(p: *const f32) {
        // SAFETY: every x86-64 has the instruction; it does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Avx2(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Avx512(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: as above.
        Avx512(unsafe { _mm512_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn load_halves(low: *const f32, high: *const f32) -> Self {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_castps_pd(_mm512_castps256_ps512(_mm256_loadu_ps(low)));
            let high = _mm256_castps_pd(_mm256_loadu_ps(high));
            Avx512(_mm512_castpd_ps(_mm512_insertf64x4::<1>(low, high)))
        }
    }

    #[inline(always)]
    unsafe fn store_halves(self, p: *mut f32, stride: usize, halves: usize) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(p, _mm512_castps512_ps256(self.0));
            if halves > 1 {
                let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0));
                _mm256_storeu_ps(p.add(stride), _mm256_castpd_ps(high));
            }
        }
    }

    #[inline(always)]
    fn prefetch(p: *const f32) {
        // SAFETY: every x86-64 has the instruction; it does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Avx512(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }
}
