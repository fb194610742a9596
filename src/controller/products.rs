//! The three products of a matrix that a linear map and its gradient need, over contiguous rows.
//!
//! A matrix is `[inputs][outputs]`: its rows have the length of the output, so that the forward
//! product is a sum of rows and needs no reordering of additions to be fast.

/// `y += x W`: adds to each output the inputs times their weights.
pub(super) fn add_product(y: &mut [f64], x: &[f64], w: &[f64]) {
    debug_assert_eq!(w.len(), x.len() * y.len());
    for (&x, row) in x.iter().zip(w.chunks_exact(y.len())) {
        for (y, &w) in y.iter_mut().zip(row) {
            *y += x * w;
        }
    }
}

/// `dx += dy W^T`: the gradient of [`add_product`] to its input.
pub(super) fn add_product_bwd_data(dx: &mut [f64], dy: &[f64], w: &[f64]) {
    debug_assert_eq!(w.len(), dx.len() * dy.len());
    for (dx, row) in dx.iter_mut().zip(w.chunks_exact(dy.len())) {
        *dx += dot(row, dy);
    }
}

/// `dw += x^T dy`: the gradient of [`add_product`] to its matrix.
pub(super) fn add_product_bwd_weights(dw: &mut [f64], x: &[f64], dy: &[f64]) {
    debug_assert_eq!(dw.len(), x.len() * dy.len());
    for (&x, row) in x.iter().zip(dw.chunks_exact_mut(dy.len())) {
        for (dw, &dy) in row.iter_mut().zip(dy) {
            *dw += x * dy;
        }
    }
}

/// The scalar product, in eight interleaved sums so that it does not wait for each addition.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    let mut sums = [0.0; 8];
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// `y += x`.
pub(super) fn add(y: &mut [f64], x: &[f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}
