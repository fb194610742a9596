//! What a person and a program are shown of a training.

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output::Output;
use crate::text;
use crate::train::{Child, EpochReport, Pace, Score};

/// An epoch in a line.
pub fn line(epoch: &EpochReport, epochs: usize) -> String {
    let score = match epoch.score {
        Score::Accuracy {
            validation_accuracy,
        } => format!("accuracy {validation_accuracy:.4}"),
        Score::Perplexity {
            train_perplexity,
            validation_perplexity,
            validation_bits_per_character,
        } => {
            let bits = validation_bits_per_character
                .map(|bits| format!(", {bits:.3} bits a character"))
                .unwrap_or_default();
            format!("perplexity {train_perplexity:.2}, validation {validation_perplexity:.2}{bits}")
        }
    };
    let pace = match epoch.pace {
        Pace::ImagesPerSecond(pace) => format!("{pace:.0} images/s"),
        Pace::WordsPerSecond(pace) => format!("{pace:.0} words/s"),
    };
    format!(
        "epoch {}/{epochs}: loss {:.4}, validation loss {:.4}, {score}, learning rate {}, {} at {pace}",
        epoch.epoch,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.learning_rate,
        text::duration(epoch.seconds),
    )
}

/// An epoch of a training on all records in a line: what would validate it was trained on.
pub fn line_of_all(epoch: &EpochReport, epochs: usize) -> String {
    format!(
        "epoch {}/{epochs}: loss {:.4}, learning rate {}, {}",
        epoch.epoch,
        epoch.train_loss,
        epoch.learning_rate,
        text::duration(epoch.seconds),
    )
}

/// What a training has come to.
pub struct Come<'a> {
    /// What was trained.
    pub child: &'a dyn Child,
    /// Every epoch that ended.
    pub epochs: &'a [EpochReport],
    /// Accuracy or perplexity of the test data, where they were read.
    pub test: Option<f64>,
    /// Loss of each step, where asked for.
    pub step_losses: Option<&'a [f64]>,
    /// Bytes of the plan, and those that the process took at most.
    pub memory: (u64, Option<u64>),
    /// Where the weights are.
    pub saved: Option<String>,
}

impl Come<'_> {
    /// As an object and as a table.
    pub fn result(&self) -> (Value, String) {
        let child = self.child;
        let validation = self.epochs.last().map(|epoch| epoch.score.value());
        let mut json = json!({"parameters": child.parameters(), "epochs": self.epochs});
        let mut words = format!(
            "parameters             {}\n",
            text::count(child.parameters())
        );
        let (what, shown): (_, fn(Option<f64>) -> String) = match child.hidden() {
            None => ("accuracy", text::share),
            Some(hidden) => {
                json["hidden"] = json!(hidden);
                words += &format!("hidden units           {hidden}\n");
                ("perplexity", |x| {
                    x.map_or("-".into(), |x| format!("{x:.2}"))
                })
            }
        };
        let (planned, peak) = self.memory;
        json[format!("validation_{what}")] = json!(validation);
        json[format!("test_{what}")] = json!(self.test);
        json["peak_memory_bytes"] = json!(peak);
        json["planned_memory_bytes"] = json!(planned);
        if let Some(losses) = self.step_losses {
            json["step_losses"] = json!(losses);
        }
        let mut row = |name: String, value: String| words += &format!("{name:22} {value}\n");
        row(format!("validation {what}"), shown(validation));
        if self.test.is_some() {
            row(format!("test {what}"), shown(self.test));
        }
        let peak = peak.map_or("unknown".into(), text::bytes);
        row(
            "memory".into(),
            format!(
                "{} planned, {peak} at the peak of the process",
                text::bytes(planned)
            ),
        );
        if let Some(saved) = &self.saved {
            row("weights".into(), text::one_line(saved).into_owned());
        }
        (json, words)
    }

    /// Shows it before a failure that came after it, where there is anything to show.
    pub fn show_before(&self, failure: Failure, output: &Output) -> Result<Failure, Failure> {
        if self.epochs.is_empty() {
            return Ok(failure);
        }
        let (json, words) = self.result();
        output.partial(&json, &words, failure)
    }

    /// Shows it.
    pub fn show(&self, output: &Output) -> Result<(), Failure> {
        let (json, words) = self.result();
        output.result(&json, &words)
    }
}
