//! Plans for a kind of GPU, made without one: the same that the device makes.

use std::collections::BTreeSet;

use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::kinds::{KINDS, Kind};
use nas_engine::graph::plan::Storage;
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::report::roofline::gpu::GPUS;
use nas_engine::space::ConvArchitecture;

use super::host::{Host, Limited, MODES, kernels};
use super::idle::Idle;
use crate::go_on::children;

/// Filters and numbers of planes that need tiles of several kinds, and one that only large shared memory
/// has a tile for.
const NETWORK: &str = r#"{"space":"conv","layers":[
    {"filter":[7,5],"filters":48,"inputs":[0]},
    {"filter":[15,15],"filters":130,"stride":[2,2],"inputs":[1]},
    {"type":"max_pool","pool":[3,3],"stride":[2,2],"inputs":[1]},
    {"filter":[1,1],"filters":4096,"inputs":[2,3]},
    {"filter":[5,3],"filters":64,"inputs":[2,4]},
    {"filter":[15,15],"filters":8,"stride":[8,8],"inputs":[0]}]}"#;

/// Every number of a plan, and the steps that run it.
fn text(plan: &Plan) -> String {
    format!("{plan:?}")
}

#[test]
fn a_plan_made_without_a_gpu_is_that_of_the_gpu() {
    let architecture = ConvArchitecture::from_json(NETWORK).expect("an architecture");
    let graph = Graph::new(&architecture, 10).expect("a child");
    let params = Params::new(&graph);
    let mut scratch = BTreeSet::new();
    for kind in KINDS {
        let storage = kind.storage();
        let host = Host::new(kernels(), MODES[0], kind.limits.shared_bytes);
        let host = Cuda::new(Box::new(Limited(host, kind.limits)));
        let idle = Cuda::new(Box::new(Idle::new(kind.limits)));
        let network =
            |storage: &dyn Storage| Plan::new(&graph, &params, storage, Options::new(128));
        let [without, of_host, of_idle] =
            [&storage as &dyn Storage, &host, &idle].map(|storage| text(&network(storage)));
        assert_eq!(without, of_host, "{}", kind.name);
        assert_eq!(without, of_idle, "{}", kind.name);
        for child in &children() {
            let [without, of_host] =
                [&storage as &dyn Storage, &host].map(|storage| text(&child.plan(storage)));
            assert_eq!(without, of_host, "{}: {}", kind.name, child.name);
            assert!(storage.missing(&child.plan(&storage)).is_none());
        }
        let plan = network(&storage);
        let of = |batch| plan.convs.iter().map(move |conv| (conv, batch));
        let convs = [1, 7, 32, 128, 500].into_iter().flat_map(of);
        let each = convs.map(|(conv, batch)| storage.scratch_bytes(conv, batch));
        scratch.insert(each.collect::<Vec<usize>>());
    }
    assert!(scratch.len() > 1, "kinds of GPU differ in what they need");
}

#[test]
fn every_gpu_that_has_a_name_is_a_kind() {
    for gpu in GPUS {
        assert!(Kind::named(gpu.name).is_some(), "{}", gpu.name);
    }
    assert_eq!(Kind::named("abacus"), None);
}
