//! Launches of products of matrices by tensor cores.

use super::declare::{In, Out, structs};
use super::launches::Launches;

structs! {
    /// Of `gemm_nn`, `gemm_nt` and `gemm_tn`.
    struct GemmArgs {
        a: In<f32>,
        b: In<f32>,
        bias: In<f32>,
        out: Out<f32>,
        m: i32,
        n: i32,
        k: i32,
        has_bias: i32,
    }
}

/// Rows and columns of a tile of a product, and what of its sum is in shared memory together.
pub const TILE: usize = 128;
pub const STEP: usize = 32;
/// Values between two lines of a factor in shared memory, beyond those of a line.
const GAP: usize = 8;
/// Bytes of two steps of a factor whose lines are along the sum, and of one whose are not.
pub const BY_STEP: usize = 4 * TILE * (STEP + GAP);
pub const ACROSS: usize = 4 * STEP * (TILE + GAP);

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    [("TILE", TILE), ("STEP", STEP), ("GAP", GAP)]
        .map(|(name, number)| (name, number.to_string()))
        .to_vec()
}

/// Which factors lie transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transposed {
    /// None: `[m][k]` and `[k][n]`.
    Nn,
    /// The second: `[m][k]` and `[n][k]`.
    Nt,
    /// The first: `[k][m]` and `[k][n]`.
    Tn,
}

impl Launches<'_> {
    /// `out` `[m][n]` = a b (+ `bias` `[n]`), with sums over k.
    pub(super) fn gemm(
        &mut self,
        transposed: Transposed,
        (a, b): (In<f32>, In<f32>),
        bias: Option<In<f32>>,
        out: Out<f32>,
        [m, n, k]: [usize; 3],
    ) {
        let args = GemmArgs {
            a,
            b,
            bias: bias.unwrap_or(b),
            out,
            m: m as i32,
            n: n as i32,
            k: k as i32,
            has_bias: i32::from(bias.is_some()),
        };
        let (kernel, shared_bytes) = match transposed {
            Transposed::Nn => ("gemm_nn", BY_STEP + ACROSS),
            Transposed::Nt => ("gemm_nt", 2 * BY_STEP),
            Transposed::Tn => ("gemm_tn", 2 * ACROSS),
        };
        let grid = [m.div_ceil(TILE), n.div_ceil(TILE), 1];
        self.push_shared(kernel, grid, 256, shared_bytes, &args);
    }
}
