//! The embedding: rows of the weights, and the gradient to them.

use crate::graph::recurrent::Embedding;

/// out[i] = weight[tokens[i]].
pub fn fwd(embedding: &Embedding, tokens: &[f32], weight: &[f32], out: &mut [f32]) {
    let hidden = embedding.hidden;
    for (token, out) in tokens.iter().zip(out.chunks_exact_mut(hidden)) {
        out.copy_from_slice(&weight[*token as usize * hidden..][..hidden]);
    }
}

/// Adds dout[i] to the gradient of row tokens[i], in the order of the places.
pub fn bwd(embedding: &Embedding, tokens: &[f32], dout: &[f32], dweight: &mut [f32]) {
    if !embedding.tied {
        dweight.fill(0.0);
    }
    let hidden = embedding.hidden;
    for (token, dout) in tokens.iter().zip(dout.chunks_exact(hidden)) {
        let row = &mut dweight[*token as usize * hidden..][..hidden];
        row.iter_mut().zip(dout).for_each(|(sum, x)| *sum += x);
    }
}
