//! Logits: what networks and language models say before the softmax, read from a device.

use rayon::prelude::*;

use super::{Runner, TrainError};
use crate::data::windows::Rows;
use crate::device::{Control, Input, InputSource, List};
use crate::graph::language::{LanguageModel, Spans};
use crate::graph::params::Weights;
use crate::graph::step::{BufferId, Span, Step};
use crate::graph::{Graph, Options, Params, Plan};

/// Logits `[n][k]` with what was right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labelled {
    /// In the order of evaluation.
    pub logits: Vec<f32>,
    /// Classes, or tokens.
    pub labels: Vec<i64>,
}

/// A network with its weights.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// Its layers.
    pub graph: &'a Graph,
    /// Its parameters.
    pub params: &'a Params,
    /// Their values.
    pub weights: &'a Weights,
    /// What batch normalisation adds to a variance.
    pub norm_epsilon: f64,
}

impl Images<'_> {
    /// Hands on the logits `[n][classes]` of records, a batch at a time, in their order. Labels play no
    /// part: they may be those of a data set of other classes.
    ///
    /// # Errors
    /// A plan that does not fit, or a device that fails.
    pub fn logits(
        &self,
        input: Input,
        records: &[u32],
        batch: usize,
        runner: &Runner,
        each: &mut dyn FnMut(&[f64]),
    ) -> Result<(), TrainError> {
        let options = Options {
            evaluate_only: true,
            norm_epsilon: self.norm_epsilon,
            ..Options::new(batch)
        };
        let mut plan = Plan::new(self.graph, self.params, runner.device, options);
        plan.evaluate
            .retain(|step| !matches!(step, Step::SoftmaxXent { .. }));
        let logits = plan.evaluate.iter().find_map(|step| match step {
            Step::Classifier(classifier) => Some(classifier.logits),
            _ => None,
        });
        let logits = logits.expect("a network ends in a classifier");
        let mut session = runner.load(&plan, input, self.weights)?;
        session.begin(records, Control::EVALUATE);
        for part in records.chunks(batch) {
            session.run(List::Evaluate, 1);
            let values = session.read(logits)?;
            each(&values[..part.len() * self.graph.classes]);
        }
        Ok(())
    }
}

/// A language model with its weights.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// Its cell and sizes.
    pub model: &'a LanguageModel,
    /// Its parameters.
    pub params: &'a Params,
    /// Where they lie.
    pub spans: &'a Spans,
    /// Their values.
    pub weights: &'a Weights,
}

/// The states of a language model over a window: of each layer those before its first step and after each,
/// `[t + 1][b][h]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// h.
    pub h: Vec<Vec<f64>>,
    /// c.
    pub c: Vec<Vec<f64>>,
}

impl Text<'_> {
    /// Hands on what the last layer gives, `[t][b][h]`, for one window of `steps` tokens after the other, from a
    /// state of zeros; the last window may be read beyond the end of the rows. The states of that one.
    ///
    /// # Errors
    /// A plan that does not fit, or a device that fails.
    pub fn outputs(
        &self,
        tokens: &[u32],
        rows: &Rows,
        steps: usize,
        runner: &Runner,
        each: &mut dyn FnMut(&[f64]),
    ) -> Result<States, TrainError> {
        let options = Options {
            evaluate_only: true,
            reuse: false, // what the last layer gives is read after the run
            ..Options::new(rows.n_rows())
        };
        let params = (self.params, self.spans);
        let mut plan = Plan::of_language(self.model, params, runner.device, options, steps);
        plan.evaluate
            .retain(|step| !matches!(step, Step::DecoderLoss(_)));
        let stack = plan.evaluate.iter().find_map(|step| match step {
            Step::Unroll(stack) => Some(stack.clone()),
            _ => None,
        });
        let stack = stack.expect("a language model has layers");
        let input = Input {
            source: InputSource::Tokens(tokens),
            seed: 0,
        };
        let mut session = runner.load(&plan, input, self.weights)?;
        let starts = rows.starts(steps, false);
        session.begin(&starts, Control::EVALUATE);
        for _ in starts.chunks(rows.n_rows()) {
            session.run(List::Evaluate, 1);
            each(&session.read(stack.output)?);
        }
        let mut read = |buffers: Vec<BufferId>| -> Result<Vec<Vec<f64>>, TrainError> {
            let read = |buffer| Ok(session.read(buffer)?);
            buffers.into_iter().map(read).collect()
        };
        Ok(States {
            h: read(stack.layers.iter().map(|layer| layer.h).collect())?,
            c: read(stack.layers.iter().map(|layer| layer.c).collect())?,
        })
    }

    /// The logits `[n][v]` of what the last layer gives at n places, `[n][h]`: sums in f64.
    pub fn decoded(&self, outputs: &[f64]) -> Vec<f64> {
        let settings = &self.model.settings;
        let values = |span: Span| &self.weights.trained[span.range()];
        let (weight, bias) = (values(self.spans.decoder), values(self.spans.decoder_bias));
        let place = |output: &[f64]| -> Vec<f64> {
            let rows = weight.chunks_exact(settings.hidden).zip(bias);
            let logit = |(row, &bias): (&[f32], &f32)| {
                let products = row.iter().zip(output).map(|(&w, x)| f64::from(w) * x);
                f64::from(bias) + products.sum::<f64>()
            };
            rows.map(logit).collect()
        };
        let places = outputs.par_chunks_exact(settings.hidden);
        places.flat_map_iter(place).collect()
    }
}
