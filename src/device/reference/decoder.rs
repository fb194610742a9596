//! The softmax over the vocabulary and its cross-entropy, with the gradients.

use super::tensor::Memory;
use crate::graph::plan::Plan;
use crate::graph::recurrent::Decoder;

/// Sum of the cross-entropy over the places that have a target; logits = x W^T + bias.
pub fn loss(plan: &Plan, decoder: &Decoder, memory: &Memory) -> f64 {
    let places = (0..decoder.n).filter_map(|place| TargetPlace::new(plan, decoder, place, memory));
    places.map(|place| place.loss()).sum()
}

/// The same, and the gradients of the loss divided by `rows`: to x, to W and to the bias.
pub fn loss_and_gradients(plan: &Plan, decoder: &Decoder, memory: &mut Memory) -> f64 {
    let hidden = decoder.hidden;
    let mut loss = 0.0;
    let mut dx = vec![0.0; decoder.n * hidden];
    let mut dweight = vec![0.0; decoder.weight.len];
    let mut dbias = vec![0.0; decoder.bias.len];
    for i in 0..decoder.n {
        let Some(place) = TargetPlace::new(plan, decoder, i, memory) else {
            continue;
        };
        loss += place.loss();
        for word in 0..decoder.vocabulary {
            let dlogit = place.dlogit(word) / decoder.rows as f64;
            dbias[word] += dlogit;
            let w = &memory[plan.weights].values[decoder.weight.range()][word * hidden..][..hidden];
            for k in 0..hidden {
                dx[i * hidden + k] += dlogit * w[k];
                dweight[word * hidden + k] += dlogit * place.x[k];
            }
        }
    }
    memory[decoder.dx].values = dx;
    let gradients = &mut memory[plan.gradients].values;
    gradients[decoder.weight.range()].copy_from_slice(&dweight);
    gradients[decoder.bias.range()].copy_from_slice(&dbias);
    loss
}

/// A place with a target.
struct TargetPlace {
    x: Vec<f64>,
    target: usize,
    logits: Vec<f64>,
    /// Logarithm of the sum of their exponentials.
    log_sum: f64,
}

impl TargetPlace {
    fn new(plan: &Plan, decoder: &Decoder, place: usize, memory: &Memory) -> Option<TargetPlace> {
        let target = memory[decoder.targets].values[place];
        let x = memory[decoder.x].values[place * decoder.hidden..][..decoder.hidden].to_vec();
        let weights = &memory[plan.weights].values;
        let logit = |word: usize| {
            let w = &weights[decoder.weight.range()][word * decoder.hidden..][..decoder.hidden];
            let product: f64 = w.iter().zip(&x).map(|(w, x)| w * x).sum();
            product + weights[decoder.bias.start + word]
        };
        let logits: Vec<f64> = (0..decoder.vocabulary).map(logit).collect();
        // The largest is taken off first, so that exp cannot overflow.
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
        (target >= 0.0).then(|| TargetPlace {
            x,
            target: target as usize,
            log_sum: largest + sum.ln(),
            logits,
        })
    }

    fn loss(&self) -> f64 {
        self.log_sum - self.logits[self.target]
    }

    /// softmax - one-hot.
    fn dlogit(&self, word: usize) -> f64 {
        let softmax = (self.logits[word] - self.log_sum).exp();
        softmax - if word == self.target { 1.0 } else { 0.0 }
    }
}
