//! Children to export: random architectures with weights that are at no constant, as weights files.

use std::path::{Path, PathBuf};

use nas_engine::data::corpus::{Level, Vocabulary};
use nas_engine::data::{Augment, Dataset};
use nas_engine::device::{Convolution, cpu::Cpu};
use nas_engine::disk::Real;
use nas_engine::export::Model;
use nas_engine::export::expected::{self, Judges};
use nas_engine::export::onnx::{ImageInput, Steps};
use nas_engine::export::tensor::Call;
use nas_engine::graph::language::{LanguageModel, LanguageSettings};
use nas_engine::graph::params::{Param, Weights};
use nas_engine::graph::recurrent::Dropout;
use nas_engine::graph::{Graph, Params};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::cell::{Activation, Combination};
use nas_engine::space::{Architecture, CellArchitecture, ConvArchitecture};
use nas_engine::train::metadata::{Facts, Metadata};
use nas_engine::train::weights_file::{self, WeightsFile};

/// A child that was read from a weights file.
pub struct Child {
    pub model: Model,
    pub metadata: Metadata,
    pub file: PathBuf,
}

/// Initial weights, with what begins at a constant moved away from it.
fn initial(params: &Params, seed: u64) -> Weights {
    let mut weights = params.initial(seed);
    let mut rng = Rng::new(seed, Purpose::Test, 3);
    let mut vary = |list: &[Param], values: &mut [f32]| {
        for param in list.iter().filter(|p| p.shape.len() == 1) {
            for x in &mut values[param.range()] {
                *x += rng.uniform_in(-0.5, 0.5) as f32;
            }
        }
    };
    vary(&params.trained, &mut weights.trained);
    vary(&params.running, &mut weights.running);
    weights
}

fn saved(folder: &Path, params: &Params, seed: u64, metadata: Metadata) -> Child {
    let file = folder.join(format!("{seed}.safetensors"));
    weights_file::save(&Real, &file, params, &initial(params, seed), &metadata).unwrap();
    let (model, metadata) = Model::of(&WeightsFile::read(&file).unwrap()).unwrap();
    Child {
        model,
        metadata,
        file,
    }
}

/// A network with drawn weights; nothing where it cannot be built.
pub fn network(
    folder: &Path,
    architecture: &ConvArchitecture,
    classes: usize,
    augment: Augment,
    seed: u64,
) -> Option<Child> {
    let params = Params::new(&Graph::new(architecture, classes).ok()?);
    let name = |class| format!("class \"{class}\" ü");
    let metadata = Metadata {
        architecture: architecture.clone().into(),
        seed,
        data_sha256: "0".repeat(64),
        epochs: 1,
        facts: Facts::Images {
            split_seed: 0,
            shuffle: true,
            limit: None,
            training_records: None,
            augment,
            classes: (0..classes).map(name).collect(),
            validation_accuracy: 0.25,
            batch_norm_epsilon: [1e-5, 1e-3, 0.1][seed as usize % 3],
            hold_out: true,
        },
    };
    Some(saved(folder, &params, seed, metadata))
}

/// A language model with drawn weights.
pub fn language(folder: &Path, cell: &CellArchitecture, seed: u64) -> Child {
    let mut rng = Rng::new(seed, Purpose::Test, 5);
    let mut from = |low: u32, high: u32| (low + rng.below(high - low + 1)) as usize;
    let settings = LanguageSettings {
        layers: from(1, 3),
        hidden: from(1, 9),
        vocabulary: from(2, 30),
        tied: from(0, 1) == 1,
        dropout: Dropout {
            rate: 0.0,
            variational: false,
        },
        initial: 0.7,
    };
    let (params, _) = LanguageModel::new(cell, settings).unwrap().params();
    let word = |n| match n {
        0 => "<unk>".to_owned(),
        n => format!("w{n}"),
    };
    let words: Vec<String> = (0..settings.vocabulary).map(word).collect();
    let vocabulary_sha256 = Vocabulary::of(words.clone()).unwrap().sha256();
    let metadata = Metadata {
        architecture: cell.clone().into(),
        seed,
        data_sha256: "0".repeat(64),
        epochs: 1,
        facts: Facts::Text {
            level: Level::Word,
            limit: None,
            words,
            part_tokens: None,
            vocabulary_sha256,
            validation_perplexity: 12.5,
            hold_out: true,
        },
    };
    saved(folder, &params, seed, metadata)
}

/// A cell that is a function of its number; every eighth is the LSTM.
pub fn cell(number: u64) -> CellArchitecture {
    if number % 8 == 7 {
        return CellArchitecture::Lstm;
    }
    let mut rng = Rng::new(number, Purpose::Test, 6);
    let base = [2, 4, 8, 16][rng.below(4) as usize];
    let n_nodes = 2 * base - 1;
    let operation = |rng: &mut Rng| {
        let combination = Combination::ALL[rng.below(3) as usize].name();
        let activation = Activation::ALL[rng.below(5) as usize].name();
        format!("[\"{combination}\",\"{activation}\"]")
    };
    let nodes: Vec<String> = (0..n_nodes).map(|_| operation(&mut rng)).collect();
    let inject = operation(&mut rng);
    let indices = [rng.below(n_nodes as u32), rng.below(n_nodes as u32)];
    let json = format!(
        "{{\"space\":\"cell\",\"base\":{base},\"nodes\":[{}],\"inject\":{inject},\"indices\":{indices:?}}}",
        nodes.join(",")
    );
    match Architecture::from_json(&json).unwrap() {
        Architecture::Cell(cell) => cell,
        _ => unreachable!("a cell"),
    }
}

/// What is asked of a child, of a network with so many records, and what is right.
pub fn calls(child: &Child, n_records: usize, input: ImageInput, steps: Steps) -> Vec<Call> {
    let cpu = Cpu::new(Some(2), Convolution::Auto).unwrap();
    let judges = Judges {
        cpu: &cpu,
        memory_limit: None,
        threads: 2,
    };
    match &child.model {
        Model::Network(model) => {
            let dataset = Dataset::synthetic(n_records, 1, 10, child.metadata.seed);
            expected::of_network(model, (&dataset, n_records), input, &judges).unwrap()
        }
        Model::Cell(model) => {
            let mut rng = Rng::new(child.metadata.seed, Purpose::Test, 7);
            let n_words = model.model.settings.vocabulary as u32;
            let tokens: Vec<u32> = (0..2000).map(|_| rng.below(n_words)).collect();
            expected::of_cell(model, &tokens, steps, &judges).unwrap()
        }
    }
}
