//! Nesterov momentum with weight decay, as PyTorch's SGD: g += wd w; v = mu v + g;
//! w -= lr (g + mu v); and plain descent with the gradient's norm limited.

use super::tensor::Memory;
use crate::device::Control;
use crate::graph::plan::Plan;

/// One step over all parameters; says whether every new weight is finite.
// paper P6.6
pub fn step(plan: &Plan, control: &Control, memory: &mut Memory) -> bool {
    let learning_rate = f64::from(control.learning_rate);
    let mu = f64::from(control.momentum);
    let weight_decay = f64::from(control.weight_decay);
    let mut finite = true;
    for i in 0..memory[plan.weights].values.len() {
        let w = memory[plan.weights].values[i];
        let g = memory[plan.gradients].values[i] + weight_decay * w;
        let v = mu * memory[plan.momentum].values[i] + g;
        let w = w - learning_rate * (g + mu * v);
        finite &= w.is_finite();
        memory[plan.momentum].values[i] = v;
        memory[plan.weights].values[i] = w;
    }
    finite
}

/// w -= lr g min(1, max_norm / |g|), |g| over all parameters; says whether every new weight is finite.
pub fn descend(plan: &Plan, control: &Control, memory: &mut Memory) -> bool {
    let gradients = memory[plan.gradients].values.clone();
    let norm = gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
    let max_norm = f64::from(control.max_norm);
    let factor = if norm > max_norm {
        max_norm / norm
    } else {
        1.0
    };
    let rate = f64::from(control.learning_rate) * factor;
    let weights = &mut memory[plan.weights].values;
    weights
        .iter_mut()
        .zip(gradients)
        .for_each(|(w, g)| *w -= rate * g);
    weights.iter().all(|w| w.is_finite())
}
