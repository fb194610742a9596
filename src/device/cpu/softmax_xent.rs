//! Softmax, cross-entropy and its gradient.

/// What a batch adds to the results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Sum of the cross-entropy over the images.
    pub sum: f64,
    /// Images whose largest logit (the first of equals) is their label's.
    pub correct: u64,
}

/// The loss of images with `labels` from logits `[n][n_classes]`; dlogits = (softmax - one-hot) / n.
pub fn fwd_bwd(logits: &[f32], labels: &[u8], n_classes: usize, dlogits: &mut [f32]) -> Loss {
    let n = labels.len() as f64;
    let mut loss = Loss {
        sum: 0.0,
        correct: 0,
    };
    let rows = logits
        .chunks_exact(n_classes)
        .zip(dlogits.chunks_exact_mut(n_classes));
    for ((logits, dlogits), &label) in rows.zip(labels) {
        let label = usize::from(label);
        let mut top = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[top] {
                top = class;
            }
        }
        let exp = |logit: f32| (f64::from(logit) - f64::from(logits[top])).exp();
        let total: f64 = logits.iter().map(|&logit| exp(logit)).sum();
        loss.sum += total.ln() + f64::from(logits[top]) - f64::from(logits[label]);
        loss.correct += u64::from(top == label);
        for (class, (dlogit, &logit)) in dlogits.iter_mut().zip(logits).enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            *dlogit = ((exp(logit) / total - target) / n) as f32;
        }
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let ln3 = 3f32.ln();
        let mut dlogits = [0.0; 4];
        let loss = fwd_bwd(&[ln3, 0.0, 100.0, 100.0], &[0, 1], 2, &mut dlogits);
        assert!((loss.sum - (4f64 / 3.0).ln() - 2f64.ln()).abs() < 1e-7);
        assert_eq!(loss.correct, 1, "of equal logits the first counts");
        let want = [-0.125, 0.125, 0.25, -0.25];
        assert!(
            dlogits
                .iter()
                .zip(want)
                .all(|(d, want)| (d - want).abs() < 1e-7),
            "{dlogits:?}"
        );
    }

    #[test]
    fn what_is_not_a_number_reaches_the_loss() {
        let mut dlogits = [0.0; 2];
        assert!(
            fwd_bwd(&[0.0, f32::NAN], &[0], 2, &mut dlogits)
                .sum
                .is_nan()
        );
    }
}
