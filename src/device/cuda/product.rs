//! Launches of products of matrices in f32.

use super::declare::{In, Out, structs};
use super::launches::Launches;

structs! {
    /// Of `product_rows`.
    struct ProductArgs {
        a: In<f32>,
        b: In<f32>,
        bias: In<f32>,
        out: Out<f32>,
        m: i32,
        n: i32,
        k: i32,
        pieces: i32,
        has_bias: i32,
        reserved: i32,
    }

    /// Of `column_sums` and `transpose`.
    struct MatrixArgs {
        a: In<f32>,
        out: Out<f32>,
        m: i32,
        n: i32,
    }
}

impl Launches<'_> {
    /// `out` `[m][n]` = `a` `[m][k]` times `b` `[n][k]`, row by row, plus `bias` `[n]`; the sums are
    /// those of so many pieces of k.
    pub(super) fn product_rows(
        &mut self,
        (a, b): (In<f32>, In<f32>),
        bias: Option<In<f32>>,
        out: Out<f32>,
        [m, n, k]: [usize; 3],
        pieces: usize,
    ) {
        assert!(k.is_multiple_of(pieces), "{k} is so many pieces: {pieces}");
        let args = ProductArgs {
            a,
            b,
            bias: bias.unwrap_or(b),
            out,
            m: m as i32,
            n: n as i32,
            k: k as i32,
            pieces: pieces as i32,
            has_bias: i32::from(bias.is_some()),
            reserved: 0,
        };
        let tiles = m.div_ceil(32) * n.div_ceil(32);
        self.push("product_rows", [tiles, 1, 1], 256, &args);
    }

    /// `out` `[n]`: the sums of the columns of `a` `[m][n]`.
    pub(super) fn column_sums(&mut self, a: In<f32>, out: Out<f32>, [m, n]: [usize; 2]) {
        let (m, n) = (m as i32, n as i32);
        let grid = [(n as usize).div_ceil(64), 1, 1];
        self.push("column_sums", grid, 64, &MatrixArgs { a, out, m, n });
    }

    /// `out` `[n][m]`: the columns of `a` `[m][n]`.
    pub(super) fn transpose(&mut self, a: In<f32>, out: Out<f32>, [m, n]: [usize; 2]) {
        let grid = [n.div_ceil(32), m.div_ceil(32), 1];
        let (m, n) = (m as i32, n as i32);
        let args = MatrixArgs { a, out, m, n };
        self.push_shared("transpose", grid, 256, 4 * 32 * 33, &args);
    }
}
