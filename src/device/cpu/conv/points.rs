//! Kernels that are compiled for every pair of transforms, one along y and one along x.

use crate::device::cpu::simd::{Isa, Kernel, Simd};

/// Arguments of such a kernel. Of the transforms along y and x, A is the number of points, R that of
/// the taps of a part, and M that of the outputs of a tile.
pub(super) trait ByPoints: Copy {
    /// # Safety
    /// What the kernel itself asks for.
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
    );
}

/// Runs the kernel for the points of y and x.
///
/// # Safety
/// What the kernel itself asks for.
pub(super) unsafe fn run<T: ByPoints>(isa: Isa, [y, x]: [usize; 2], args: T) {
    // SAFETY: the caller's promise.
    unsafe {
        match y {
            1 => along_x::<T, 1, 1, 1>(isa, x, args),
            6 => along_x::<T, 6, 3, 4>(isa, x, args),
            7 => along_x::<T, 7, 4, 4>(isa, x, args),
            8 => along_x::<T, 8, 5, 4>(isa, x, args),
            _ => unreachable!("schemes have 1, 6, 7 or 8 points"),
        }
    }
}

unsafe fn along_x<T: ByPoints, const AY: usize, const RY: usize, const MY: usize>(
    isa: Isa,
    x: usize,
    args: T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match x {
            1 => isa.run(Shaped::<T, AY, 1, RY, 1, MY, 1>(args)),
            6 => isa.run(Shaped::<T, AY, 6, RY, 3, MY, 4>(args)),
            7 => isa.run(Shaped::<T, AY, 7, RY, 4, MY, 4>(args)),
            8 => isa.run(Shaped::<T, AY, 8, RY, 5, MY, 4>(args)),
            _ => unreachable!("schemes have 1, 6, 7 or 8 points"),
        }
    }
}

/// The numbers as types.
struct Shaped<
    T,
    const AY: usize,
    const AX: usize,
    const RY: usize,
    const RX: usize,
    const MY: usize,
    const MX: usize,
>(T);

impl<
    T: ByPoints,
    const AY: usize,
    const AX: usize,
    const RY: usize,
    const RX: usize,
    const MY: usize,
    const MX: usize,
> Kernel for Shaped<T, AY, AX, RY, RX, MY, MX>
{
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.kernel::<S, AY, AX, RY, RX, MY, MX>() }
    }
}
