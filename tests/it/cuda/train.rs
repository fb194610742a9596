//! Whole children trained by the kernels: losses as on the cpu device. Here by the host runner; on a
//! GPU by `gpu.rs`.

use std::fs;
use std::sync::Arc;

use nas_engine::config::Config;
use nas_engine::data::Dataset;
use nas_engine::data::corpus::{Corpus, Level};
use nas_engine::device::Convolution;
use nas_engine::device::Device;
use nas_engine::device::cpu::Cpu;
use nas_engine::device::cuda::Cuda;
use nas_engine::space::{Architecture, CellArchitecture};
use nas_engine::train::{self, Keeper, Language, LanguageConfig, Outcome, TrainConfig};

use super::host::{Host, MODES, PROFILES, kernels};
use crate::train::{config, job, run};

/// Skips of unequal sizes and strides of 2; the same start and the same batches. bfloat16 keeps 8
/// bits: the first loss differs by that, later ones by what has become of it.
pub fn losses_are_those_of_the_cpu(cuda: &Cuda) {
    let dataset = Arc::new(Dataset::synthetic(50, 10, 4, 2));
    let config = config(4);
    let cpu = Cpu::new(Some(1), Convolution::Direct).expect("threads");
    let (expected, got) = (run(&cpu, &dataset, &config), run(cuda, &dataset, &config));
    assert_eq!(expected.step_losses.len(), 20);
    assert_eq!(got.step_losses.len(), 20);
    let pairs = expected.step_losses.iter().zip(&got.step_losses);
    for (i, (want, loss)) in pairs.enumerate() {
        let bound = if i == 0 { 0.005 } else { 0.02 };
        let apart = (loss / want - 1.0).abs();
        assert!(
            apart < bound,
            "step {i}: cpu {want}, cuda {loss}, {apart} apart"
        );
    }
    let again = run(cuda, &dataset, &config);
    assert_eq!(got.step_losses, again.step_losses, "the same bits twice");
    assert_eq!(got.weights, again.weights, "the same bits twice");
}

#[test]
fn host_runner_trains_as_the_cpu() {
    let host = Host::new(kernels(), MODES[0], PROFILES[0]);
    losses_are_those_of_the_cpu(&Cuda::new(Box::new(host)));
}

/// Trains a language model of a cell for two epochs on a text in which words follow from others.
fn language(device: &dyn Device, cell: &CellArchitecture, tied: bool) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let words = (0..700u32).map(|i| format!("w{}", i * i % 23));
    let path = folder.path().join("text");
    fs::write(&path, words.collect::<Vec<_>>().join(" ")).expect("it is written");
    let corpus = Corpus::open(&path, Level::Word, None, folder.path()).expect("a text");
    let Some(TrainConfig::Language(preset)) = Config::preset("cell-sample").map(|c| c.train) else {
        panic!("the preset is one of cells");
    };
    let config = LanguageConfig {
        epochs: 2,
        batch: 5,
        steps: 7,
        hidden: Some(11),
        dropout: 0.3,
        tied,
        ..preset
    };
    let child = Language::new(&Arc::new(corpus), &config, cell).expect("sound settings");
    train::train(
        &job(&child, device, 3, true),
        &mut Keeper::none(),
        &mut |_| {},
    )
    .expect("it trains")
}

/// Words, carried state, dropout, clipping, validation and test as on the cpu, for a cell and for the
/// LSTM, which has a bias. The softmax's products round to bfloat16.
pub fn language_models_are_those_of_the_cpu(cuda: &Cuda) {
    let published = include_str!("../../../examples/cell-published.json");
    let Ok(Architecture::Cell(published)) = Architecture::from_json(published) else {
        panic!("a cell");
    };
    let cpu = Cpu::new(Some(1), Convolution::Direct).expect("threads");
    for (cell, tied) in [(published, false), (CellArchitecture::Lstm, true)] {
        let expected = language(&cpu, &cell, tied);
        let got = language(cuda, &cell, tied);
        assert!(!got.diverged);
        let near = |want: f64, value: f64| (value / want - 1.0).abs() < 0.01;
        assert!(!expected.step_losses.is_empty());
        assert_eq!(got.step_losses.len(), expected.step_losses.len());
        let pairs = expected.step_losses.iter().zip(&got.step_losses);
        for (step, (&want, &loss)) in pairs.enumerate() {
            assert!(near(want, loss), "step {step}: cpu {want}, cuda {loss}");
        }
        let [want, test] =
            [&expected, &got].map(|outcome| outcome.test.expect("it was asked").loss());
        assert!(near(want, test), "test: cpu {want}, cuda {test}");
        let again = language(cuda, &cell, tied);
        assert_eq!(got.step_losses, again.step_losses, "the same bits twice");
        assert_eq!(got.weights, again.weights, "the same bits twice");
    }
}

#[test]
fn host_runner_trains_language_models_as_the_cpu() {
    let host = Host::new(kernels(), MODES[0], PROFILES[0]);
    language_models_are_those_of_the_cpu(&Cuda::new(Box::new(host)));
}
