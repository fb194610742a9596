//! What a search makes of what a child achieved.

use serde::{Deserialize, Serialize};

use crate::space::SpaceKind;

/// Last epochs that the reward of a network looks at.
pub const REWARD_EPOCHS: usize = 5;

/// The reward of a cell is this over the square of its perplexity (the paper, section 4.2).
// paper P8.7
const CELL_REWARD: f64 = 80.0;

/// What a child achieved on the validation data after each epoch, or in each run of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// Of a network: shares that are right.
    Accuracies(Vec<f64>),
    /// Of a cell: perplexities.
    Perplexities(Vec<f64>),
    /// Of a cell of NAS-Bench-201: what the table has of each of its runs, in percent.
    TableAccuracies(Vec<f64>),
}

impl Scores {
    /// No epochs yet.
    pub fn none(kind: SpaceKind) -> Scores {
        match kind {
            SpaceKind::Conv => Scores::Accuracies(vec![]),
            SpaceKind::Cell => Scores::Perplexities(vec![]),
            SpaceKind::Bench => Scores::TableAccuracies(vec![]),
        }
    }

    /// Whether there were weights that achieved them.
    pub fn have_weights(&self) -> bool {
        !matches!(self, Scores::TableAccuracies(_))
    }

    /// A value an epoch.
    pub fn values(&self) -> &[f64] {
        match self {
            Scores::Accuracies(values)
            | Scores::Perplexities(values)
            | Scores::TableAccuracies(values) => values,
        }
    }

    /// One more epoch.
    pub fn push(&mut self, value: f64) {
        match self {
            Scores::Accuracies(values)
            | Scores::Perplexities(values)
            | Scores::TableAccuracies(values) => values.push(value),
        }
    }

    /// What the reward is made of: the best accuracy of the last five epochs, or of those there are,
    /// or the perplexity of the last one, or the mean of a table's runs; nothing without epochs.
    // paper P6.8, P8.7
    pub fn counted(&self) -> Option<Counted> {
        match self {
            Scores::Accuracies(values) => {
                let last = &values[values.len().saturating_sub(REWARD_EPOCHS)..];
                last.iter().copied().reduce(f64::max).map(Counted::Accuracy)
            }
            Scores::Perplexities(values) => values.last().copied().map(Counted::Perplexity),
            Scores::TableAccuracies(values) => {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                (!values.is_empty()).then_some(Counted::Accuracy(mean))
            }
        }
    }

    /// The reward of a child that was trained to the end: the cube of the accuracy (the paper,
    /// section 4.1), or 80 over the square of the perplexity (section 4.2), or a table's accuracy as it is; 0
    /// without epochs.
    pub fn reward(&self) -> f64 {
        match (self, self.counted()) {
            (_, None) => 0.0,
            (Scores::TableAccuracies(_), Some(Counted::Accuracy(percent))) => percent,
            (_, Some(Counted::Accuracy(accuracy))) => accuracy.powi(3),
            (_, Some(Counted::Perplexity(perplexity))) => CELL_REWARD / perplexity.powi(2),
        }
    }
}

/// The one value that the reward of a child is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Best validation accuracy of the last five epochs; of a table, the mean of its runs in percent.
    Accuracy(f64),
    /// Validation perplexity of the last epoch.
    Perplexity(f64),
}

impl Counted {
    /// Its name, and the value in as many digits as mean something.
    pub fn shown(self) -> (&'static str, String) {
        match self {
            Counted::Accuracy(accuracy) => ("accuracy", format!("{accuracy:.4}")),
            Counted::Perplexity(perplexity) => ("perplexity", format!("{perplexity:.2}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // paper P6.8
    #[test]
    fn only_the_last_five_accuracies_count() {
        let reward = |values: &[f64]| Scores::Accuracies(values.to_vec()).reward();
        assert_eq!(reward(&[0.9, 0.1, 0.2, 0.5, 0.3, 0.4]), 0.125);
        assert_eq!(reward(&[0.5, 0.25]), 0.125);
        assert_eq!(reward(&[]), 0.0);
    }

    // paper P8.7
    #[test]
    fn the_last_perplexity_counts() {
        let reward = |values: &[f64]| Scores::Perplexities(values.to_vec()).reward();
        assert_eq!(reward(&[1.0, 40.0]), 80.0 / 1600.0);
        // The square overflows, and the reward is what it tends to.
        assert_eq!(reward(&[1e300]), 0.0);
        assert_eq!(reward(&[]), 0.0);
    }
}
