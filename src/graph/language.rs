//! A language model: an embedding, recurrent layers of one cell on top of each other, and a softmax
//! over the vocabulary.

use super::params::{Init, Params, push};
use super::recurrent::{Dropout, Program};
use super::step::Span;
use crate::space::CellArchitecture;

/// Initial weights of the medium models of Zaremba et al. (2014): uniform in plus or minus this.
pub const INITIAL: f64 = 0.05;
/// Hidden units of a layer at most: at base 16 a matrix then has 2^32 values, 16 GiB.
pub const MAX_HIDDEN: usize = 1 << 14;
/// Words at most: they are kept as floats, which hold whole numbers up to here.
pub const MAX_VOCABULARY: usize = 1 << 24;
/// Layers at most.
pub const MAX_LAYERS: usize = 64;

/// What a language model is besides its cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanguageSettings {
    /// Recurrent layers.
    pub layers: usize,
    /// Hidden units of a layer.
    pub hidden: usize,
    /// Words of the vocabulary.
    pub vocabulary: usize,
    /// Whether the decoder's matrix is the embedding.
    pub tied: bool,
    /// On what layers read and on what the last one gives.
    pub dropout: Dropout,
    /// Initial weights are uniform in plus or minus this.
    pub initial: f64,
}

/// Why a language model cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LanguageError {
    /// A setting out of its range.
    #[error("`{key}` is {value}; give {range}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// As given.
        value: String,
        /// What it may be.
        range: String,
    },
    /// A budget that does not allow for a single hidden unit.
    #[error(
        "`train.parameters` is {budget}, too few: with {vocabulary} words and {layers} layers, one \
         hidden unit takes {least}; give at least that many, or limit the vocabulary"
    )]
    Budget {
        /// As given.
        budget: u64,
        /// Words of the vocabulary.
        vocabulary: usize,
        /// Recurrent layers.
        layers: usize,
        /// What one hidden unit takes.
        least: u64,
    },
}

/// The most hidden units with which a model has at most `budget` parameters.
///
/// # Errors
/// Where the budget is too small for one.
pub fn hidden_within(
    cell: &CellArchitecture,
    layers: usize,
    vocabulary: usize,
    tied: bool,
    budget: u64,
) -> Result<usize, LanguageError> {
    let parameters =
        |hidden: usize| cell.parameters(layers as u64, hidden as u64, vocabulary as u64, tied);
    if parameters(1) > budget {
        return Err(LanguageError::Budget {
            budget,
            vocabulary,
            layers,
            least: parameters(1),
        });
    }
    // The number of parameters grows with that of units: the last that fits, by halves.
    let (mut fits, mut beyond) = (1, MAX_HIDDEN + 1);
    while beyond - fits > 1 {
        let middle = fits.midpoint(beyond);
        match parameters(middle) <= budget {
            true => fits = middle,
            false => beyond = middle,
        }
    }
    Ok(fits)
}

/// A language model with its sizes.
#[derive(Clone, Debug)]
pub struct LanguageModel {
    /// The cell of every layer.
    pub program: Program,
    /// Its sizes.
    pub settings: LanguageSettings,
    /// Whether the cell has a bias.
    has_bias: bool,
}

/// Where the parameters of a layer lie.
#[derive(Clone, Copy, Debug)]
pub struct LayerSpans {
    /// W `[l][h][h]`.
    pub input: Span,
    /// U `[l][h][h]`.
    pub hidden: Span,
    /// `[l][h]`.
    pub bias: Option<Span>,
}

/// Where the parameters of a language model lie.
#[derive(Clone, Debug)]
pub struct Spans {
    /// `[v][h]`.
    pub embedding: Span,
    /// From the first.
    pub layers: Vec<LayerSpans>,
    /// `[v][h]`: the embedding itself, where they are tied.
    pub decoder: Span,
    /// `[v]`.
    pub decoder_bias: Span,
}

impl LanguageModel {
    /// The language model of a cell.
    ///
    /// # Errors
    /// Where a setting is out of its range.
    pub fn new(
        cell: &CellArchitecture,
        settings: LanguageSettings,
    ) -> Result<LanguageModel, LanguageError> {
        let whole = |key, value: usize, most: usize| match value {
            0 => refuse(key, value, format!("a whole number from 1 to {most}")),
            value if value > most => refuse(key, value, format!("a whole number from 1 to {most}")),
            _ => Ok(()),
        };
        whole("layers", settings.layers, MAX_LAYERS)?;
        whole("hidden", settings.hidden, MAX_HIDDEN)?;
        whole("vocabulary", settings.vocabulary, MAX_VOCABULARY)?;
        let rate = settings.dropout.rate;
        if !(0.0..1.0).contains(&rate) {
            let range = "a number from 0, which drops nothing, to below 1".to_string();
            return refuse("dropout", rate, range);
        }
        Ok(LanguageModel {
            program: Program::from(cell),
            settings,
            has_bias: matches!(cell, CellArchitecture::Lstm),
        })
    }

    /// Its parameters in the order of a weights file, and where each lies in the flat vector.
    pub fn params(&self) -> (Params, Spans) {
        let LanguageSettings {
            layers,
            hidden,
            vocabulary,
            tied,
            initial,
            ..
        } = self.settings;
        let leaves = self.program.leaves;
        let mut params = Params::default();
        let mut add = |name: String, shape: Vec<usize>, init| {
            let position = push(&mut params.trained, name, shape, init);
            let param = &params.trained[position];
            Span {
                start: param.offset,
                len: param.len(),
            }
        };
        let uniform = Init::Uniform(initial);
        let embedding = add("embedding.weight".into(), vec![vocabulary, hidden], uniform);
        let layers = (1..=layers).map(|number| {
            let matrix = vec![leaves, hidden, hidden];
            LayerSpans {
                input: add(
                    format!("layers.{number}.input.weight"),
                    matrix.clone(),
                    uniform,
                ),
                hidden: add(format!("layers.{number}.hidden.weight"), matrix, uniform),
                bias: self.has_bias.then(|| {
                    let name = format!("layers.{number}.bias");
                    add(name, vec![leaves, hidden], Init::Constant(0.0))
                }),
            }
        });
        let layers = layers.collect();
        let decoder = match tied {
            true => embedding,
            false => add("decoder.weight".into(), vec![vocabulary, hidden], uniform),
        };
        let decoder_bias = add("decoder.bias".into(), vec![vocabulary], uniform);
        let spans = Spans {
            embedding,
            layers,
            decoder,
            decoder_bias,
        };
        (params, spans)
    }
}

fn refuse<T>(key: &'static str, value: impl ToString, range: String) -> Result<T, LanguageError> {
    Err(LanguageError::Setting {
        key,
        value: value.to_string(),
        range,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Architecture;

    const SETTINGS: LanguageSettings = LanguageSettings {
        layers: 2,
        hidden: 1,
        vocabulary: 10_000,
        tied: false,
        dropout: Dropout {
            rate: 0.5,
            variational: false,
        },
        initial: INITIAL,
    };

    fn published() -> CellArchitecture {
        let json = include_str!("../../examples/cell-published.json");
        match Architecture::from_json(json) {
            Ok(Architecture::Cell(cell)) => cell,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parameters_are_those_that_the_cell_counts() {
        for cell in [published(), CellArchitecture::Lstm] {
            for (layers, hidden, tied) in [(1, 1, false), (2, 7, true), (3, 12, false)] {
                let settings = LanguageSettings {
                    layers,
                    hidden,
                    tied,
                    vocabulary: 31,
                    ..SETTINGS
                };
                let (params, spans) = LanguageModel::new(&cell, settings).unwrap().params();
                let counted = cell.parameters(layers as u64, hidden as u64, 31, tied);
                assert_eq!(params.n_trained() as u64, counted);
                assert_eq!(spans.decoder == spans.embedding, tied);
                let named = params.trained.iter().any(|p| p.name == "decoder.weight");
                assert_eq!(named, !tied);
            }
        }
    }

    #[test]
    fn a_budget_is_used_up_to_the_last_unit() {
        let cell = published();
        // The paper's 20 million, section 6 of docs/paper.md: about 535 units.
        let within = |budget| hidden_within(&cell, 2, 10_000, false, budget);
        assert_eq!(within(20_000_000), Ok(537));
        let of = |hidden| cell.parameters(2, hidden, 10_000, false);
        assert_eq!(within(of(100)), Ok(100));
        assert_eq!(within(of(100) - 1), Ok(99));
        assert_eq!(within(of(1)), Ok(1));
        assert_eq!(within(of(MAX_HIDDEN as u64)), Ok(MAX_HIDDEN));
        assert_eq!(within(of(2 * MAX_HIDDEN as u64)), Ok(MAX_HIDDEN));
        let refused = within(of(1) - 1).unwrap_err();
        let message = refused.to_string();
        assert!(message.contains(&format!("takes {}", of(1))), "{message}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let rate = |rate| LanguageSettings {
            dropout: Dropout {
                rate,
                ..SETTINGS.dropout
            },
            ..SETTINGS
        };
        let wrong = [
            (
                LanguageSettings {
                    layers: 0,
                    ..SETTINGS
                },
                "`layers` is 0",
            ),
            (
                LanguageSettings {
                    hidden: 0,
                    ..SETTINGS
                },
                "`hidden` is 0",
            ),
            (
                LanguageSettings {
                    hidden: usize::MAX,
                    ..SETTINGS
                },
                "`hidden` is 18446744073709551615",
            ),
            (
                LanguageSettings {
                    vocabulary: 0,
                    ..SETTINGS
                },
                "`vocabulary` is 0",
            ),
            (rate(1.0), "`dropout` is 1"),
            (rate(-0.1), "`dropout` is -0.1"),
            (rate(f64::NAN), "`dropout` is NaN"),
        ];
        for (settings, said) in wrong {
            let message = LanguageModel::new(&published(), settings)
                .unwrap_err()
                .to_string();
            assert!(message.starts_with(said), "{message}");
        }
    }
}
