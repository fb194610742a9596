//! What [`Plan::state`] is: training that is stopped between two steps and gone on with by a session
//! that is given it has the bits of training that was not stopped, of losses and of all state. Here of
//! `cpu` and `reference`; of `cuda` in `cuda/go_on.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use nas_engine::data::windows::Windows;
use nas_engine::data::{Augment, Dataset};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Convolution, Device, Input, InputSource, List, Session};
use nas_engine::graph::language::{INITIAL, LanguageModel, LanguageSettings};
use nas_engine::graph::params::Weights;
use nas_engine::graph::plan::Storage;
use nas_engine::graph::recurrent::Dropout;
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::space::{CellArchitecture, ConvArchitecture};

/// Strides, a pool of a concatenation, a normalisation of its own, and an unread layer.
const NETWORK: &str = r#"{"space":"conv","layers":[
    {"filter":[3,3],"filters":9,"stride":[4,4],"inputs":[0]},
    {"filter":[1,3],"filters":8,"inputs":[1]},
    {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[1,2]},
    {"type":"batch_norm","inputs":[3]},
    {"filter":[3,1],"filters":5,"inputs":[2,4]},
    {"filter":[1,1],"filters":3,"inputs":[1]}]}"#;

/// Batches of an epoch.
const STEPS: usize = 5;
const EPOCHS: usize = 2;

enum Data {
    Images(Dataset),
    Text(Vec<u32>),
}

/// The plan of a child for a device.
type Planned = dyn Fn(&dyn Storage) -> Plan;

/// A child and all that it is trained with.
pub struct Child {
    pub name: &'static str,
    plan: Box<Planned>,
    initial: Weights,
    data: Data,
    /// Records of each epoch.
    orders: [Vec<u32>; EPOCHS],
}

/// A network with momentum and running statistics, and a language model that carries the state of two
/// recurrent layers from window to window.
pub fn children() -> [Child; 2] {
    [network(), language()]
}

fn network() -> Child {
    let batch = 4;
    let architecture = ConvArchitecture::from_json(NETWORK).expect("an architecture");
    let graph = Graph::new(&architecture, 4).expect("a child");
    let params = Params::new(&graph);
    let n = (STEPS * batch) as u32;
    Child {
        name: "a network",
        initial: params.initial(3),
        plan: Box::new(move |storage| Plan::new(&graph, &params, storage, Options::new(batch))),
        data: Data::Images(Dataset::synthetic(30, 10, 4, 2)),
        orders: [7, 11].map(|step| (0..n).map(|i| (i * step + 2) % 29).collect()),
    }
}

fn language() -> Child {
    let (rows, steps) = (3, 4);
    let settings = LanguageSettings {
        layers: 2,
        hidden: 6,
        vocabulary: 11,
        tied: false,
        dropout: Dropout {
            rate: 0.3,
            variational: false,
        },
        initial: 5.0 * INITIAL,
    };
    let model = LanguageModel::new(&CellArchitecture::Lstm, settings).expect("sound settings");
    let (params, spans) = model.params();
    let text: Vec<u32> = (0..rows * (STEPS * steps + 1))
        .map(|i| (i * i % 11) as u32)
        .collect();
    let mut windows = Windows::default();
    let starts = windows.add(&text, rows).expect("rows").starts(steps, true);
    let options = Options {
        momentum: false,
        ..Options::new(rows)
    };
    Child {
        name: "a language model",
        initial: params.initial(3),
        plan: Box::new(move |storage| {
            Plan::of_language(&model, (&params, &spans), storage, options, steps)
        }),
        data: Data::Text(windows.tokens().to_vec()),
        orders: [starts.clone(), starts],
    }
}

impl Child {
    /// Its plan for a device.
    pub fn plan(&self, storage: &dyn Storage) -> Plan {
        (self.plan)(storage)
    }

    /// A session with nothing written yet.
    pub fn load<'a>(&'a self, device: &'a dyn Device, plan: &'a Plan) -> Box<dyn Session + 'a> {
        let source = match &self.data {
            Data::Images(dataset) => InputSource::Images {
                dataset,
                augment: Augment::PadCrop,
            },
            Data::Text(tokens) => InputSource::Tokens(tokens),
        };
        let session = device.load(plan, Some(Input { source, seed: 5 }));
        session.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// A session at the beginning of training.
    pub fn start<'a>(&'a self, device: &'a dyn Device, plan: &'a Plan) -> Box<dyn Session + 'a> {
        let mut session = self.load(device, plan);
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| x.into()).collect() };
        session.write(plan.weights, &wide(&self.initial.trained));
        session.write(plan.running, &wide(&self.initial.running));
        session.run(List::Prepare, 1);
        session
    }

    /// Begins an epoch after so many of its batches.
    pub fn begin(&self, session: &mut dyn Session, epoch: usize, n_batches: usize) {
        let control = Control {
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-3,
            max_norm: 0.5,
            epoch: Some(epoch as u32),
        };
        session.begin_at(&self.orders[epoch], n_batches, control);
    }
}

/// Numbers as their bits: what is not a number equals itself.
type Bits = Vec<Vec<u64>>;

fn bits(state: &[Vec<f64>]) -> Bits {
    let each = state.iter();
    each.map(|values| values.iter().map(|x| x.to_bits()).collect())
        .collect()
}

fn kept(session: &mut dyn Session) -> Vec<Vec<f64>> {
    session.keep();
    session.kept().expect("the device works")
}

fn losses(session: &mut dyn Session) -> Vec<f64> {
    let results = session.results().expect("the device works");
    assert!(results.finite);
    results.loss_sums
}

/// Losses of the rest of an epoch, and the state at its end.
fn rest(child: &Child, session: &mut dyn Session, epoch: usize, from: usize) -> (Vec<f64>, Bits) {
    child.begin(session, epoch, from);
    session.run(List::Train, STEPS - from);
    (losses(session), bits(&kept(session)))
}

/// Whether a child that is stopped after each number of steps and gone on with by another session
/// ends with the bits of one that was not stopped.
pub fn goes_on_with_the_same_bits(device: &dyn Device, child: &Child) {
    let plan = child.plan(device);
    let mut whole = child.start(device, &plan);
    let epochs = [0, 1].map(|epoch| rest(child, &mut *whole, epoch, 0));
    for n in 0..=STEPS {
        let what = format!("{}: {} after {n} steps", device.describe(), child.name);
        let mut first = child.start(device, &plan);
        child.begin(&mut *first, 0, 0);
        first.run(List::Train, n);
        let read = plan.state.iter().map(|&id| first.read(id));
        let now: Vec<Vec<f64>> = read.collect::<Result<_, _>>().expect("the device works");
        first.keep();
        // What is run between `keep` and `kept` changes nothing of what was kept.
        first.run(List::Train, STEPS - n);
        let state = first.kept().expect("the device works");
        assert_eq!(bits(&state), bits(&now), "{what}: what is kept");
        assert_eq!(
            losses(&mut *first),
            epochs[0].0,
            "{what}: it goes on itself"
        );
        let after = bits(&kept(&mut *first));
        assert_eq!(after, epochs[0].1, "{what}: it goes on itself");
        assert_eq!(
            after == bits(&state),
            n == STEPS,
            "{what}: steps change the state"
        );

        let mut second = child.load(device, &plan);
        for (&id, values) in plan.state.iter().zip(&state) {
            second.write(id, values);
        }
        second.run(List::Prepare, 1);
        let (left, ended) = rest(child, &mut *second, 0, n);
        assert_eq!(left, epochs[0].0[n..], "{what}: losses");
        assert_eq!(ended, epochs[0].1, "{what}: state");
        assert_eq!(
            rest(child, &mut *second, 1, 0),
            epochs[1],
            "{what}: next epoch"
        );
    }
}

/// Whether training that is asked now and then whether to stop has the bits of training that is not.
pub fn stops_between_two_steps(device: &dyn Device, child: &Child) {
    let what = format!("{}: {}", device.describe(), child.name);
    let plan = child.plan(device);
    let until = |n_asks: usize| {
        let mut session = child.start(device, &plan);
        child.begin(&mut *session, 0, 0);
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) == n_asks;
        let n_run = session.run_until(List::Train, STEPS, &stop);
        (n_run, losses(&mut *session), bits(&kept(&mut *session)))
    };
    let after = |n: usize| {
        let mut session = child.start(device, &plan);
        child.begin(&mut *session, 0, 0);
        session.run(List::Train, n);
        (n, losses(&mut *session), bits(&kept(&mut *session)))
    };
    // How many steps are run between two questions may depend on how long they take.
    for n_asks in 0..=STEPS {
        let found = until(n_asks);
        assert!(found.0 <= STEPS, "{what}");
        assert_eq!(found.0 == 0, n_asks == 0, "{what}");
        assert_eq!(found, after(found.0), "{what}, stopped when asked {n_asks}");
    }
    assert_eq!(until(usize::MAX), after(STEPS), "{what}, never stopped");
}

#[test]
fn training_goes_on_with_the_same_bits() {
    let cpu = Cpu::new(Some(2), Convolution::Auto).expect("threads");
    for child in &children() {
        for device in [&Reference as &dyn Device, &cpu] {
            goes_on_with_the_same_bits(device, child);
            stops_between_two_steps(device, child);
        }
    }
}
