//! Softmax with cross-entropy: the loss, the images that are right, and the gradient.

/// What a batch gives.
pub struct Xent {
    /// Sum of the cross-entropy over the images.
    pub loss_sum: f64,
    /// Images whose largest logit is their label's; of equal ones the lowest class counts.
    pub correct: u64,
    /// (softmax - one-hot) / n, `[n][n_classes]`; 0 for images without a label.
    pub dlogits: Vec<f64>,
}

/// Of `logits` `[n][n_classes]` and the labels of the first images; n in the gradient is the number
/// of labels.
pub fn fwd_bwd(logits: &[f64], labels: &[u8], n_classes: usize) -> Xent {
    let mut xent = Xent {
        loss_sum: 0.0,
        correct: 0,
        dlogits: vec![0.0; logits.len()],
    };
    for (n, &label) in labels.iter().enumerate() {
        let label = usize::from(label);
        let row = n * n_classes..(n + 1) * n_classes;
        let logits = &logits[row.clone()];
        let mut best = 0;
        for k in 1..n_classes {
            if logits[k] > logits[best] {
                best = k;
            }
        }
        // The largest is taken off first, so that exp cannot overflow; the quotient is the same.
        let sum: f64 = logits.iter().map(|x| (x - logits[best]).exp()).sum();
        xent.loss_sum += sum.ln() - (logits[label] - logits[best]);
        xent.correct += u64::from(best == label);
        for (k, dlogit) in xent.dlogits[row].iter_mut().enumerate() {
            let softmax = (logits[k] - logits[best]).exp() / sum;
            let one_hot = if k == label { 1.0 } else { 0.0 };
            *dlogit = (softmax - one_hot) / labels.len() as f64;
        }
    }
    xent
}
