//! The embedding: a row of the weights for each word, and the gradient to the rows.

use super::tensor::Memory;
use crate::graph::plan::Plan;
use crate::graph::recurrent::Embedding;

/// out[i] = weight[tokens[i]].
pub fn fwd(plan: &Plan, embedding: &Embedding, memory: &mut Memory) {
    let hidden = embedding.hidden;
    for i in 0..embedding.n {
        let word = memory[embedding.tokens].values[i] as usize;
        let start = embedding.weight.start + word * hidden;
        let row = memory[plan.weights].values[start..start + hidden].to_vec();
        memory[embedding.out].values[i * hidden..][..hidden].copy_from_slice(&row);
    }
}

/// dweight[v] = sum over the places i of word v of dout[i], added to what the decoder has written
/// where the weights are its own too.
pub fn bwd(plan: &Plan, embedding: &Embedding, memory: &mut Memory) {
    let hidden = embedding.hidden;
    let mut dweight = vec![0.0; embedding.weight.len];
    for i in 0..embedding.n {
        let word = memory[embedding.tokens].values[i] as usize;
        for k in 0..hidden {
            dweight[word * hidden + k] += memory[embedding.dout].values[i * hidden + k];
        }
    }
    let gradients = &mut memory[plan.gradients].values[embedding.weight.range()];
    for (gradient, dweight) in gradients.iter_mut().zip(dweight) {
        *gradient = if embedding.tied { *gradient } else { 0.0 } + dweight;
    }
}
