//! The GPU half: the case tables, the child's training, the controller and the timing of launches on
//! the first GPU. Without one each test says that it did not run, and why, or fails if
//! `NAS_ENGINE_REQUIRE_CUDA` is set. Needs nothing but the test binary, so that it runs on a machine
//! without the sources.

use std::collections::HashSet;
use std::env;
use std::process::{Command, Output};

use crate::cases::{self, Case};
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::{Driver, Limits};
use nas_engine::device::cuda::gpu::Gpu;
use nas_engine::device::cuda::probe::Probe;
use nas_engine::graph::Plan;
use nas_engine::space::SpaceConfig;

use super::host::Limited;
use super::ops::{check_all, check_in};
use super::{policy, probe, resident, train};

/// Set and not empty: no GPU is a failure.
const REQUIRE: &str = "NAS_ENGINE_REQUIRE_CUDA";

/// The first GPU, or nothing once it was said why.
fn cuda(test: &str) -> Option<Cuda> {
    match Gpu::open(0) {
        Ok(gpu) => Some(Cuda::new(Box::new(gpu))),
        Err(reason) => {
            let required = env::var_os(REQUIRE).is_some_and(|value| !value.is_empty());
            assert!(!required, "{test}: no GPU, but {REQUIRE} is set: {reason}");
            println!("NOT RUN: {test} on a GPU: {reason}");
            None
        }
    }
}

/// Twice in one session and once in another.
fn check(cuda: &Cuda, cases: &[Case]) {
    check_all(cases, |case| check_in(case, [cuda, cuda].into_iter()));
}

#[test]
fn every_case() {
    if let Some(cuda) = cuda("every case") {
        check(&cuda, &cases::all());
    }
}

/// The cases that a sanitizer has the time for: the smallest that run every kernel between them.
#[test]
fn smallest_cases() {
    if let Some(cuda) = cuda("the smallest cases") {
        check(&cuda, &smallest(&cuda));
        let cuda = by_steps(Gpu::open(0).expect("it was opened before"));
        check(&cuda, &smallest(&cuda));
    }
}

/// The device without launches whose blocks wait for each other: with a launch a step instead.
pub fn by_steps(driver: impl Driver + 'static) -> Cuda {
    with_processors(driver, 0)
}

fn with_processors(driver: impl Driver + 'static, processors: usize) -> Cuda {
    let limits = Limits {
        processors,
        ..driver.limits()
    };
    Cuda::new(Box::new(Limited(driver, limits)))
}

/// A window in one launch has the bits of a launch a step, for any number of blocks.
#[test]
fn windows_have_the_bits_of_steps() {
    if cuda("windows in one launch").is_none() {
        return;
    }
    let gpu = || Gpu::open(0).expect("it was opened before");
    let all = gpu().limits().processors;
    let devices = [0, 1, 2, 7, all].map(|processors| with_processors(gpu(), processors));
    check_all(&resident::cases(), |case| check_in(case, devices.iter()));
}

/// From the smallest on, each case with a kernel that no case before it has.
pub fn smallest(cuda: &Cuda) -> Vec<Case> {
    let mut cases = cases::all();
    cases.sort_by_cached_key(|case| case.plan(cuda).plan.arena_bytes);
    let mut seen = HashSet::new();
    cases.retain(|case| {
        let mut plan = case.plan(cuda).plan;
        all_in_one(&mut plan);
        let probe = Probe::new(cuda, &plan, None, 1).expect("a case is small");
        let n_before = seen.len();
        seen.extend(
            probe
                .launches()
                .iter()
                .flatten()
                .map(|launch| launch.kernel),
        );
        seen.len() > n_before
    });
    cases
}

/// Makes every step of a case one of the list that a probe looks at.
pub fn all_in_one(plan: &mut Plan) {
    plan.train.append(&mut plan.prepare);
    plan.train.append(&mut plan.evaluate);
}

#[test]
fn a_child_trains_as_on_the_cpu() {
    if let Some(cuda) = cuda("a child's training") {
        train::losses_are_those_of_the_cpu(&cuda);
        train::language_models_are_those_of_the_cpu(&cuda);
    }
}

#[test]
fn the_controller_is_that_of_the_host() {
    if let Some(cuda) = cuda("the controller") {
        controller(&cuda, &policy::spaces());
    }
}

/// That of one space, for a sanitizer; it runs every kernel of the controller.
#[test]
fn smallest_controller() {
    if let Some(cuda) = cuda("the smallest controller") {
        let spaces = policy::spaces();
        let smallest = spaces
            .into_iter()
            .find(|(name, ..)| *name == "without anchors");
        controller(&cuda, &[smallest.expect("there is one")]);
    }
}

fn controller(cuda: &Cuda, spaces: &[(&'static str, SpaceConfig, usize)]) {
    for (name, config, hidden) in spaces {
        policy::samples_are_those_of_the_host(name, config, *hidden, cuda);
        let gradient = |capacity: usize| {
            let found = policy::gradient(name, config, *hidden, capacity, cuda);
            found.unwrap_or_else(|wrong| panic!("{wrong}"))
        };
        let first = gradient(2);
        assert_eq!(first, gradient(2), "{name}: the same bits twice");
        assert_eq!(first, gradient(3), "{name}: all in one launch");
    }
    policy::updates_are_those_of_the_host(cuda);
}

#[test]
fn every_launch_can_be_timed() {
    if let Some(cuda) = cuda("timing of launches") {
        probe::every_launch_can_be_timed(&cuda, 2);
    }
}

/// A test of this file in a process of its own that no GPU is shown to.
fn without_a_gpu(required: &str) -> (bool, String) {
    let mut command = Command::new(env::current_exe().expect("this test"));
    command.args(["--exact", "cuda::gpu::smallest_cases", "--nocapture"]);
    command
        .env("CUDA_VISIBLE_DEVICES", "")
        .env(REQUIRE, required);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    let text = [stdout, stderr].concat();
    (
        status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn no_gpu_is_said_and_fails_where_one_is_required() {
    let (passed, said) = without_a_gpu("");
    let line = said.lines().find(|line| line.contains("NOT RUN: "));
    assert!(passed && line.is_some_and(|line| line.len() > 60), "{said}");
    let (passed, said) = without_a_gpu("1");
    assert!(
        !passed && said.contains("no GPU, but NAS_ENGINE_REQUIRE_CUDA is set: "),
        "{said}"
    );
    assert!(!said.contains("NOT RUN"), "{said}");
}
