//! Nesterov momentum with weight decay, and plain descent with a clipped gradient.

use std::sync::atomic::{AtomicBool, Ordering};

use super::loops::{self, Loop, ZERO, zip};
use super::simd::Isa;
use super::workers::each;
use crate::device::Control;

/// Parameters of a task.
const CHUNK: usize = 16 << 10;

/// g = gradient + decay w; v = momentum v + g; w = w - rate (g + momentum v). Returns whether every
/// new parameter is finite.
pub fn step(
    isa: Isa,
    control: &Control,
    weights: &mut [f32],
    gradients: &[f32],
    velocities: &mut [f32],
) -> bool {
    let pieces = (weights.chunks_mut(CHUNK))
        .zip(gradients.chunks(CHUNK))
        .zip(velocities.chunks_mut(CHUNK));
    are_finite(pieces, |((weights, gradients), velocities), check| {
        let nesterov = Nesterov {
            control,
            weights,
            gradients,
            velocities,
            check,
        };
        loops::run(isa, nesterov);
    })
}

/// Updates every piece; whether each left its check at 0, as finite parameters do.
fn are_finite<T: Send>(
    pieces: impl Iterator<Item = T> + Send,
    update: impl Fn(T, &mut f32) + Sync,
) -> bool {
    let finite = AtomicBool::new(true);
    each(pieces, |piece| {
        let mut check = 0.0;
        update(piece, &mut check);
        if check != 0.0 {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

struct Nesterov<'a> {
    control: &'a Control,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    velocities: &'a mut [f32],
    /// 0, or not a number where a parameter is not finite.
    check: &'a mut f32,
}

impl Loop for Nesterov<'_> {
    #[inline(always)]
    fn run(self) {
        let Control {
            learning_rate,
            momentum,
            weight_decay,
            ..
        } = *self.control;
        // Chunks of a length that the compiler knows, which it turns to vectors.
        let (weights, last_weights) = self.weights.as_chunks_mut();
        let (gradients, last_gradients) = self.gradients.as_chunks();
        let (velocities, last_velocities) = self.velocities.as_chunks_mut();
        let decayed = |g: f32, w: f32| g + weight_decay * w;
        let velocity = |v: f32, g: f32| momentum * v + g;
        let ahead = |g: f32, v: f32| learning_rate * (g + momentum * v);
        let mut check = ZERO;
        for ((w, g), v) in weights.iter_mut().zip(gradients).zip(velocities) {
            let g = zip(g, w, decayed);
            *v = zip(v, &g, velocity);
            *w = zip(w, &zip(&g, v, ahead), |w, step| w - step);
            check = zip(&check, w, |check, w| check + w * 0.0);
        }
        let last = last_weights
            .iter_mut()
            .zip(last_gradients)
            .zip(last_velocities);
        for ((w, &g), v) in last {
            let g = decayed(g, *w);
            *v = velocity(*v, g);
            *w -= ahead(g, *v);
            check[0] += *w * 0.0;
        }
        *self.check = check.iter().sum();
    }
}

/// w = w - rate min(1, max_norm / |g|) g, |g| over all parameters. Returns whether every new
/// parameter is finite.
pub fn descend(isa: Isa, control: &Control, weights: &mut [f32], gradients: &[f32]) -> bool {
    // In pieces of one size, summed in their order.
    let pieces = gradients.chunks(CHUNK);
    let mut sums = vec![0.0; pieces.len()];
    each(pieces.zip(&mut sums), |(gradients, sum)| {
        loops::run(isa, SquareSum { gradients, sum });
    });
    let norm = sums.iter().sum::<f64>().sqrt();
    let max_norm = f64::from(control.max_norm);
    let factor = if norm > max_norm {
        max_norm / norm
    } else {
        1.0
    };
    let rate = (f64::from(control.learning_rate) * factor) as f32;
    let pieces = weights.chunks_mut(CHUNK).zip(gradients.chunks(CHUNK));
    are_finite(pieces, |(weights, gradients), check| {
        let descent = Descent {
            rate,
            weights,
            gradients,
            check,
        };
        loops::run(isa, descent);
    })
}

struct SquareSum<'a> {
    gradients: &'a [f32],
    sum: &'a mut f64,
}

impl Loop for SquareSum<'_> {
    #[inline(always)]
    fn run(self) {
        let mut sums = [0.0f64; 8];
        let mut add = |gradients: &[f32]| {
            for (sum, &g) in sums.iter_mut().zip(gradients) {
                *sum += f64::from(g) * f64::from(g);
            }
        };
        // Chunks of a length that the compiler knows, which it turns to vectors.
        let (gradients, last) = self.gradients.as_chunks::<8>();
        gradients.iter().for_each(|gradients| add(gradients));
        add(last);
        *self.sum = sums.iter().sum();
    }
}

struct Descent<'a> {
    rate: f32,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    /// 0, or not a number where a parameter is not finite.
    check: &'a mut f32,
}

impl Loop for Descent<'_> {
    #[inline(always)]
    fn run(self) {
        let (weights, last_weights) = self.weights.as_chunks_mut();
        let (gradients, last_gradients) = self.gradients.as_chunks();
        let mut check = ZERO;
        for (w, g) in weights.iter_mut().zip(gradients) {
            *w = zip(w, g, |w, g| w - self.rate * g);
            check = zip(&check, w, |check, w| check + w * 0.0);
        }
        for (w, &g) in last_weights.iter_mut().zip(last_gradients) {
            *w -= self.rate * g;
            check[0] += *w * 0.0;
        }
        *self.check = check.iter().sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: Control = Control {
        learning_rate: 0.5,
        momentum: 0.5,
        weight_decay: 0.25,
        max_norm: f32::INFINITY,
        epoch: None,
    };

    #[test]
    fn a_step_by_hand() {
        let (mut weights, mut velocities) = ([4.0; 9], [2.0; 9]);
        // g = 1 + 0.25 · 4 = 2; v = 0.5 · 2 + 2 = 3; w = 4 - 0.5 (2 + 0.5 · 3) = 2.25
        assert!(step(
            Isa::detect(),
            &CONTROL,
            &mut weights,
            &[1.0; 9],
            &mut velocities
        ));
        assert_eq!((weights, velocities), ([2.25; 9], [3.0; 9]));
    }

    #[test]
    fn a_value_that_is_not_finite_is_noticed_anywhere() {
        for at in 0..19 {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                let (mut weights, mut velocities) = ([1.0; 19], [0.0; 19]);
                let mut gradients = [0.0; 19];
                gradients[at] = bad;
                let control = Control {
                    momentum: 2.0,
                    ..CONTROL
                };
                let finite = step(
                    Isa::detect(),
                    &control,
                    &mut weights,
                    &gradients,
                    &mut velocities,
                );
                assert!(!finite, "{bad} at {at}");
                let control = Control {
                    learning_rate: 4.0,
                    ..CONTROL
                };
                let mut weights = [1.0; 19];
                let finite = descend(Isa::detect(), &control, &mut weights, &gradients);
                assert!(!finite, "descent: {bad} at {at}");
            }
        }
    }
}
