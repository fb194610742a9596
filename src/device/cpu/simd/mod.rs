//! Vectors of floats for kernels that are written once and compiled for every instruction set.
//!
//! A kernel is a value that implements [`Kernel`]; [`Isa::run`] compiles its `run` once per
//! instruction set and enters the one that the CPU has. Everything `run` calls must be
//! `#[inline(always)]`, or it is compiled without the instruction set's features.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, Mul, Sub};

pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// An instruction set that this CPU has, with the vector type that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(InstructionSet); // private, so that a value proves the CPU has the instructions

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InstructionSet {
    Portable8,
    #[cfg(test)] // slower than 8 lanes everywhere, and as long to compile
    Portable16,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The fastest instruction set of this CPU.
    pub fn detect() -> Isa {
        *Isa::available()
            .last()
            .expect("the portable paths are always there")
    }

    /// All that run on this CPU, the fastest last. Tests have the portable one in 16 lanes too, so
    /// that their logic is tested on every machine.
    pub fn available() -> Vec<Isa> {
        let mut all = vec![Isa(InstructionSet::Portable8)];
        #[cfg(test)]
        all.insert(0, Isa(InstructionSet::Portable16));
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa(InstructionSet::Avx2));
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                all.push(Isa(InstructionSet::Avx512));
            }
        }
        all
    }

    /// A name for people.
    pub fn name(self) -> &'static str {
        match self.0 {
            InstructionSet::Portable8 => "portable, 8 lanes",
            #[cfg(test)]
            InstructionSet::Portable16 => "portable, 16 lanes",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => "AVX-512",
        }
    }

    /// Floats in a vector.
    pub fn lanes(self) -> usize {
        match self.0 {
            InstructionSet::Portable8 => Portable::<8>::LANES,
            #[cfg(test)]
            InstructionSet::Portable16 => Portable::<16>::LANES,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => Avx512::LANES,
        }
    }

    /// Rows and columns of vectors that a product sums in registers, with a register for each
    /// column and one more: 6 x 2 of 16, 8 x 3 of 32.
    pub fn register_tile(self) -> (usize, usize) {
        match self.0 {
            InstructionSet::Portable8 => Portable::<8>::REGISTER_TILE,
            #[cfg(test)]
            InstructionSet::Portable16 => Portable::<16>::REGISTER_TILE,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => Avx2::REGISTER_TILE,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => Avx512::REGISTER_TILE,
        }
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// What the kernel itself asks for.
    #[inline(always)]
    pub unsafe fn run<K: Kernel>(self, kernel: K) {
        // SAFETY: a value of `Isa` exists only where the CPU has the instructions; the rest is the
        // caller's promise to the kernel.
        unsafe {
            match self.0 {
                InstructionSet::Portable8 => kernel.run::<Portable<8>>(),
                #[cfg(test)]
                InstructionSet::Portable16 => kernel.run::<Portable<16>>(),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => run_avx2(kernel),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => run_avx512(kernel),
            }
        }
    }
}

/// Work on vectors: the arguments of a kernel as a value.
pub trait Kernel {
    /// Does the work; implementations are `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the instructions of `S`, and the pointers of `self` are what the kernel says.
    unsafe fn run<S: Simd>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: the caller's promises are the kernel's.
    unsafe { kernel.run::<Avx2>() }
}

/// Without `avx512vl` the compiler keeps accumulators out of registers 16 to 31 and spills.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
unsafe fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: the caller's promises are the kernel's.
    unsafe { kernel.run::<Avx512>() }
}

/// A vector of `LANES` floats, 8 or 16: one or two pixels of a plane, or a pixel of one or two
/// planes. A value exists only where the CPU has the instructions: making one is unsafe, arithmetic
/// is not.
pub trait Simd: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// Floats in a vector.
    const LANES: usize;
    /// Groups of 8 floats in a vector.
    const HALVES: usize = Self::LANES / 8;
    /// See [`Isa::register_tile`].
    const REGISTER_TILE: (usize, usize) = if Self::LANES == 8 { (6, 2) } else { (8, 3) };

    /// Every lane `x`.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn splat(x: f32) -> Self;

    /// `LANES` floats from `p`.
    ///
    /// # Safety
    /// The CPU has the instructions; the floats are readable.
    unsafe fn load(p: *const f32) -> Self;

    /// Writes `LANES` floats.
    ///
    /// # Safety
    /// The floats are writable.
    unsafe fn store(self, p: *mut f32);

    /// 8 floats from `low`, and 8 from `high` where there is room for them.
    ///
    /// # Safety
    /// The CPU has the instructions; the floats are readable.
    unsafe fn load_halves(low: *const f32, high: *const f32) -> Self;

    /// The first `halves` (1 or more) halves to `p`, `p + stride`.
    ///
    /// # Safety
    /// The floats are writable.
    unsafe fn store_halves(self, p: *mut f32, stride: usize, halves: usize);

    /// Asks for the cache line of `p`, which need not be readable.
    fn prefetch(p: *const f32);

    /// `self * b + c`.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self * x`
    #[inline(always)]
    fn scale(self, x: f32) -> Self {
        // SAFETY: `self` exists, so the CPU has the instructions.
        self * unsafe { Self::splat(x) }
    }

    /// `self * x + c`
    #[inline(always)]
    fn mul_add_scaled(self, x: f32, c: Self) -> Self {
        // SAFETY: `self` exists, so the CPU has the instructions.
        self.mul_add(unsafe { Self::splat(x) }, c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every operation and leaves the results in `out`, 32 floats a result.
    struct Everything<'a> {
        a: &'a [f32; 32],
        b: &'a [f32; 32],
        out: &'a mut [f32; 160],
    }

    impl Kernel for Everything<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let (a, b, out) = (self.a.as_ptr(), self.b.as_ptr(), self.out.as_mut_ptr());
            for i in (0..32).step_by(S::LANES) {
                // SAFETY: LANES divides 32, and `out` holds five times 32 floats.
                unsafe {
                    let (x, y) = (S::load(a.add(i)), S::load(b.add(i)));
                    (x + y).store(out.add(i));
                    (x - y).store(out.add(32 + i));
                    x.mul_add(y, S::splat(0.5)).store(out.add(64 + i));
                    (x * y).store(out.add(96 + i));
                    let halves = S::load_halves(a.add(i), a.add(i + 8 * (S::HALVES - 1)));
                    halves.store_halves(out.add(128 + i), 8, S::HALVES);
                }
            }
        }
    }

    #[test]
    fn every_operation_on_every_instruction_set() {
        let a: [f32; 32] = std::array::from_fn(|i| i as f32 - 11.0);
        let b: [f32; 32] = std::array::from_fn(|i| (i * 7 % 13) as f32);
        for isa in Isa::available() {
            let mut out = [f32::NAN; 160];
            // SAFETY: the kernel's arrays have the sizes that it asks for.
            unsafe {
                isa.run(Everything {
                    a: &a,
                    b: &b,
                    out: &mut out,
                })
            }
            for i in 0..32 {
                let want = [
                    a[i] + b[i],
                    a[i] - b[i],
                    a[i] * b[i] + 0.5,
                    a[i] * b[i],
                    a[i],
                ];
                let got: [f32; 5] = std::array::from_fn(|k| out[k * 32 + i]);
                assert_eq!(got, want, "{}, lane {i}", isa.name());
            }
        }
    }
}
