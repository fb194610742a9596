//! Recurrent cells, trained as language models (Zaremba et al. 2014, the medium recipe).

use std::f64::consts::LN_2;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::logits::{self, Labelled};
use super::metadata::Facts;
use super::weights_file::{WeightsError, WeightsFile};
use super::{
    Child, EpochReport, Evaluation, Held, Lessons, Runner, Score, Stop, TextScore, TrainError,
    schedule,
};
use crate::data::corpus::{Corpus, CorpusError, Level, TextPart};
use crate::data::windows::{Rows, Windows};
use crate::device::{Control, Device, DeviceError, Input, InputSource, List, Session};
use crate::graph::language::{self, LanguageModel, LanguageSettings, Spans};
use crate::graph::params::Weights;
use crate::graph::recurrent::Dropout;
use crate::graph::{Options, Params, Plan};
use crate::space::{Architecture, CellArchitecture};

/// Steps of a window where a text is evaluated as one stream; any number gives the same result, but
/// for its last bits.
const STREAM_STEPS: usize = 35;

/// How a language model is built and trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageConfig {
    /// Passes over the training part.
    pub epochs: usize,
    /// Rows of text that are read side by side.
    pub batch: usize,
    /// Initial learning rate.
    pub learning_rate: f64,
    /// Epochs at the initial learning rate.
    pub constant_epochs: usize,
    /// What the learning rate is divided by after each later epoch.
    pub decay: f64,
    /// Largest norm of the gradient; a longer one is shortened to it.
    pub max_norm: f64,
    /// Steps of a window: how far back a gradient goes.
    pub steps: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Hidden units of a layer, where they are not as many as `parameters` allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Parameters of a model at most, in place of `hidden`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Whether the decoder's matrix is the embedding.
    pub tied: bool,
    /// Probability that a value is dropped, of those that are not passed from step to step.
    pub dropout: f64,
    /// One mask for all steps of a window.
    pub variational: bool,
    /// Initial weights are uniform in plus or minus this.
    pub initial: f64,
    /// Seconds between two checkpoints of a child, which are made where an epoch ends; 60 where
    /// absent, 0: at the end of every epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_seconds: Option<u64>,
    /// Whether the validation part is held out of training. No setting of a file: a last training of
    /// what was chosen alone takes both parts.
    #[serde(skip, default = "yes")]
    pub hold_out: bool,
}

fn yes() -> bool {
    true
}

/// A language model that can be trained.
pub struct Language {
    corpus: Arc<Corpus>,
    config: LanguageConfig,
    architecture: CellArchitecture,
    model: LanguageModel,
    params: Params,
    spans: Spans,
}

impl Language {
    /// The language model of a cell.
    ///
    /// # Errors
    /// A setting out of its range, or a budget of parameters that is too small.
    pub fn new(
        corpus: &Arc<Corpus>,
        config: &LanguageConfig,
        architecture: &CellArchitecture,
    ) -> Result<Language, TrainError> {
        let vocabulary = corpus.vocabulary().len();
        let hidden = match (config.hidden, config.parameters) {
            (Some(hidden), _) => hidden,
            (None, Some(budget)) => {
                let (layers, tied) = (config.layers, config.tied);
                language::hidden_within(architecture, layers, vocabulary, tied, budget)?
            }
            (None, None) => 0, // refused below, as it is where settings are read
        };
        let settings = LanguageSettings {
            layers: config.layers,
            hidden,
            vocabulary,
            tied: config.tied,
            dropout: Dropout {
                rate: config.dropout,
                variational: config.variational,
            },
            initial: config.initial,
        };
        let model = LanguageModel::new(architecture, settings)?;
        let (params, spans) = model.params();
        Ok(Language {
            corpus: Arc::clone(corpus),
            config: config.clone(),
            architecture: architecture.clone(),
            model,
            params,
            spans,
        })
    }

    fn plan_with(&self, device: &dyn Device, options: Options, steps: usize) -> Plan {
        let params = (&self.params, &self.spans);
        Plan::of_language(&self.model, params, device, options, steps)
    }

    /// A text that is never trained on, as one row.
    fn stream(&self, held: Held) -> Result<(Windows, Rows), CorpusError> {
        let mut windows = Windows::default();
        let rows = windows.add_part(&self.corpus, part(held), 1, 1)?;
        Ok((windows, rows))
    }
}

fn part(held: Held) -> TextPart {
    match held {
        Held::Validation => TextPart::Validation,
        Held::Test => TextPart::Test,
    }
}

/// The language model of a weights file, of the sizes of its tensors, and its weights.
///
/// # Errors
/// Where a tensor is missing or has another shape, or the cell cannot be built.
pub fn of_file<E: From<WeightsError> + From<TrainError>>(
    file: &WeightsFile,
    cell: &CellArchitecture,
) -> Result<(LanguageModel, Weights), E> {
    let sizes = file.language_sizes()?;
    let settings = LanguageSettings {
        layers: sizes.layers,
        hidden: sizes.hidden,
        vocabulary: sizes.vocabulary,
        tied: sizes.tied,
        dropout: Dropout {
            rate: 0.0,
            variational: false,
        },
        initial: language::INITIAL,
    };
    let model = LanguageModel::new(cell, settings).map_err(TrainError::from)?;
    let weights = file.weights(&model.params().0)?;
    Ok((model, weights))
}

/// The text as rows that are trained on and rows that validate: a window and a prediction at least.
///
/// # Errors
/// Where a part of the text is too short for that.
pub fn windows(
    corpus: &Corpus,
    config: &LanguageConfig,
) -> Result<(Windows, [Rows; 2]), CorpusError> {
    let mut windows = Windows::default();
    let held_in: &[TextPart] = match config.hold_out {
        true => &[TextPart::Train],
        false => &[TextPart::Train, TextPart::Validation],
    };
    let train = windows.add_parts(corpus, held_in, config.batch, config.steps)?;
    let validation = windows.add_part(corpus, TextPart::Validation, config.batch, 1)?;
    Ok((windows, [train, validation]))
}

impl Child for Language {
    fn architecture(&self) -> Architecture {
        self.architecture.clone().into()
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn parameters(&self) -> u64 {
        self.params.n_trained() as u64
    }

    fn hidden(&self) -> Option<usize> {
        Some(self.model.settings.hidden)
    }

    fn epochs(&self) -> usize {
        self.config.epochs
    }

    fn plan(&self, device: &dyn Device) -> Plan {
        self.plan_with(device, Options::new(self.config.batch), self.config.steps)
    }

    fn lessons(&self) -> Result<Box<dyn Lessons + '_>, TrainError> {
        let (windows, [train, validation]) = windows(&self.corpus, &self.config)?;
        Ok(Box::new(Text {
            language: self,
            windows,
            train,
            validation,
        }))
    }

    /// One stream of text, from a state of zeros.
    fn evaluate(
        &self,
        held: Held,
        weights: &Weights,
        runner: &Runner,
    ) -> Result<Evaluation, TrainError> {
        let (windows, rows) = self.stream(held)?;
        let options = Options {
            evaluate_only: true,
            ..Options::new(1)
        };
        let plan = self.plan_with(runner.device, options, STREAM_STEPS);
        let input = Input {
            source: InputSource::Tokens(windows.tokens()),
            seed: 0,
        };
        let mut session = runner.load(&plan, input, weights)?;
        let evaluation = evaluate(&mut *session, self, &rows, STREAM_STEPS, &|| false)?;
        Ok(evaluation.expect("nothing stops it"))
    }

    fn n_logits(&self, held: Held) -> Result<[usize; 2], TrainError> {
        let (_, rows) = self.stream(held)?;
        Ok([rows.n_predictions(), self.model.settings.vocabulary])
    }

    fn logits(
        &self,
        held: Held,
        weights: &Weights,
        runner: &Runner,
    ) -> Result<Labelled, TrainError> {
        let (windows, rows) = self.stream(held)?;
        let text = logits::Text {
            model: &self.model,
            params: &self.params,
            spans: &self.spans,
            weights,
        };
        let tokens = self.corpus.tokens(part(held));
        let mut all = Labelled {
            logits: vec![],
            labels: tokens[1..].iter().map(|&token| token.into()).collect(),
        };
        let n = all.labels.len() * self.model.settings.vocabulary;
        let (tokens, steps) = (windows.tokens(), STREAM_STEPS);
        text.outputs(tokens, &rows, steps, runner, &mut |outputs| {
            // The last window may go on after the end of the text.
            let logits = text.decoded(outputs);
            let left = n - all.logits.len();
            all.logits
                .extend(logits.iter().take(left).map(|&x| x as f32));
        })?;
        Ok(all)
    }

    fn facts(&self, last: Option<&EpochReport>) -> Facts {
        let vocabulary = self.corpus.vocabulary();
        Facts::Text {
            level: self.corpus.level(),
            limit: self.corpus.limit(),
            words: vocabulary.words().to_vec(),
            part_tokens: Some(self.corpus.part_tokens()),
            vocabulary_sha256: vocabulary.sha256(),
            validation_perplexity: last.map_or(0.0, |epoch| epoch.score.value()),
            hold_out: self.config.hold_out,
        }
    }

    fn data_sha256(&self) -> String {
        self.corpus.sha256().to_owned()
    }
}

/// The windows of text that a language model learns from.
struct Text<'a> {
    language: &'a Language,
    windows: Windows,
    train: Rows,
    validation: Rows,
}

impl Lessons for Text<'_> {
    fn input(&self, seed: u64) -> Input<'_> {
        Input {
            source: InputSource::Tokens(self.windows.tokens()),
            seed,
        }
    }

    fn learning_rate(&self, given: Option<f64>, epoch: usize) -> f64 {
        let config = &self.language.config;
        let initial = given.unwrap_or(config.learning_rate);
        schedule::by_decay(initial, epoch, config.constant_epochs, config.decay)
    }

    fn control(&self, learning_rate: f64, epoch: usize) -> Control {
        Control {
            learning_rate: learning_rate as f32,
            max_norm: self.language.config.max_norm as f32,
            epoch: Some(epoch as u32),
            ..Control::EVALUATE
        }
    }

    fn order(&self, _seed: u64, _epoch: usize) -> Vec<u32> {
        self.train.starts(self.language.config.steps, true)
    }

    fn batch(&self) -> usize {
        self.language.config.batch
    }

    fn predictions(&self) -> usize {
        self.batch() * self.language.config.steps
    }

    fn validate(
        &self,
        session: &mut dyn Session,
        stop: Stop,
    ) -> Result<Option<Evaluation>, DeviceError> {
        let steps = self.language.config.steps;
        evaluate(session, self.language, &self.validation, steps, stop)
    }

    fn score(&self, train_loss: f64, validation: &Evaluation) -> Score {
        Score::Perplexity {
            train_perplexity: train_loss.exp(),
            validation_perplexity: validation.value(),
            validation_bits_per_character: bits(self.language.corpus.level(), validation.loss()),
        }
    }
}

/// Every prediction of some rows, the state carried from window to window.
fn evaluate(
    session: &mut dyn Session,
    language: &Language,
    rows: &Rows,
    steps: usize,
    stop: Stop,
) -> Result<Option<Evaluation>, DeviceError> {
    let starts = rows.starts(steps, false);
    let n_windows = starts.len() / rows.n_rows();
    session.begin(&starts, Control::EVALUATE);
    let n_run = session.run_until(List::Evaluate, n_windows, stop);
    let results = session.results()?; // a device that failed has run fewer, too
    if n_run < n_windows {
        return Ok(None);
    }
    let tokens = rows.n_predictions() as u64;
    let loss = results.loss_sums.iter().sum::<f64>() / tokens as f64;
    Ok(Some(Evaluation::Text(TextScore {
        tokens,
        loss,
        perplexity: loss.exp(),
        bits_per_character: bits(language.corpus.level(), loss),
    })))
}

/// A loss in bits, for characters.
fn bits(level: Level, loss: f64) -> Option<f64> {
    (level == Level::Char).then_some(loss / LN_2)
}
