//! The classifier: logits = features W^T + bias, and the gradients.

use super::tensor::Memory;
use crate::graph::plan::Plan;
use crate::graph::step::Classifier;

/// logits[n,k] = bias[k] + sum over c of W[k,c] features[n,c].
pub fn fwd(plan: &Plan, classifier: &Classifier, memory: &mut Memory) {
    let Classifier {
        n_features,
        n_classes,
        ..
    } = *classifier;
    for n in 0..plan.batch {
        for k in 0..n_classes {
            let weights = &memory[plan.weights].values;
            let mut sum = weights[classifier.bias.start + k];
            for c in 0..n_features {
                sum += weights[classifier.weight.start + k * n_features + c]
                    * memory[classifier.features].values[n * n_features + c];
            }
            memory[classifier.logits].values[n * n_classes + k] = sum;
        }
    }
}

/// dfeatures = dlogits W, dW = dlogits^T features, dbias = sum over n of dlogits.
pub fn bwd(plan: &Plan, classifier: &Classifier, memory: &mut Memory) {
    let Classifier {
        n_features,
        n_classes,
        ..
    } = *classifier;
    let weight = |k: usize, c: usize| classifier.weight.start + k * n_features + c;
    let mut dfeatures = vec![0.0; plan.batch * n_features];
    let mut dweight = vec![0.0; n_classes * n_features];
    let mut dbias = vec![0.0; n_classes];
    for n in 0..plan.batch {
        for k in 0..n_classes {
            let dlogit = memory[classifier.dlogits].values[n * n_classes + k];
            dbias[k] += dlogit;
            for c in 0..n_features {
                let feature = memory[classifier.features].values[n * n_features + c];
                dfeatures[n * n_features + c] += dlogit * memory[plan.weights].values[weight(k, c)];
                dweight[k * n_features + c] += dlogit * feature;
            }
        }
    }
    memory[classifier.dfeatures].values = dfeatures;
    let gradients = &mut memory[plan.gradients].values;
    gradients[classifier.weight.range()].copy_from_slice(&dweight);
    gradients[classifier.bias.range()].copy_from_slice(&dbias);
}
