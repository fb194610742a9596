//! What a search makes of a child's accuracies.

/// Last epochs that the reward looks at.
pub const REWARD_EPOCHS: usize = 5;

/// The best of the accuracies of the last five epochs, or of those there are; `None` without any.
pub fn best_of_last(accuracies: &[f64]) -> Option<f64> {
    let last = &accuracies[accuracies.len().saturating_sub(REWARD_EPOCHS)..];
    last.iter().copied().reduce(f64::max)
}

/// The reward of a child: the cube of [`best_of_last`] (the paper, section 4.1); 0 without epochs.
// paper P6.8
pub fn reward(accuracies: &[f64]) -> f64 {
    best_of_last(accuracies).unwrap_or(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    // paper P6.8
    #[test]
    fn only_the_last_five_count() {
        assert_eq!(reward(&[0.9, 0.1, 0.2, 0.5, 0.3, 0.4]), 0.125);
        assert_eq!(reward(&[0.5, 0.25]), 0.125);
        assert_eq!(reward(&[]), 0.0);
    }
}
