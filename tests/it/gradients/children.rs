//! Gradients of whole children, from an architecture to the plan's train list.

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Device, Input, List, Session};
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::ConvArchitecture;

use super::{Tally, check, places};

/// Children with every kind of layer, skips between unequal sizes, strides along one axis or both,
/// layers that several others read, and several unread ones.
const CHILDREN: [(&str, &str); 5] = [
    (
        "skips of unequal sizes",
        r#"{"space":"conv","layers":[
        {"filter":[3,3],"filters":5,"stride":[3,4],"inputs":[0]},
        {"filter":[3,5],"filters":9,"stride":[2,1],"inputs":[1]},
        {"filter":[1,3],"filters":4,"inputs":[1,2]},
        {"filter":[5,1],"filters":3,"stride":[1,2],"inputs":[1,2,3]}]}"#,
    ),
    (
        "max pools",
        r#"{"space":"conv","layers":[
        {"filter":[3,3],"filters":4,"stride":[2,4],"inputs":[0]},
        {"type":"max_pool","pool":[3,2],"stride":[2,2],"inputs":[1]},
        {"filter":[3,3],"filters":6,"inputs":[2]},
        {"type":"max_pool","pool":[2,3],"stride":[1,1],"inputs":[1,3]},
        {"filter":[3,1],"filters":5,"inputs":[2,4]}]}"#,
    ),
    (
        "average pools and the image",
        r#"{"space":"conv","layers":[
        {"type":"avg_pool","pool":[5,4],"stride":[4,4],"inputs":[0]},
        {"filter":[3,3],"filters":5,"inputs":[1]},
        {"type":"avg_pool","pool":[2,2],"stride":[2,3],"inputs":[1,2]},
        {"filter":[1,1],"filters":4,"inputs":[2,3]},
        {"type":"avg_pool","pool":[3,3],"stride":[1,1],"inputs":[2]}]}"#,
    ),
    (
        "batch normalisation",
        r#"{"space":"conv","layers":[
        {"filter":[3,3],"filters":3,"stride":[4,3],"inputs":[0]},
        {"type":"batch_norm","inputs":[1]},
        {"filter":[3,3],"filters":10,"stride":[1,2],"inputs":[1,2]},
        {"type":"batch_norm","inputs":[1,2,3]},
        {"filter":[1,3],"filters":4,"inputs":[3,4]},
        {"type":"batch_norm","inputs":[4]}]}"#,
    ),
    (
        "local contrast normalisation",
        r#"{"space":"conv","layers":[
        {"filter":[3,3],"filters":3,"stride":[3,4],"inputs":[0]},
        {"type":"lcn","inputs":[1]},
        {"filter":[3,3],"filters":9,"stride":[2,1],"inputs":[1,2]},
        {"type":"lcn","inputs":[2,3]},
        {"type":"batch_norm","inputs":[4]},
        {"type":"max_pool","pool":[2,2],"stride":[1,2],"inputs":[5]},
        {"filter":[3,1],"filters":4,"inputs":[4,6]}]}"#,
    ),
];

const BATCH: usize = 3;
/// Places of every parameter tensor.
const PLACES: usize = 4;

/// Weights at which nothing is special: scales and shifts too are random.
fn lively(params: &Params, seed: u64) -> Vec<f64> {
    let mut values: Vec<f64> = vec![];
    for (position, param) in params.trained.iter().enumerate() {
        let mut rng = Rng::new(seed, Purpose::Test, position as u64);
        let deviation = match param.shape.len() {
            4 => (2.0 / param.shape[1..].iter().product::<usize>() as f64).sqrt(),
            _ => 0.5,
        };
        let mean = if param.name.ends_with("bn.weight") {
            1.0
        } else {
            0.0
        };
        values.extend((0..param.len()).map(|_| mean + deviation * rng.normal()));
    }
    values
}

/// Mean loss of the batch with these weights; leaves the gradients on the device. The learning rate
/// is 0, so that the weights stay.
fn loss(session: &mut dyn Session, plan: &Plan, weights: &[f64]) -> f64 {
    session.write(plan.weights, weights);
    let control = Control {
        learning_rate: 0.0,
        momentum: 0.9,
        weight_decay: 0.0,
        max_norm: f32::INFINITY,
        epoch: Some(0),
    };
    session.run(List::Prepare, 1);
    session.begin(&[4, 0, 7], control);
    session.run(List::Train, 1);
    session.results().expect("runs").loss_sums[0] / BATCH as f64
}

fn check_child(name: &str, json: &str, seed: u64) {
    let architecture = ConvArchitecture::from_json(json).expect("an architecture");
    let graph = Graph::new(&architecture, 10).expect("windows that fit");
    let params = Params::new(&graph);
    let plan = Plan::new(&graph, &params, &Reference, Options::new(BATCH));
    let dataset = Dataset::synthetic(12, 2, 10, 5);
    let input = Input::of_images(&dataset, Augment::UpsampleCrop, seed);
    let mut session = Reference.load(&plan, Some(input)).expect("loads");
    let weights = lively(&params, seed);
    let middle = loss(&mut *session, &plan, &weights);
    let gradients = session.read(plan.gradients).expect("reads");
    assert_eq!(
        session.read(plan.weights).expect("reads"),
        weights,
        "learning rate 0 moves nothing"
    );
    let mut tally = Tally::default();
    for (position, param) in params.trained.iter().enumerate() {
        let gradient = &gradients[param.range()];
        let largest = gradient.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
        assert!(largest > 0.0, "{name}: {} has no gradient", param.name);
        for place in places(param.len(), PLACES, seed, position as u64) {
            let mut nudged = weights.clone();
            let result = check(gradient[place], largest, middle, |by| {
                nudged[param.offset + place] = weights[param.offset + place] + by;
                loss(&mut *session, &plan, &nudged)
            });
            tally.note(result, || format!("{}[{place}]", param.name));
        }
    }
    tally.assert(&format!("{name}, seed {seed}"));
}

#[test]
fn of_whole_children() {
    for (name, json) in CHILDREN {
        check_child(name, json, 1);
    }
}
