//! The engine's side: runs a case on a device and reads all that the oracle computes too.

use std::fs;
use std::process::Command;

use nas_engine::device::{Control, Device, Input, List, Session};
use nas_engine::graph::params::{Param, Weights};
use nas_engine::graph::step::{BufferId, Step};
use nas_engine::graph::{Options, Params, Plan};
use nas_engine::rng::{Purpose, Rng};
use serde_json::Value;

use super::draw::{Case, EPOCH, STEPS};

/// Rates of every case; the learning rate is the case's own.
pub const CONTROL: Control = Control {
    learning_rate: 0.0,
    momentum: 0.9,
    weight_decay: 1e-2, // large enough to be seen in three steps
    max_norm: f32::INFINITY,
    epoch: Some(EPOCH),
};

/// Shapes and counts as `inspect --json` prints them; `None` for an architecture that it refuses.
pub fn inspect(case: &Case) -> Option<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("architecture.json");
    fs::write(&path, case.architecture.to_json()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_nas-engine"))
        .args(["inspect", "--json", "--classes", &case.classes.to_string()])
        .arg("--arch")
        .arg(&path)
        .output()
        .unwrap();
    let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
    if output.status.code() == Some(2) {
        return None;
    }
    assert!(output.status.success(), "{found}\n{case}");
    let object = found.as_object_mut().unwrap();
    // The device's memory and the space's tokens are no part of an architecture's meaning.
    object.retain(|key, _| {
        !matches!(
            key.as_str(),
            "training_memory_bytes" | "tokens" | "tokens_reason"
        )
    });
    Some(found)
}

/// Weights to start from. Scales, shifts, the classifier's bias and the running statistics are
/// not at their initial constants, which would hide mistakes.
pub fn initial(case: &Case, params: &Params) -> Weights {
    let mut weights = params.initial(case.seed);
    let mut rng = Rng::new(case.seed, Purpose::Test, 3);
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

/// What a device gave, by the oracle's names.
pub struct Found {
    /// Name and values.
    pub quantities: Vec<(String, Vec<f64>)>,
}

impl Found {
    /// Trains [`STEPS`] batches on `device`, then evaluates one.
    pub fn run(device: &dyn Device, case: &Case) -> Found {
        let graph = case.graph().expect("a valid case");
        let params = Params::new(&graph);
        let options = Options {
            reuse: false, // logits are read after the run
            ..Options::new(case.batch)
        };
        let plan = Plan::new(&graph, &params, device, options);
        let input = Input::of_images(&case.dataset, case.augment, case.seed);
        let mut session = device.load(&plan, Some(input)).unwrap();
        let session = &mut *session;
        let Weights { trained, running } = initial(case, &params);
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        session.write(plan.weights, &wide(&trained));
        session.write(plan.running, &wide(&running));
        session.run(List::Prepare, 1);
        let mut found = Found { quantities: vec![] };
        found.train(session, &plan, &params, case);
        found.evaluate(session, &plan, case);
        found
    }

    fn train(&mut self, session: &mut dyn Session, plan: &Plan, params: &Params, case: &Case) {
        let control = Control {
            learning_rate: case.learning_rate,
            ..CONTROL
        };
        let records = case.records();
        session.begin(&records[..case.dataset.n_train()], control);
        session.run(List::Train, 1);
        self.push("logits.train", read(session, logits(&plan.train)));
        self.split("gradient", &params.trained, &read(session, plan.gradients));
        self.split("first", &params.running, &read(session, plan.running));
        session.run(List::Train, STEPS - 1);
        let results = session.results().unwrap();
        assert!(results.finite, "{case}");
        let losses = results.loss_sums.iter().map(|sum| sum / case.batch as f64);
        self.push("losses", losses.collect());
        self.split("last", &params.trained, &read(session, plan.weights));
        self.split("last", &params.running, &read(session, plan.running));
        self.split("momentum", &params.trained, &read(session, plan.momentum));
    }

    fn evaluate(&mut self, session: &mut dyn Session, plan: &Plan, case: &Case) {
        let control = Control {
            epoch: None,
            ..CONTROL
        };
        session.begin(&case.records()[case.dataset.n_train()..], control);
        session.run(List::Evaluate, 1);
        self.push("logits.evaluate", read(session, logits(&plan.evaluate)));
        let results = session.results().unwrap();
        let loss = results.loss_sums.iter().sum::<f64>() / case.batch as f64;
        self.push("loss.evaluate", vec![loss]);
        self.push("correct.evaluate", vec![results.correct as f64]);
    }

    fn push(&mut self, name: &str, values: Vec<f64>) {
        self.quantities.push((name.to_string(), values));
    }

    fn split(&mut self, what: &str, list: &[Param], values: &[f64]) {
        for param in list {
            let name = format!("{what}.{}", param.name);
            self.push(&name, values[param.range()].to_vec());
        }
    }
}

fn logits(steps: &[Step]) -> BufferId {
    let logits = steps.iter().find_map(|step| match step {
        Step::Classifier(classifier) => Some(classifier.logits),
        _ => None,
    });
    logits.expect("every plan has a classifier")
}

fn read(session: &mut dyn Session, buffer: BufferId) -> Vec<f64> {
    session.read(buffer).unwrap()
}
