//! The counts against rows computed by hand, and against those of `inspect`.

use super::gpu::{Bound, GPUS, Gpu};
use super::measured::{Measured, MeasuredError};
use super::*;
use crate::space::ConvArchitecture;

fn graph(layers: &str) -> Graph {
    let text = format!(r#"{{"space":"conv","layers":[{layers}]}}"#);
    Graph::new(&ConvArchitecture::from_json(&text).unwrap(), 10).unwrap()
}

fn pass(roofline: &Roofline, layer: usize, kind: PassOf) -> Pass {
    let part = roofline
        .parts
        .iter()
        .find(|(place, _)| *place == PassPlace::Layer(layer));
    let pass = part.unwrap().1.iter().find(|pass| pass.kind == kind);
    *pass.unwrap()
}

/// A chain of 48 channels on 32x32 images, with one filter.
fn chain(filter: &str) -> Graph {
    let layer = |input: usize| format!(r#"{{"filter":{filter},"filters":48,"inputs":[{input}]}}"#);
    graph(&format!("{},{},{}", layer(0), layer(1), layer(2)))
}

/// By hand: 2 x 128 x 32 x 32 x 48 x 48 x taps FLOPs; a tensor is 128 x 48 x 1024 x 2 bytes, 96 KB
/// an image; microseconds at 790 TFLOP/s and 4.3 TB/s.
#[test]
fn a_chain_as_counted_by_hand() {
    let h200 = Gpu::named("h200").unwrap();
    let tensor = 128.0 * 96.0 * 1024.0;
    let filters = [
        ("[1,1]", 1.0, 0.8),
        ("[1,3]", 3.0, 2.3),
        ("[3,3]", 9.0, 6.9),
    ];
    for (filter, taps, compute_us) in filters {
        let roofline = Roofline::new(&chain(filter), 128);
        let kernel = 2.0 * 48.0 * 48.0 * taps;
        let expected = [
            (PassOf::Forward, 2.0 * tensor + kernel, 5.9),
            (PassOf::DataGradient, 3.0 * tensor + kernel, 8.8),
            (PassOf::FilterGradient, 4.0 * tensor + 2.0 * kernel, 11.7),
        ];
        for (kind, bytes, memory_us) in expected {
            let pass = pass(&roofline, 2, kind);
            assert_eq!(pass.flops, 128.0 * 1024.0 * kernel, "{filter} {kind:?}");
            assert_eq!(pass.bytes, bytes, "{filter} {kind:?}");
            let near = |seconds: f64, us: f64| (seconds * 1e6 - us).abs() < 0.06;
            assert!(near(pass.flops / h200.flops_per_second, compute_us));
            assert!(near(pass.bytes / h200.bytes_per_second, memory_us));
            let seconds = h200.seconds(pass.flops, pass.bytes);
            assert!(near(seconds, memory_us.max(compute_us)), "{seconds}");
        }
    }
    let roofline = Roofline::new(&chain("[3,3]"), 128);
    let bound = |kind| {
        let pass = pass(&roofline, 2, kind);
        h200.bound(pass.flops, pass.bytes)
    };
    assert_eq!(bound(PassOf::Forward), Bound::Compute);
    assert_eq!(bound(PassOf::DataGradient), Bound::Memory);
    // 96 of 32 x 3 taps of an axis fall inside but for one at each end.
    let exact = pass(&roofline, 2, PassOf::Forward);
    assert_eq!(exact.exact_flops, exact.flops * (94.0_f64 / 96.0).powi(2));
}

/// Five sources of 48 + 48 + 40 + 40 + 40 lanes, as the mean of 43 channels has.
#[test]
fn a_concatenation_as_counted_by_hand() {
    let layer = |filters: usize| format!(r#"{{"filter":[7,7],"filters":{filters},"inputs":[0]}}"#);
    let sources = [48, 48, 40, 40, 39].map(layer).join(",");
    let graph = graph(&format!(
        r#"{sources},{{"filter":[7,7],"filters":43,"inputs":[1,2,3,4,5]}}"#
    ));
    let roofline = Roofline::new(&graph, 128);
    let forward = pass(&roofline, 6, PassOf::Forward);
    // 0.93 GFLOP and 528 KB an image, and the weights.
    assert_eq!(forward.flops, 128.0 * 2.0 * 1024.0 * 215.0 * 43.0 * 49.0);
    let weights = 2.0 * 216.0 * 48.0 * 49.0;
    assert_eq!(forward.bytes - weights, 128.0 * 528.0 * 1024.0);
    let filter = pass(&roofline, 6, PassOf::FilterGradient);
    assert_eq!(filter.bytes - 2.0 * weights, 128.0 * 720.0 * 1024.0);
}

#[test]
fn taps_of_an_axis() {
    let naive = |outputs: usize, k: usize, stride: usize, size: usize| {
        let places = (0..outputs).flat_map(|i| (0..k).map(move |u| i * stride + u));
        places
            .filter(|at| (k / 2..k / 2 + size).contains(at))
            .count()
    };
    for (outputs, size) in [(32, 32), (32, 11), (11, 32), (1, 1), (5, 16)] {
        for k in [1, 3, 5, 7, 15] {
            for stride in 1..=8 {
                let got = taps_inside(outputs, k, stride, size);
                assert_eq!(
                    got,
                    naive(outputs, k, stride, size),
                    "{outputs} {k} {stride} {size}"
                );
            }
        }
    }
}

/// Strides, unequal sizes, pools, a pool of the image, normalisations, two unread layers.
const MIXED: &str = r#"{"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]},
    {"filter":[3,1],"filters":12,"inputs":[0,1]},
    {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[1,2]},
    {"type":"lcn","inputs":[3]},
    {"type":"batch_norm","inputs":[2,4]},
    {"type":"avg_pool","pool":[2,2],"stride":[2,2],"inputs":[0]},
    {"filter":[5,3],"filters":9,"inputs":[5,6]},
    {"filter":[1,1],"filters":8,"inputs":[5]}"#;

#[test]
fn flops_are_those_of_inspect() {
    let graph = graph(MIXED);
    let roofline = Roofline::new(&graph, 16);
    let costs = Costs::new(&graph);
    let of = |kind: PassOf| {
        let passes = roofline.passes().filter(|pass| pass.kind == kind);
        passes.map(|pass| pass.flops).sum::<f64>()
    };
    let forward = 2.0 * 16.0 * costs.multiply_adds() as f64;
    assert_eq!(of(PassOf::Forward), forward);
    assert_eq!(of(PassOf::FilterGradient), forward);
    // Not to the image, and not to what is made of it without parameters.
    let child = Child::new(&graph, 16);
    let stops: f64 = [(1, 0), (2, 0), (7, 6)]
        .map(|(reader, source)| {
            let layer = &graph.layers[reader];
            child.products(layer, &graph.layers[source].output).0
        })
        .iter()
        .sum();
    assert_eq!(of(PassOf::DataGradient), forward - stops);
    assert!(!child.has_gradient[6] && child.has_gradient[3]);
    assert!(roofline.exact_flops() < roofline.flops());
}

#[test]
fn a_child_is_its_steps_and_validations() {
    let roofline = Roofline::new(&graph(MIXED), 128);
    for gpu in GPUS {
        let step = roofline.step_seconds(&gpu);
        assert!(roofline.exact_step_seconds(&gpu) <= step);
        assert_eq!(roofline.steps(), 351);
        let validation = roofline.validation_seconds(&gpu);
        assert!(validation < 5_000.0 / 128.0 * step);
        let child = roofline.child_seconds(&gpu);
        assert!((child / (50.0 * (351.0 * step + validation)) - 1.0).abs() < 1e-12);
    }
}

#[test]
fn measured_times_are_of_this_child() {
    let text = r#"{"space":"conv","layers":[{"filter":[3,3],"filters":8,"inputs":[0]}]}"#;
    let child = ConvArchitecture::from_json(text).unwrap();
    let read = |more: &str| {
        let file = format!(r#"{{"device":"x","step_seconds":0.001,"commit":"y"{more}}}"#);
        Measured::read(&file, &child, 128)
    };
    let same = format!(r#","batch":128,"architecture":{text}"#);
    assert_eq!(read(&same).unwrap().step_seconds, Some(0.001));
    let pass = r#","passes":[{"layer":1,"pass":"forward","seconds":2e-6},
        {"layer":"optimizer","pass":"update","seconds":3e-6}]"#;
    let measured = read(pass).unwrap();
    let seconds = |place, kind| measured.seconds(place, kind);
    assert_eq!(seconds(PassPlace::Layer(1), PassOf::Forward), Some(2e-6));
    assert_eq!(seconds(PassPlace::Optimizer, PassOf::Update), Some(3e-6));
    assert_eq!(seconds(PassPlace::Layer(1), PassOf::Normalise), None);
    use MeasuredError::{Architecture as Other, Batch, Form, Seconds};
    assert!(matches!(
        read(r#","batch":64"#),
        Err(Batch {
            measured: 64,
            asked: 128
        })
    ));
    assert!(matches!(read(r#","architecture":{}"#), Err(Other)));
    let other = text.replace("\"filters\":8", "\"filters\":9");
    assert!(matches!(
        read(&format!(r#","architecture":{other}"#)),
        Err(Other)
    ));
    let backwards = r#","passes":[{"layer":1,"pass":"forward","seconds":-1}]"#;
    assert!(matches!(read(backwards), Err(Seconds { .. })));
    assert!(matches!(Measured::read("{}", &child, 128), Err(Form(_))));
}
