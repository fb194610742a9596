//! A training that is stopped before any of its steps, and goes on from its checkpoint, ends with the
//! bits of one that never was.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nas_engine::checkpoint::{CheckpointError, Slots};
use nas_engine::config::Config;
use nas_engine::data::Dataset;
use nas_engine::data::corpus::{Corpus, Level};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Convolution, Device};
use nas_engine::disk::Real;
use nas_engine::space::{Architecture, ConvArchitecture};
use nas_engine::train::{
    self, Child, EpochReport, Job, Keeper, Language, LanguageConfig, Network, NetworkConfig,
    Origin, Outcome, TrainConfig, TrainError,
};

use super::{CHILD, config, job};

/// A network with every kind of step, few images, three epochs.
pub fn network() -> Network {
    let dataset = Arc::new(Dataset::synthetic(40, 12, 4, 1));
    let config = NetworkConfig {
        batch: 12,
        ..config(3)
    };
    let architecture = ConvArchitecture::from_json(CHILD).expect("an architecture");
    Network::new(&dataset, &config, &architecture).expect("it can be built")
}

/// A language model of two layers of the published cell, with dropout; `folder` is for its text.
pub fn language(folder: &Path) -> Language {
    let words = (0..400u32).map(|i| format!("w{}", i * i % 23));
    let path = folder.join("text");
    std::fs::write(&path, words.collect::<Vec<_>>().join(" ")).expect("it is written");
    let corpus = Corpus::open(&path, Level::Word, None, folder).expect("a text");
    let Some(TrainConfig::Language(preset)) = Config::preset("cell-sample").map(|c| c.train) else {
        panic!("the preset is one of cells");
    };
    let config = LanguageConfig {
        epochs: 3,
        batch: 5,
        steps: 9,
        hidden: Some(11),
        dropout: 0.3,
        ..preset
    };
    let published = include_str!("../../../examples/cell-published.json");
    let Ok(Architecture::Cell(cell)) = Architecture::from_json(published) else {
        panic!("a cell");
    };
    Language::new(&Arc::new(corpus), &config, &cell).expect("sound settings")
}

fn origin(child: &dyn Child, device: &dyn Device) -> Origin {
    Origin {
        version: "test".into(),
        device: device.model(),
        architecture: child.architecture().to_json(),
        config_sha256: "settings".into(),
        data_sha256: child.data_sha256(),
        seed: 3,
        sample: None,
        journal_bytes: None,
        settings: None,
    }
}

/// Trains a child from what `slots` hold until `stop` has been asked `n_asks` times; how often it was
/// asked, and what came of it.
fn train_for(
    child: &dyn Child,
    device: &dyn Device,
    slots: Slots,
    n_asks: usize,
    every: Duration,
) -> (usize, Result<Outcome, TrainError>) {
    let (mut keeper, wrong) = Keeper::open(slots, origin(child, device), every);
    assert!(wrong.is_empty(), "{wrong:?}");
    let asked = AtomicUsize::new(0);
    let job = Job {
        stop: &|| asked.fetch_add(1, Ordering::Relaxed) >= n_asks,
        ..job(child, device, 3, true)
    };
    let trained = train::train(&job, &mut keeper, &mut |_| {});
    (asked.load(Ordering::Relaxed), trained)
}

/// All of an outcome but the time it took, as bits.
fn bits(outcome: &Outcome) -> (Vec<String>, Vec<u64>, Vec<u32>) {
    let epoch = |epoch: &EpochReport| {
        let rate = epoch.learning_rate;
        let losses = (epoch.train_loss, epoch.validation_loss);
        format!("{} {rate:e} {losses:?} {:?}", epoch.epoch, epoch.score)
    };
    let weights = outcome
        .weights
        .trained
        .iter()
        .chain(&outcome.weights.running);
    let mut shown: Vec<String> = outcome.epochs.iter().map(epoch).collect();
    shown.push(format!("{} {:?}", outcome.diverged, outcome.test));
    let losses = outcome.step_losses.iter();
    (
        shown,
        losses.map(|loss| loss.to_bits()).collect(),
        weights.map(|weight| weight.to_bits()).collect(),
    )
}

fn stopped_anywhere(child: &dyn Child, device: &dyn Device) {
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder");
    let slots = |name: &str| Slots::new(Arc::new(Real), folder.path().join(name));
    let (n_asks, whole) = train_for(child, device, slots("whole"), usize::MAX, Duration::MAX);
    let whole = bits(&whole.expect("it trains"));
    // Every step and every step of validation, in each of three epochs.
    assert!(n_asks > 12, "{n_asks} places to stop");
    for at in 0..n_asks {
        let name = format!("stopped {at}");
        let every = [Duration::ZERO, Duration::MAX][at % 2];
        let (_, stopped) = train_for(child, device, slots(&name), at, every);
        let is_stopped = matches!(stopped, Err(TrainError::Stopped));
        assert!(is_stopped, "{at}: {stopped:?}");
        // And once more, as soon as it has done a step.
        let (_, again) = train_for(child, device, slots(&name), 1, every);
        let ended = match again {
            Err(TrainError::Stopped) => train_for(child, device, slots(&name), usize::MAX, every).1,
            other => other,
        };
        let ended = ended.unwrap_or_else(|error| panic!("stopped at {at}: {error}"));
        let same = bits(&ended) == whole;
        assert!(same, "stopped at {at}: other bits on {}", device.describe());
    }
}

fn devices() -> Vec<Box<dyn Device>> {
    let cpu = |threads, convolution| Cpu::new(Some(threads), convolution).expect("threads");
    vec![
        Box::new(cpu(1, Convolution::Auto)),
        Box::new(cpu(2, Convolution::Direct)),
        Box::new(Reference),
    ]
}

#[test]
fn a_network_that_is_stopped_anywhere_ends_with_the_same_bits() {
    let network = network();
    devices()
        .iter()
        .for_each(|device| stopped_anywhere(&network, &**device));
}

#[test]
fn a_language_model_that_is_stopped_anywhere_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let language = language(folder.path());
    devices()
        .iter()
        .for_each(|device| stopped_anywhere(&language, &**device));
}

/// Killed, not stopped: what is left is the checkpoint of the last epoch's end.
#[test]
fn what_a_kill_leaves_is_the_end_of_the_last_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let slots = || Slots::new(Arc::new(Real), folder.path().join("work"));
    let child = network();
    let device = Cpu::new(Some(1), Convolution::Auto).expect("threads");
    let (_, whole) = train_for(&child, &device, slots(), usize::MAX, Duration::ZERO);
    let whole = whole.expect("it trains");
    let (keeper, wrong) = Keeper::open(slots(), origin(&child, &device), Duration::ZERO);
    assert!(wrong.is_empty());
    // None is kept of the last epoch, whose end is the end.
    let stands = (keeper.state().epochs.len(), keeper.state().n_batches);
    assert_eq!(stands, (2, 0));
    let (_, ended) = train_for(&child, &device, slots(), usize::MAX, Duration::MAX);
    assert!(bits(&ended.expect("it trains")) == bits(&whole));
}

#[test]
fn a_checkpoint_of_something_else_is_not_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let slots = || Slots::new(Arc::new(Real), folder.path().join("work"));
    let child = network();
    let device = Cpu::new(Some(1), Convolution::Auto).expect("threads");
    let (_, stopped) = train_for(&child, &device, slots(), 5, Duration::MAX);
    stopped.expect_err("it is stopped");
    let ours = || origin(&child, &device);
    let change = |change: &dyn Fn(&mut Origin)| {
        let mut other = ours();
        change(&mut other);
        other
    };
    let others = [
        ("architecture", change(&|o| o.architecture = "{}".into())),
        ("configuration", change(&|o| o.config_sha256 = "x".into())),
        ("data set", change(&|o| o.data_sha256 = "x".into())),
        ("seed", change(&|o| o.seed = 4)),
        ("child", change(&|o| o.sample = Some(7))),
    ];
    for (differs, origin) in others {
        let (keeper, wrong) = Keeper::open(slots(), origin, Duration::MAX);
        assert!(keeper.state().buffers.is_empty(), "{differs}");
        match &wrong[..] {
            [CheckpointError::Other { what, .. }] => assert_eq!(*what, differs),
            [CheckpointError::OtherData { ours, .. }] => {
                assert_eq!((differs, &ours[..]), ("data set", "x"));
            }
            _ => panic!("{differs}: {wrong:?}"),
        }
    }
    // Another device goes on from it.
    let elsewhere = change(&|o| o.device = "another".into());
    let (keeper, wrong) = Keeper::open(slots(), elsewhere, Duration::MAX);
    assert!(wrong.is_empty() && !keeper.state().buffers.is_empty());
}

/// A file with a sound digest whose counts are not those of the training.
#[test]
fn a_checkpoint_with_other_counts_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let slots = || Slots::new(Arc::new(Real), folder.path().join("work"));
    let child = network();
    let device = Cpu::new(Some(1), Convolution::Auto).expect("threads");
    let (_, stopped) = train_for(&child, &device, slots(), 5, Duration::MAX);
    stopped.expect_err("it is stopped");
    let saved = slots().read::<serde_json::Value>().0.expect("a checkpoint");
    type Change<'a> = &'a dyn Fn(&mut serde_json::Value, &mut Vec<Vec<f64>>);
    let changes: [Change; 6] = [
        &|header, _| header["n_batches"] = 1000.into(),
        &|header, _| header["n_batches"] = 0.into(),
        &|_, arrays| {
            arrays[0].pop();
        },
        &|_, arrays| {
            arrays[1].pop();
        },
        &|_, arrays| drop(arrays.pop()),
        &|_, arrays| arrays.truncate(1),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let (mut header, mut arrays) = (saved.header.clone(), saved.arrays.clone());
        change(&mut header, &mut arrays);
        let arrays: Vec<&[f64]> = arrays.iter().map(Vec::as_slice).collect();
        let mut newest = slots();
        newest.read::<serde_json::Value>();
        newest.write(&header, &arrays).expect("it is written");
        let (_, trained) = train_for(&child, &device, slots(), usize::MAX, Duration::MAX);
        let Err(TrainError::Misfit { path, .. }) = trained else {
            panic!("{n}: {trained:?}");
        };
        assert_eq!(path, folder.path().join("work"), "{n}");
    }
}
