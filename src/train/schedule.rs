//! The learning rate of an epoch.

/// Learning rate of `epoch` (from 0) of `epochs`: a tenth from one half on, a hundredth from three
/// quarters on (formats.md, section 1); where an epoch `first` is given, a tenth from there on, and a
/// hundredth from half way between it and the end.
// paper P6.7
pub fn in_steps(initial: f64, epoch: usize, epochs: usize, first: Option<usize>) -> f64 {
    // In quarters of an epoch, so that halves of odd numbers are whole.
    let first = first.map_or(2 * epochs, |first| 4 * first);
    let second = (first + 4 * epochs) / 2;
    if 4 * epoch >= second {
        initial / 100.0
    } else if 4 * epoch >= first {
        initial / 10.0
    } else {
        initial
    }
}

/// Learning rate of `epoch` (from 0): the initial one for `constant` epochs, divided by `decay` once
/// more in each later one (Zaremba et al. 2014, section 4.1).
pub fn by_decay(initial: f64, epoch: usize, constant: usize, decay: f64) -> f64 {
    let later = (epoch + 1).saturating_sub(constant);
    initial / decay.powi(i32::try_from(later).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    // paper P6.7
    #[test]
    fn drops_at_half_and_at_three_quarters() {
        let rates = |epochs: usize| -> Vec<f64> {
            (0..epochs)
                .map(|e| in_steps(100.0, e, epochs, None))
                .collect()
        };
        assert_eq!(rates(1), [100.0]);
        assert_eq!(rates(2), [100.0, 10.0]);
        assert_eq!(rates(3), [100.0, 100.0, 10.0]);
        assert_eq!(rates(4), [100.0, 100.0, 10.0, 1.0]);
        assert_eq!(rates(5), [100.0, 100.0, 100.0, 10.0, 1.0]);
    }

    #[test]
    fn decays_after_the_constant_epochs() {
        let rates: Vec<f64> = (0..9).map(|e| by_decay(1.0, e, 6, 2.0)).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.125]);
    }
}
