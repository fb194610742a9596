//! The controller's kernels against the controller of the host: what is sampled, its probability,
//! the gradient, and what Adam makes of it. Here by the host runner; on a GPU by `gpu.rs`.

use nas_engine::controller::{Controller, ControllerConfig, Objective, Policy, Scored};
use nas_engine::device::cuda::Cuda;
use nas_engine::device::policy::{Learned, Replay};
use nas_engine::device::{Device, PolicySession};
use nas_engine::space::{ConvSpaceConfig, SpaceConfig};

use super::faults::{self, Fault};
use super::host::{Host, MODES, PROFILES, kernels};
use crate::controller::{cells, lively, preset, space};

const SEED: u64 = 31;

/// The host sums in another order: some rounding of numbers of about 1.
const BOUND: f64 = 1e-12;
/// Where a gradient is far below Adam's epsilon of 1e-8, a step of 0.02 makes 2e6 of its rounding.
const UPDATE_BOUND: f64 = 1e-9;

fn cuda(mode: usize) -> Cuda {
    Cuda::new(Box::new(Host::new(kernels(), MODES[mode], PROFILES[0])))
}

/// All that a space can have, and the least; name, settings, units of a layer.
pub fn spaces() -> [(&'static str, SpaceConfig, usize); 7] {
    let everything = ConvSpaceConfig {
        predict_layer_type: true,
        predict_learning_rate: true,
        depth: 2,
        depth_every: 1,
        max_depth: 5,
        ..preset("v2")
    };
    let without_anchors = ConvSpaceConfig {
        anchors: false,
        ..preset("sample")
    };
    let one_layer = ConvSpaceConfig {
        depth: 1,
        max_depth: 1,
        ..preset("sample")
    };
    [
        ("sample", preset("sample").into(), 35),
        ("types, rates, strides, depths", everything.into(), 9),
        ("without anchors", without_anchors.into(), 4),
        ("one layer", one_layer.into(), 40),
        ("v1, deepest", v1_at_its_deepest().into(), 3),
        ("cells of base 2", cells(2), 5),
        ("cells of base 8", cells(8), 7),
    ]
}

fn v1_at_its_deepest() -> ConvSpaceConfig {
    let v1 = preset("v1");
    ConvSpaceConfig {
        depth: v1.max_depth,
        ..v1
    }
}

fn open<'a>(cuda: &'a Cuda, policy: &Policy, capacity: usize) -> Box<dyn PolicySession + 'a> {
    let opened = cuda.policy(&policy.on_device(), capacity);
    let mut opened = opened.expect("opens").expect("fits");
    let zeros = vec![0.0; policy.weights.len()];
    let learned = Learned {
        weights: policy.weights.clone(),
        mean: zeros.clone(),
        square: zeros,
    };
    opened.write(&learned).expect("writes");
    opened
}

fn close(found: &[f64], expected: &[f64], bound: f64, what: &str) -> Result<(), String> {
    let scale = expected.iter().fold(1.0, |max: f64, x| max.max(x.abs()));
    let near = |found: f64, expected: f64| (found - expected).abs() <= bound * scale;
    let mut pairs = found.iter().zip(expected);
    let apart = pairs.position(|(&found, &expected)| !near(found, expected));
    match apart {
        _ if found.len() != expected.len() => Err(format!("{what}: {} values", found.len())),
        Some(i) => Err(format!(
            "{what}, {i}: {}, expected {}",
            found[i], expected[i]
        )),
        None => Ok(()),
    }
}

fn assert_close(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    close(found, expected, bound, what).unwrap_or_else(|apart| panic!("{apart}"));
}

/// The gradient of some architectures of a space by a device, if it is that of the host.
///
/// # Errors
/// What the device said, or where it differs.
pub fn gradient(
    name: &str,
    config: &SpaceConfig,
    hidden: usize,
    capacity: usize,
    cuda: &Cuda,
) -> Result<Vec<f64>, String> {
    let space = space(config);
    let policy = lively(&space, hidden, SEED).policy().clone();
    let drawn: Vec<_> = (0..3).map(|sample| space.random(SEED, sample)).collect();
    // Both parts of the objective, alone and together.
    let weights = [(1.0, 0.0), (0.0, 1.0), (-0.3, 0.2)];
    let mut expected = vec![0.0; policy.weights.len()];
    let mut batch = Vec::new();
    for (tokens, (log_probability, entropy)) in drawn.iter().zip(weights) {
        let objective = Objective {
            log_probability,
            entropy,
        };
        policy.add_gradient(tokens, objective, &mut expected);
        batch.push(Replay {
            tokens,
            depth: space.decisions().depth_of_tokens(tokens),
            log_probability,
            entropy,
        });
    }
    let mut on_device = open(cuda, &policy, capacity);
    let done = on_device.gradient(&batch).map_err(|e| e.to_string());
    done.map_err(|e| format!("{name}: {e}"))?;
    let found = on_device.read_gradient().map_err(|e| e.to_string())?;
    close(&found, &expected, BOUND, name)?;
    Ok(found)
}

/// Everything that the controller does on a device, once in every space.
pub fn sample_and_learn(cuda: &Cuda) {
    for (name, config, hidden) in spaces() {
        let done = gradient(name, &config, hidden, 2, cuda);
        done.unwrap_or_else(|wrong| panic!("{wrong}"));
        let own = ControllerConfig {
            hidden,
            ..ControllerConfig::preset("sample").expect("a preset")
        };
        let mut controller = Controller::new(space(&config), &own, SEED).on(cuda, 3);
        let tokens = controller.sample_batch(0..3);
        let rewards = [0.1, 0.5, 0.9].into_iter().zip(&tokens);
        let batch: Vec<Scored> = rewards
            .map(|(reward, tokens)| Scored { tokens, reward })
            .collect();
        controller.learn(&batch);
        assert!(controller.is_on_device(), "{name}: nothing failed");
    }
}

/// The same architectures with the same probabilities, whatever fits into a launch.
pub fn samples_are_those_of_the_host(name: &str, config: &SpaceConfig, hidden: usize, cuda: &Cuda) {
    let space = space(config);
    let controller = lively(&space, hidden, SEED);
    let mut on_device = open(cuda, controller.policy(), 3);
    let numbers: Vec<(u64, usize)> = (0..7).map(|s| (s, space.depth(s))).collect();
    let walked = on_device.sample(SEED, &numbers).expect("walks");
    for ((number, _), walked) in numbers.iter().zip(&walked) {
        let tokens = controller.sample(*number);
        assert_eq!(walked.tokens, tokens, "{name}, sample {number}");
        let (log_probability, entropy) = controller.policy().evaluate(&tokens);
        assert_close(
            &[walked.log_probability, walked.entropy],
            &[log_probability, entropy],
            BOUND,
            &format!("{name}, sample {number}"),
        );
    }
}

#[test]
fn host_runner_samples_as_the_host() {
    for (name, config, hidden) in spaces() {
        samples_are_those_of_the_host(name, &config, hidden, &cuda(0));
    }
}

/// Every weight, any number of architectures of several depths, the same bits in every order.
#[test]
fn gradient_is_that_of_the_host() {
    for (name, config, hidden) in spaces() {
        let by = |mode: usize, capacity: usize| {
            let found = gradient(name, &config, hidden, capacity, &cuda(mode));
            found.unwrap_or_else(|wrong| panic!("{wrong}"))
        };
        let first = by(0, 2);
        for mode in 1..MODES.len() {
            assert_eq!(first, by(mode, 2), "{name}, mode {mode}");
        }
        assert_eq!(first, by(0, 3), "{name}: all in one launch");
    }
}

/// Three updates through `Controller`: what it would have become on the host.
pub fn updates_are_those_of_the_host(cuda: &Cuda) {
    let space = space(&preset("sample"));
    let config = ControllerConfig {
        hidden: 8,
        entropy_bonus: 0.01,
        ..ControllerConfig::preset("sample").expect("a preset")
    };
    let mut host = Controller::new(space.clone(), &config, SEED);
    let mut device = Controller::new(space.clone(), &config, SEED).on(cuda, 4);
    assert!(device.is_on_device());
    for update in 0..3 {
        let numbers = 4 * update..4 * update + 4;
        let tokens = host.sample_batch(numbers.clone());
        assert_eq!(device.sample_batch(numbers), tokens, "update {update}");
        let rewards = tokens.iter().map(|tokens| f64::from(tokens[0]) / 4.0);
        let batch: Vec<Scored> = rewards
            .zip(&tokens)
            .map(|(reward, tokens)| Scored { tokens, reward })
            .collect();
        assert_eq!(host.learn(&batch), device.learn(&batch), "the baseline");
        assert_close(
            &device.policy().weights,
            &host.policy().weights,
            UPDATE_BOUND,
            &format!("weights after update {update}"),
        );
    }
    assert!(device.is_on_device(), "nothing failed on the way");
}

#[test]
fn host_runner_learns_as_the_host() {
    updates_are_those_of_the_host(&cuda(2));
}

/// A device that is lost, at whatever launch, leaves the controller as if it had never been there.
#[test]
fn the_host_goes_on_where_the_device_is_lost() {
    let space = space(&preset("sample"));
    let config = ControllerConfig {
        hidden: 4,
        ..ControllerConfig::preset("sample").expect("a preset")
    };
    let decisions = |mut controller: Controller| {
        let mut all = vec![];
        for update in 0..2 {
            let tokens = controller.sample_batch(2 * update..2 * update + 2);
            let batch: Vec<Scored> = [0.25, 0.75]
                .into_iter()
                .zip(&tokens)
                .map(|(reward, tokens)| Scored { tokens, reward })
                .collect();
            controller.learn(&batch);
            all.extend(tokens);
        }
        (
            all,
            controller.policy().weights.clone(),
            controller.is_on_device(),
        )
    };
    let (expected, weights, _) = decisions(Controller::new(space.clone(), &config, SEED));
    // Sampling is one launch, an update is four.
    for launch in 1..=11 {
        let (cuda, _seen) = faults::gpu(0, Fault::LoseAt(launch));
        let controller = Controller::new(space.clone(), &config, SEED).on(&cuda, 2);
        assert!(controller.is_on_device(), "launch {launch}");
        let (tokens, found, on_device) = decisions(controller);
        assert_eq!(on_device, launch > 10, "launch {launch}");
        assert_eq!(tokens, expected, "launch {launch}");
        assert_close(
            &found,
            &weights,
            UPDATE_BOUND,
            &format!("lost at launch {launch}"),
        );
    }
}
