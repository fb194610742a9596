//! What an epoch and an evaluation gave. The names are those of the commands' output.

use serde::{Deserialize, Serialize};

/// What an epoch gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Mean over the batches of the loss before each update, of an image or a word.
    pub train_loss: f64,
    /// Mean cross-entropy of the validation data.
    pub validation_loss: f64,
    /// What the child has achieved.
    #[serde(flatten)]
    pub score: Score,
    /// Time of the training part.
    pub seconds: f64,
    /// How fast that was.
    #[serde(flatten)]
    pub pace: Pace,
}

/// What an epoch has achieved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names are those of the output")]
pub enum Score {
    /// Share of the validation images that is right.
    Accuracy { validation_accuracy: f64 },
    /// Exponentials of the losses.
    Perplexity {
        train_perplexity: f64,
        validation_perplexity: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        validation_bits_per_character: Option<f64>,
    },
}

impl Score {
    /// The accuracy or the perplexity of the validation data.
    pub fn value(&self) -> f64 {
        match *self {
            Score::Accuracy {
                validation_accuracy,
            } => validation_accuracy,
            Score::Perplexity {
                validation_perplexity,
                ..
            } => validation_perplexity,
        }
    }

    /// Whether it is a number, and so the child has not diverged.
    pub(super) fn is_finite(&self) -> bool {
        match *self {
            Score::Accuracy {
                validation_accuracy,
            } => validation_accuracy.is_finite(),
            Score::Perplexity {
                train_perplexity,
                validation_perplexity,
                ..
            } => train_perplexity.is_finite() && validation_perplexity.is_finite(),
        }
    }
}

/// How fast a child is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Of a network.
    ImagesPerSecond(f64),
    /// Of a language model.
    WordsPerSecond(f64),
}

/// What an evaluation gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Evaluation {
    /// Of a network.
    Images(ImageScore),
    /// Of a language model.
    Text(TextScore),
}

/// What an evaluation on images gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ImageScore {
    /// Records evaluated.
    pub total: u64,
    /// Of these, how many were right.
    pub correct: u64,
    /// Share that was right.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// What an evaluation on a text gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TextScore {
    /// Tokens predicted.
    pub tokens: u64,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Its exponential.
    pub perplexity: f64,
    /// The loss in bits, where tokens are characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_character: Option<f64>,
}

impl Evaluation {
    /// The accuracy or the perplexity.
    pub fn value(&self) -> f64 {
        match self {
            Evaluation::Images(score) => score.accuracy,
            Evaluation::Text(score) => score.perplexity,
        }
    }

    /// Mean cross-entropy.
    pub fn loss(&self) -> f64 {
        match self {
            Evaluation::Images(score) => score.loss,
            Evaluation::Text(score) => score.loss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss may be a number where its exponential is none.
    #[test]
    fn a_perplexity_that_overflows_is_not_finite() {
        let score = |train_loss: f64, validation_loss: f64| Score::Perplexity {
            train_perplexity: train_loss.exp(),
            validation_perplexity: validation_loss.exp(),
            validation_bits_per_character: None,
        };
        assert!(score(5.0, 700.0).is_finite());
        assert!(!score(5.0, 710.0).is_finite() && !score(710.0, 5.0).is_finite());
    }
}
