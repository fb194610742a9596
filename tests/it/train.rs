//! Training: overfits a tiny set, devices agree, results do not depend on threads.

mod go_on;

use std::sync::Arc;

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Convolution, Device};
use nas_engine::disk::Real;
use nas_engine::graph::{Graph, Params};
use nas_engine::space::ConvArchitecture;
use nas_engine::train::metadata::{Facts, Metadata};
use nas_engine::train::weights_file::{self, WeightsFile};
use nas_engine::train::{
    self, Child, Evaluation, Held, Job, Keeper, Network, NetworkConfig, Outcome, Runner, TrainError,
};

/// Skips of unequal sizes, a stride, a pool of a concat, and two unread layers.
pub const CHILD: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]},
    {"filter":[3,1],"filters":12,"inputs":[1]},
    {"filter":[5,3],"filters":8,"stride":[2,2],"inputs":[1,2]},
    {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[2,3]},
    {"filter":[1,1],"filters":8,"inputs":[1,4]},
    {"type":"avg_pool","pool":[3,3],"stride":[2,2],"inputs":[3]}]}"#;

pub fn config(epochs: usize) -> NetworkConfig {
    NetworkConfig {
        batch_norm_epsilon: 1e-5,
        decay_epoch: None,
        hold_out: true,
        epochs,
        batch: 8,
        learning_rate: 0.05,
        momentum: 0.9,
        weight_decay: 1e-4,
        augment: Augment::None,
        shuffle: true,
        split_seed: 0,
        checkpoint_seconds: None,
    }
}

pub fn run(device: &dyn Device, dataset: &Arc<Dataset>, config: &NetworkConfig) -> Outcome {
    let architecture = ConvArchitecture::from_json(CHILD).unwrap();
    let child = Network::new(dataset, config, &architecture).unwrap();
    train::train(
        &job(&child, device, 3, true),
        &mut Keeper::none(),
        &mut |_| {},
    )
    .unwrap()
}

/// A child to train, with no limits.
pub fn job<'a>(child: &'a dyn Child, device: &'a dyn Device, seed: u64, test: bool) -> Job<'a> {
    Job {
        child,
        plan: None,
        runner: Runner {
            device,
            memory_limit: None,
        },
        learning_rate: None,
        seed,
        init: None,
        test,
        stop: &|| false,
    }
}

fn cpu(threads: usize, convolution: Convolution) -> Cpu {
    Cpu::new(Some(threads), convolution).unwrap()
}

#[test]
fn overfits_a_tiny_set() {
    let dataset = Arc::new(Dataset::synthetic(48, 16, 4, 1));
    let outcome = run(&cpu(1, Convolution::Auto), &dataset, &config(30));
    let (first, last) = (&outcome.epochs[0], outcome.epochs.last().unwrap());
    assert!(
        last.train_loss < 0.1 * first.train_loss,
        "{first:?} {last:?}"
    );
    assert!(
        last.score.value() == 1.0 && outcome.test.unwrap().value() > 0.9,
        "{outcome:?}"
    );
}

/// The same child from the same start on both devices: the first losses differ by rounding alone;
/// rounding then grows as training goes on.
#[test]
fn devices_agree() {
    let dataset = Arc::new(Dataset::synthetic(50, 10, 4, 2));
    let config = config(2);
    let reference = run(&Reference, &dataset, &config);
    assert_eq!(reference.step_losses.len(), 10);
    for (convolution, bound) in [(Convolution::Direct, 1e-4), (Convolution::Auto, 1e-3)] {
        let outcome = run(&cpu(2, convolution), &dataset, &config);
        for (i, (a, b)) in reference
            .step_losses
            .iter()
            .zip(&outcome.step_losses)
            .enumerate()
        {
            assert!(
                (a - b).abs() < bound,
                "{convolution} step {i}: reference {a}, cpu {b}"
            );
        }
        let last = |o: &Outcome| o.epochs.last().unwrap().validation_loss;
        assert!((last(&reference) - last(&outcome)).abs() < 10.0 * bound);
    }
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let dataset = Arc::new(Dataset::synthetic(50, 10, 4, 2));
    for convolution in [Convolution::Auto, Convolution::Direct] {
        let one = run(&cpu(1, convolution), &dataset, &config(2));
        for threads in [2, 3] {
            let more = run(&cpu(threads, convolution), &dataset, &config(2));
            assert_eq!(
                one.step_losses, more.step_losses,
                "{convolution} {threads} threads"
            );
            assert_eq!(one.weights, more.weights, "{convolution} {threads} threads");
        }
    }
}

#[test]
fn a_child_that_diverges_is_an_outcome() {
    let dataset = Arc::new(Dataset::synthetic(50, 10, 4, 2));
    for device in [&Reference as &dyn Device, &cpu(1, Convolution::Auto)] {
        let mut config = config(3);
        config.learning_rate = 1e30;
        let outcome = run(device, &dataset, &config);
        assert!(outcome.diverged && outcome.epochs.len() < 3, "{outcome:?}");
        assert_eq!(outcome.test, None);
    }
}

#[test]
fn a_data_set_too_small_to_train_or_to_validate_is_refused() {
    let architecture = ConvArchitecture::from_json(CHILD).unwrap();
    let error = |n_records, batch| {
        let dataset = Arc::new(Dataset::synthetic(n_records, 10, 4, 2));
        let config = NetworkConfig { batch, ..config(1) };
        let child = Network::new(&dataset, &config, &architecture).unwrap();
        let job = job(&child, &Reference, 0, false);
        train::train(&job, &mut Keeper::none(), &mut |_| {}).unwrap_err()
    };
    let small = error(20, 19); // 18 of the 20 are trained on
    let TrainError::SmallSplit {
        train: 18,
        batch: 19,
    } = small
    else {
        panic!("{small}");
    };
    let none = error(9, 8);
    assert!(matches!(none, TrainError::NoValidation { n: 9 }), "{none}");
}

/// Saved weights, read back, give the same evaluation, and the same file every time.
#[test]
fn weights_survive_a_file() {
    let dataset = Arc::new(Dataset::synthetic(50, 20, 4, 2));
    let device = cpu(1, Convolution::Auto);
    let outcome = run(&device, &dataset, &config(2));
    let architecture = ConvArchitecture::from_json(CHILD).unwrap();
    let params = Params::new(&Graph::new(&architecture, dataset.classes().len()).unwrap());
    let metadata = Metadata {
        architecture: architecture.clone().into(),
        seed: 3,
        data_sha256: dataset.sha256(),
        epochs: 2,
        facts: Facts::Images {
            batch_norm_epsilon: 1e-5,
            hold_out: true,
            split_seed: 0,
            shuffle: true,
            limit: None,
            training_records: None,
            augment: Augment::None,
            classes: dataset.classes().to_vec(),
            validation_accuracy: outcome.epochs[1].score.value(),
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    for name in ["a", "b"] {
        weights_file::save(&Real, &path(name), &params, &outcome.weights, &metadata).unwrap();
    }
    assert_eq!(
        std::fs::read(path("a")).unwrap(),
        std::fs::read(path("b")).unwrap()
    );

    let file = WeightsFile::read(&path("a")).unwrap();
    let found = file.metadata().unwrap();
    assert_eq!(found.architecture, architecture.clone().into());
    let weights = file.weights(&params).unwrap();
    assert_eq!(weights, outcome.weights);
    // An architecture whose weights would fill terabytes is refused, not made room for.
    let dense = |i: usize| {
        let inputs: Vec<String> = (0..=i).map(|input| input.to_string()).collect();
        let inputs = inputs.join(",");
        format!(r#"{{"filter":[15,15],"filters":4096,"inputs":[{inputs}]}}"#)
    };
    let layers: Vec<String> = (0..40).map(dense).collect();
    let huge = format!(r#"{{"space":"conv","layers":[{}]}}"#, layers.join(","));
    let huge = ConvArchitecture::from_json(&huge).unwrap();
    let huge = Params::new(&Graph::new(&huge, 4).unwrap());
    assert!(file.weights(&huge).is_err());
    let batch_of_7 = NetworkConfig {
        batch: 7,
        ..config(2)
    };
    let child = Network::new(&dataset, &batch_of_7, &architecture).unwrap();
    let mut runner = Runner {
        device: &device,
        memory_limit: None,
    };
    let evaluation = child.evaluate(Held::Test, &weights, &runner).unwrap();
    let Evaluation::Images(score) = evaluation else {
        panic!("{evaluation:?}");
    };
    assert_eq!(outcome.test.map(|test| test.value()), Some(score.accuracy));
    assert_eq!(score.total, 20);

    runner.memory_limit = Some(1000);
    let error = child.evaluate(Held::Test, &weights, &runner).unwrap_err();
    assert!(
        matches!(error, TrainError::TooLarge { limit: 1000, .. }),
        "{error}"
    );
}
