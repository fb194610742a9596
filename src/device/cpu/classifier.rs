//! The last layer: logits = features Wᵀ + bias, and its gradients. A few hundred features and ten
//! classes: plain loops, images in order.

use super::loops::{self, Loop};
use super::simd::Isa;

/// logits[n,k] = bias[k] + sum over f of features[n,f] weight[k,f].
pub fn fwd(isa: Isa, features: &[f32], weight: &[f32], bias: &[f32], logits: &mut [f32]) {
    loops::run(
        isa,
        Fwd {
            features,
            weight,
            bias,
            logits,
        },
    );
}

struct Fwd<'a> {
    features: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    logits: &'a mut [f32],
}

impl Loop for Fwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Fwd {
            features,
            weight,
            bias,
            logits,
        } = self;
        let (n_features, n_classes) = (weight.len() / bias.len(), bias.len());
        let images = features.chunks_exact(n_features);
        for (features, logits) in images.zip(logits.chunks_exact_mut(n_classes)) {
            let rows = weight.chunks_exact(n_features).zip(bias);
            for (logit, (weight, bias)) in logits.iter_mut().zip(rows) {
                *logit = bias + dot(features, weight);
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// What [`bwd`] reads and writes; `n` images.
pub struct Bwd<'a> {
    /// `[n][n_features]`.
    pub features: &'a [f32],
    /// `[n][n_classes]`.
    pub dlogits: &'a [f32],
    /// `[n_classes][n_features]`.
    pub weight: &'a [f32],
    /// Written: gradients to the features, weights and bias.
    pub dfeatures: &'a mut [f32],
    pub dweight: &'a mut [f32],
    pub dbias: &'a mut [f32],
}

/// dfeatures = dlogits W; dW = dlogitsᵀ features; dbias = sum over n of dlogits.
pub fn bwd(isa: Isa, arguments: Bwd) {
    loops::run(isa, arguments);
}

impl Loop for Bwd<'_> {
    #[inline(always)]
    fn run(self) {
        let Bwd {
            features,
            dlogits,
            weight,
            dfeatures,
            dweight,
            dbias,
        } = self;
        let (n_features, n_classes) = (weight.len() / dbias.len(), dbias.len());
        dweight.fill(0.0);
        dbias.fill(0.0);
        dfeatures.fill(0.0);
        let images = (features.chunks_exact(n_features))
            .zip(dfeatures.chunks_exact_mut(n_features))
            .zip(dlogits.chunks_exact(n_classes));
        for ((features, dfeatures), dlogits) in images {
            let rows = weight
                .chunks_exact(n_features)
                .zip(dweight.chunks_exact_mut(n_features));
            for (((weight, dweight), &d), dbias) in rows.zip(dlogits).zip(&mut *dbias) {
                *dbias += d;
                for i in 0..n_features {
                    dfeatures[i] += d * weight[i];
                    dweight[i] += d * features[i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (features, weight) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, -1.0, 2.0]);
        let mut logits = [0.0; 4];
        fwd(Isa::detect(), &features, &weight, &[0.5, 1.0], &mut logits);
        assert_eq!(logits, [1.5, 4.0, 3.5, 6.0]);
        let (mut dfeatures, mut dweight, mut dbias) = ([0.0; 4], [0.0; 4], [0.0; 2]);
        bwd(
            Isa::detect(),
            Bwd {
                features: &features,
                dlogits: &[1.0, 0.0, 2.0, -1.0],
                weight: &weight,
                dfeatures: &mut dfeatures,
                dweight: &mut dweight,
                dbias: &mut dbias,
            },
        );
        assert_eq!(dfeatures, [1.0, 0.0, 3.0, -2.0]);
        assert_eq!(dweight, [7.0, 10.0, -3.0, -4.0]);
        assert_eq!(dbias, [3.0, -1.0]);
    }
}
