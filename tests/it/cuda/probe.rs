//! The launches of a step one by one: the same that training runs, and each can be timed.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::path::Path;

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::Input;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::probe::Probe;
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::space::ConvArchitecture;

use super::gpu::{all_in_one, by_steps, smallest};
use super::host::{Host, MODES, PROFILES, kernels};

/// Each launch of each step of a tiny child, with `n_copies` of it.
pub fn every_launch_can_be_timed(cuda: &Cuda, n_copies: usize) {
    let child =
        r#"{"space":"conv","layers":[{"filter":[1,3],"filters":4,"stride":[8,8],"inputs":[0]}]}"#;
    let graph = Graph::new(&ConvArchitecture::from_json(child).expect("sound"), 10).expect("sound");
    let plan = Plan::new(&graph, &Params::new(&graph), cuda, Options::new(2));
    let dataset = Dataset::synthetic(10, 10, 10, 1);
    let input = Input::of_images(&dataset, Augment::None, 1);
    let mut probe = Probe::new(cuda, &plan, Some(input), n_copies).expect("it fits");
    let lists: Vec<usize> = probe.launches().iter().map(Vec::len).collect();
    assert_eq!(lists.len(), plan.train.len());
    for (step, n_launches) in lists.into_iter().enumerate() {
        let name = plan.train[step].name();
        assert!(n_launches > 0, "{name} has no launch");
        for launches in (0..n_launches)
            .map(|i| i..i + 1)
            .chain(iter::once(0..n_launches))
        {
            let spent = probe.time(step, launches.clone(), 2);
            let spent = spent.unwrap_or_else(|e| panic!("{name} {launches:?}: {e}"));
            assert!(!spent.is_zero(), "{name} {launches:?} takes time");
        }
    }
}

fn host() -> Cuda {
    Cuda::new(Box::new(Host::new(kernels(), MODES[0], PROFILES[0])))
}

#[test]
fn host_runner_times_every_launch() {
    every_launch_can_be_timed(&host(), 1); // the streams of the host runner share no memory
}

fn of_controller(kernel: &str) -> bool {
    kernel.starts_with("policy_") || kernel == "adam_step"
}

/// What is shown to a sanitizer is every kernel of children; the controller's are not a plan's.
#[test]
fn the_smallest_cases_run_every_kernel() {
    let mut run = BTreeSet::new();
    for cuda in [
        host(),
        by_steps(Host::new(kernels(), MODES[0], PROFILES[0])),
    ] {
        let cases = smallest(&cuda);
        for case in &cases {
            let mut plan = case.plan(&cuda).plan;
            all_in_one(&mut plan);
            let probe = Probe::new(&cuda, &plan, None, 1).expect("a case is small");
            let launches = probe.launches().iter().flatten();
            run.extend(launches.map(|launch| launch.kernel.to_string()));
        }
        println!("{} cases", cases.len());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/budget.txt");
    let budget = fs::read_to_string(path).expect("kernels/budget.txt");
    let kernels = budget.lines().filter(|line| !line.starts_with(['#', ' ']));
    let kernels = kernels.filter_map(|line| line.split(' ').next()).skip(1);
    let missing: Vec<&str> = kernels
        .filter(|name| !run.contains(*name) && !of_controller(name))
        .collect();
    assert!(missing.is_empty(), "no case runs {missing:?}");
}
