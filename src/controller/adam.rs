//! Adam (Kingma and Ba 2015), ascending.

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The optimiser's state, of all weights or of a share of them: it works on each by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// Steps taken.
    pub step: u64,
    /// Moving average of the gradient.
    pub mean: Vec<f64>,
    /// Moving average of its square.
    pub square: Vec<f64>,
}

impl Adam {
    /// That of weights that no step has moved.
    pub fn new(n_weights: usize) -> Self {
        Adam {
            step: 0,
            mean: vec![0.0; n_weights],
            square: vec![0.0; n_weights],
        }
    }

    /// Moves the weights along the gradient of what is to be increased.
    // paper P4.5
    pub fn ascend(&mut self, weights: &mut [f64], gradient: &[f64], learning_rate: f64) {
        let [correction1, correction2] = self.corrections();
        self.step += 1;
        for (i, &g) in gradient.iter().enumerate() {
            self.mean[i] = BETA1 * self.mean[i] + (1.0 - BETA1) * g;
            self.square[i] = BETA2 * self.square[i] + (1.0 - BETA2) * g * g;
            let (mean, square) = (self.mean[i] / correction1, self.square[i] / correction2);
            weights[i] += learning_rate * mean / (square.sqrt() + EPSILON);
        }
    }

    /// What the next step divides the averages of the gradient and of its square by: they began at
    /// zero.
    pub fn corrections(&self) -> [f64; 2] {
        let step = (self.step + 1).min(1 << 20) as i32;
        [BETA1, BETA2].map(|beta| 1.0 - beta.powi(step))
    }
}
