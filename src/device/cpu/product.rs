//! Products of matrices by the `gemm` crate, in pieces whose sizes do not depend on the number of
//! threads.

use gemm::Parallelism;

use super::workers::each;

/// Columns of a piece of the result.
const COLUMNS: usize = 256;
/// Multiplications from which on a product is cut into pieces.
const LARGE: usize = 1 << 18;

/// The left factor, m x k.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// In row order.
    Rows(&'a [f32]),
    /// In column order: the rows of the slice are its columns.
    Columns(&'a [f32]),
}

/// out = left right, m x n, in row order.
pub struct Product<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub left: Left<'a>,
    /// k x n in row order, or n x k if `right_transposed`.
    pub right: &'a [f32],
    pub right_transposed: bool,
    pub out: &'a mut [f32],
    /// Whether the product is added to what `out` holds.
    pub add: bool,
}

/// Where a piece is written.
#[derive(Clone, Copy)]
struct Out(*mut f32);
// SAFETY: the pieces of a product are columns of their own.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Computes a product.
///
/// # Panics
/// If a factor or `out` is shorter than its sizes say.
pub fn product(p: Product) {
    let (m, n, k) = (p.m, p.n, p.k);
    let (left, left_strides) = match p.left {
        Left::Rows(left) => (left, (k as isize, 1)),
        Left::Columns(left) => (left, (1, m as isize)),
    };
    assert!(left.len() >= m * k && p.right.len() >= k * n && p.out.len() >= m * n);
    let right_strides = match p.right_transposed {
        true => (1, k as isize),
        false => (n as isize, 1),
    };
    let out = Out(p.out.as_mut_ptr());
    let piece = |first: usize, columns: usize| {
        let Out(out) = { out };
        // SAFETY: the factors hold m k and k n values and `out` m n, as asserted; no other piece
        // has these columns of `out`.
        unsafe {
            gemm::gemm(
                m,
                columns,
                k,
                out.add(first),
                1,
                n as isize,
                p.add,
                left.as_ptr(),
                left_strides.1,
                left_strides.0,
                p.right.as_ptr().offset(first as isize * right_strides.1),
                right_strides.1,
                right_strides.0,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    };
    if m * n * k < LARGE {
        return piece(0, n);
    }
    let firsts = (0..n).step_by(COLUMNS);
    each(firsts, |first| piece(first, COLUMNS.min(n - first)));
}
