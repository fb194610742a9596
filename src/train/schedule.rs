//! The learning rate of an epoch.

/// Learning rate of `epoch` (from 0) of `epochs`: a tenth from one half on, a hundredth from three
/// quarters on (formats.md, section 1).
// paper P6.7
pub fn learning_rate(initial: f64, epoch: usize, epochs: usize) -> f64 {
    if 4 * epoch >= 3 * epochs {
        initial / 100.0
    } else if 2 * epoch >= epochs {
        initial / 10.0
    } else {
        initial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // paper P6.7
    #[test]
    fn drops_at_half_and_at_three_quarters() {
        let rates = |epochs: usize| -> Vec<f64> {
            (0..epochs)
                .map(|e| learning_rate(100.0, e, epochs))
                .collect()
        };
        assert_eq!(rates(1), [100.0]);
        assert_eq!(rates(2), [100.0, 10.0]);
        assert_eq!(rates(3), [100.0, 100.0, 10.0]);
        assert_eq!(rates(4), [100.0, 100.0, 10.0, 1.0]);
        assert_eq!(rates(5), [100.0, 100.0, 100.0, 10.0, 1.0]);
    }
}
