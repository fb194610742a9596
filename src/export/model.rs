//! What is exported: a trained network or language model, whole, as a weights file has it.

use crate::data::Augment;
use crate::data::corpus::Level;
use crate::graph::language::{LanguageModel, Spans};
use crate::graph::params::Weights;
use crate::graph::{Graph, Params};
use crate::space::{Architecture, CellArchitecture};
use crate::train::logits::{Images, Text};
use crate::train::metadata::{Facts, Metadata};
use crate::train::weights_file::WeightsFile;
use crate::train::{TrainError, language};

use super::ExportError;

/// A trained child.
pub enum Model {
    /// A network.
    Network(NetworkModel),
    /// A language model.
    Cell(CellModel),
}

/// A trained network.
pub struct NetworkModel {
    /// Its layers with their shapes.
    pub graph: Graph,
    /// Its parameters by name.
    pub params: Params,
    /// Their values.
    pub weights: Weights,
    /// What view it reads.
    pub augment: Augment,
    /// Names of its classes.
    pub classes: Vec<String>,
    /// What batch normalisation adds to a variance.
    pub norm_epsilon: f64,
}

/// A trained language model.
pub struct CellModel {
    /// Its cell.
    pub cell: CellArchitecture,
    /// With its sizes.
    pub model: LanguageModel,
    /// Its parameters by name.
    pub params: Params,
    /// Where they lie.
    pub spans: Spans,
    /// Their values.
    pub weights: Weights,
    /// What a token is.
    pub level: Level,
    /// Most words that were to be told apart, where that was limited.
    pub limit: Option<usize>,
    /// Digest of the words joined by newlines.
    pub vocabulary_sha256: String,
    /// The words, by token; none where the file does not say them.
    pub words: Vec<String>,
}

impl Model {
    /// The child of a weights file.
    ///
    /// # Errors
    /// Where architecture and weights do not fit, or the architecture cannot be built.
    pub fn of(file: &WeightsFile) -> Result<(Model, Metadata), ExportError> {
        let metadata = file.metadata()?;
        let model = match (&metadata.architecture, &metadata.facts) {
            (
                Architecture::Conv(network),
                Facts::Images {
                    augment,
                    classes,
                    batch_norm_epsilon,
                    ..
                },
            ) => {
                let graph = Graph::new(network, classes.len()).map_err(TrainError::from)?;
                let params = Params::new(&graph);
                Model::Network(NetworkModel {
                    weights: file.weights(&params)?,
                    graph,
                    params,
                    augment: *augment,
                    classes: classes.clone(),
                    norm_epsilon: *batch_norm_epsilon,
                })
            }
            (
                Architecture::Cell(cell),
                Facts::Text {
                    level,
                    limit,
                    words,
                    vocabulary_sha256,
                    ..
                },
            ) => {
                let (model, weights) = language::of_file::<ExportError>(file, cell)?;
                let (params, spans) = model.params();
                Model::Cell(CellModel {
                    cell: cell.clone(),
                    model,
                    params,
                    spans,
                    weights,
                    level: *level,
                    limit: *limit,
                    vocabulary_sha256: vocabulary_sha256.clone(),
                    words: words.clone(),
                })
            }
            _ => unreachable!("metadata are read by the kind of the architecture"),
        };
        Ok((model, metadata))
    }

    /// Whether every weight is a number.
    pub fn is_finite(&self) -> bool {
        let weights = match self {
            Model::Network(model) => &model.weights,
            Model::Cell(model) => &model.weights,
        };
        let values = weights.trained.iter().chain(&weights.running);
        values.into_iter().all(|value| value.is_finite())
    }
}

impl NetworkModel {
    /// What its logits are computed from.
    pub fn images(&self) -> Images<'_> {
        Images {
            graph: &self.graph,
            params: &self.params,
            weights: &self.weights,
            norm_epsilon: self.norm_epsilon,
        }
    }
}

impl CellModel {
    /// What its logits are computed from.
    pub fn text(&self) -> Text<'_> {
        Text {
            model: &self.model,
            params: &self.params,
            spans: &self.spans,
            weights: &self.weights,
        }
    }
}
