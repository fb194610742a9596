//! Training: overfits a tiny set, devices agree, results do not depend on threads.

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Convolution, Device};
use nas_engine::graph::{Graph, Params};
use nas_engine::space::ConvArchitecture;
use nas_engine::train::checkpoint::{self, Metadata, WeightsFile};
use nas_engine::train::{self, EvaluationJob, Job, Outcome, TrainConfig, TrainError};

/// Skips of unequal sizes, a stride, a pool of a concat, and two unread layers.
const CHILD: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]},
    {"filter":[3,1],"filters":12,"inputs":[1]},
    {"filter":[5,3],"filters":8,"stride":[2,2],"inputs":[1,2]},
    {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[2,3]},
    {"filter":[1,1],"filters":8,"inputs":[1,4]},
    {"type":"avg_pool","pool":[3,3],"stride":[2,2],"inputs":[3]}]}"#;

pub fn config(epochs: usize) -> TrainConfig {
    TrainConfig {
        epochs,
        batch: 8,
        learning_rate: 0.05,
        momentum: 0.9,
        weight_decay: 1e-4,
        augment: Augment::None,
        shuffle: true,
        split_seed: 0,
    }
}

pub fn run(device: &dyn Device, dataset: &Dataset, config: &TrainConfig) -> Outcome {
    let architecture = ConvArchitecture::from_json(CHILD).unwrap();
    let job = Job {
        device,
        dataset,
        architecture: &architecture,
        config,
        learning_rate: None,
        seed: 3,
        init: None,
        test: true,
        memory_limit: None,
        stop: None,
    };
    train::train(&job, &mut |_| {}).unwrap()
}

fn cpu(threads: usize, convolution: Convolution) -> Cpu {
    Cpu::new(Some(threads), convolution).unwrap()
}

#[test]
fn overfits_a_tiny_set() {
    let dataset = Dataset::synthetic(48, 16, 4, 1);
    let outcome = run(&cpu(1, Convolution::Auto), &dataset, &config(30));
    let (first, last) = (&outcome.epochs[0], outcome.epochs.last().unwrap());
    assert!(
        last.train_loss < 0.1 * first.train_loss,
        "{first:?} {last:?}"
    );
    assert!(
        last.validation_accuracy == 1.0 && outcome.test_accuracy > Some(0.9),
        "{outcome:?}"
    );
}

/// The same child from the same start on both devices: the first losses differ by rounding alone;
/// rounding then grows as training goes on.
#[test]
fn devices_agree() {
    let dataset = Dataset::synthetic(50, 10, 4, 2);
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
    let dataset = Dataset::synthetic(50, 10, 4, 2);
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
    let dataset = Dataset::synthetic(50, 10, 4, 2);
    for device in [&Reference as &dyn Device, &cpu(1, Convolution::Auto)] {
        let mut config = config(3);
        config.learning_rate = 1e30;
        let outcome = run(device, &dataset, &config);
        assert!(outcome.diverged && outcome.epochs.len() < 3, "{outcome:?}");
        assert_eq!(outcome.test_accuracy, None);
    }
}

#[test]
fn a_data_set_too_small_to_train_or_to_validate_is_refused() {
    let architecture = ConvArchitecture::from_json(CHILD).unwrap();
    let error = |n_records, batch| {
        let dataset = Dataset::synthetic(n_records, 10, 4, 2);
        let config = TrainConfig { batch, ..config(1) };
        let job = Job {
            device: &Reference,
            dataset: &dataset,
            architecture: &architecture,
            config: &config,
            learning_rate: None,
            seed: 0,
            init: None,
            test: false,
            memory_limit: None,
            stop: None,
        };
        train::train(&job, &mut |_| {}).unwrap_err()
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
    let dataset = Dataset::synthetic(50, 20, 4, 2);
    let device = cpu(1, Convolution::Auto);
    let outcome = run(&device, &dataset, &config(2));
    let architecture = ConvArchitecture::from_json(CHILD).unwrap();
    let params = Params::new(&Graph::new(&architecture, dataset.classes().len()).unwrap());
    let metadata = Metadata {
        architecture: architecture.clone().into(),
        seed: 3,
        split_seed: 0,
        shuffle: true,
        augment: Augment::None,
        classes: dataset.classes().to_vec(),
        data_sha256: dataset.sha256(),
        epochs: 2,
        validation_accuracy: outcome.epochs[1].validation_accuracy,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    for name in ["a", "b"] {
        checkpoint::save(&path(name), &params, &outcome.weights, &metadata).unwrap();
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
    let test = train::test_records(&dataset);
    let mut job = EvaluationJob {
        device: &device,
        dataset: &dataset,
        architecture: &architecture,
        weights: &weights,
        augment: found.augment,
        records: &test,
        batch: 7,
        memory_limit: None,
    };
    let evaluation = train::evaluate(&job).unwrap();
    assert_eq!(Some(evaluation.accuracy), outcome.test_accuracy);
    assert_eq!(evaluation.total, 20);

    job.memory_limit = Some(1000);
    let error = train::evaluate(&job).unwrap_err();
    assert!(
        matches!(error, TrainError::TooLarge { limit: 1000, .. }),
        "{error}"
    );
}
