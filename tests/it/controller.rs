//! The controller: an exact gradient, the paper's policy, and learning from a rigged reward.

mod learning;
mod oracle;

use nas_engine::controller::{Controller, ControllerConfig, Objective, Policy};
use nas_engine::space::cell::{Activation, Combination};
use nas_engine::space::{CellSpaceConfig, ConvSpaceConfig, Decision, Space, SpaceConfig, Token};

use crate::space::cell;
use crate::space::size::enumerate;

pub fn space(config: &(impl Into<SpaceConfig> + Clone)) -> Space {
    Space::new(&config.clone().into()).unwrap()
}

pub fn preset(name: &str) -> ConvSpaceConfig {
    ConvSpaceConfig::preset(name).unwrap()
}

/// The paper's cells, of any base.
pub fn cells(base: usize) -> SpaceConfig {
    cell::config(base).into()
}

/// A controller far from uniform, so that nothing is small by accident.
pub fn lively(space: &Space, hidden: usize, seed: u64) -> Controller<'static> {
    let config = ControllerConfig {
        hidden,
        init_range: 0.7,
        ..ControllerConfig::default()
    };
    Controller::new(space.clone(), &config, seed)
}

fn objective_at(policy: &Policy, tokens: &[Token], objective: Objective) -> f64 {
    let (log_probability, entropy) = policy.evaluate(tokens);
    objective.log_probability * log_probability + objective.entropy * entropy
}

/// The derivative to one weight by five points: an error of order step^4.
fn difference(policy: &mut Policy, weight: usize, f: impl Fn(&Policy) -> f64) -> f64 {
    let (step, at) = (1e-3, policy.weights[weight]);
    let mut f_at = |offset: f64| {
        policy.weights[weight] = at + offset * step;
        f(policy)
    };
    let slope = (8.0 * (f_at(1.0) - f_at(-1.0)) - (f_at(2.0) - f_at(-2.0))) / (12.0 * step);
    policy.weights[weight] = at;
    slope
}

/// Every weight of every tensor, for all kinds of space, both parts of the objective.
// paper P2.2, P2.3
#[test]
fn gradient_of_recorded_tokens_is_exact() {
    let everything = ConvSpaceConfig {
        predict_layer_type: true,
        predict_learning_rate: true,
        depth_every: 1,
        max_depth: 8,
        ..preset("v2")
    };
    let cases: [(&str, SpaceConfig, u64); 7] = [
        ("sample", preset("sample").into(), 3),
        (
            "sample without anchors",
            ConvSpaceConfig {
                anchors: false,
                ..preset("sample")
            }
            .into(),
            2,
        ),
        ("v1", preset("v1").into(), 2),
        ("types, rates, strides, two depths", everything.into(), 3),
        ("v3", preset("v3").into(), 1),
        ("cells of base 2", cells(2), 3),
        ("cells of base 8", cells(8), 2),
    ];
    let objectives = [
        Objective {
            log_probability: 1.0,
            entropy: 0.0,
        },
        Objective {
            log_probability: 0.0,
            entropy: 1.0,
        },
        Objective {
            log_probability: -0.3,
            entropy: 0.2,
        },
    ];
    for (name, config, n_samples) in cases {
        let space = space(&config);
        let mut policy = lively(&space, 4, 11).policy().clone();
        let drawn: Vec<_> = (0..n_samples)
            .map(|sample| space.random(12, sample))
            .collect();
        let sum = |policy: &Policy, objective| -> f64 {
            drawn
                .iter()
                .map(|tokens| objective_at(policy, tokens, objective))
                .sum()
        };
        for objective in objectives {
            let mut gradient = vec![0.0; policy.weights.len()];
            drawn
                .iter()
                .for_each(|tokens| policy.add_gradient(tokens, objective, &mut gradient));
            for (tensor, range) in policy.tensors().to_vec() {
                let context = format!("{name}, {objective:?}, {tensor}");
                let slopes: Vec<f64> = range
                    .clone()
                    .map(|weight| difference(&mut policy, weight, |policy| sum(policy, objective)))
                    .collect();
                let scale = slopes
                    .iter()
                    .fold(0.0, |max: f64, slope| max.max(slope.abs()));
                // Nothing follows the last token of a cell.
                let unused = tensor == "inject_into.embedding"
                    || tensor.starts_with("anchor") && !space.decisions().has_anchors;
                assert_eq!(
                    scale < 1e-9,
                    unused,
                    "{context}: the largest slope is {scale}"
                );
                for (slope, exact) in slopes.iter().zip(&gradient[range]) {
                    let error = (slope - exact).abs();
                    assert!(
                        error <= 1e-6 * scale,
                        "{context}: {exact}, differences {slope}"
                    );
                }
            }
        }
    }
}

/// At the paper's width, along directions that move every weight of a tensor.
#[test]
fn gradient_is_exact_at_full_width() {
    let space = space(&preset("sample"));
    let policy = Controller::new(space.clone(), &ControllerConfig::default(), 13)
        .policy()
        .clone();
    let tokens = space.random(14, 0);
    let objective = Objective {
        log_probability: 1.0,
        entropy: 0.5,
    };
    let mut gradient = vec![0.0; policy.weights.len()];
    policy.add_gradient(&tokens, objective, &mut gradient);
    for (tensor, range) in policy.tensors() {
        // Along the gradient itself, where the slope is its square norm.
        let along = &gradient[range.clone()];
        let squares: f64 = along.iter().map(|x| x * x).sum();
        let f_at = |offset: f64| {
            let mut moved = policy.clone();
            let weights = &mut moved.weights[range.clone()];
            weights
                .iter_mut()
                .zip(along)
                .for_each(|(w, x)| *w += offset * x / squares.sqrt());
            objective_at(&moved, &tokens, objective)
        };
        let step = 1e-2;
        let slope = (8.0 * (f_at(step) - f_at(-step)) - (f_at(2.0 * step) - f_at(-2.0 * step)))
            / (12.0 * step);
        let relative = (slope / squares.sqrt() - 1.0).abs();
        assert!(
            relative < 1e-6,
            "{tensor}: {slope} by differences, {}",
            squares.sqrt()
        );
    }
}

fn tiny() -> ConvSpaceConfig {
    ConvSpaceConfig {
        filter_heights: vec![1, 3],
        filter_widths: vec![3],
        filters: vec![8, 16, 24],
        pool_windows: vec![2],
        pool_strides: vec![2, 3],
        ..preset("sample")
    }
}

#[test]
fn probabilities_of_all_architectures_sum_to_one() {
    let configs: [SpaceConfig; 4] = [
        tiny().into(),
        ConvSpaceConfig {
            predict_layer_type: true,
            predict_learning_rate: true,
            ..tiny()
        }
        .into(),
        ConvSpaceConfig {
            anchors: false,
            first_stride: None,
            ..tiny()
        }
        .into(),
        CellSpaceConfig {
            combinations: vec![Combination::Max, Combination::Add],
            activations: vec![Activation::Sin],
            ..cell::config(2)
        }
        .into(),
    ];
    for config in configs {
        let space = space(&config);
        let controller = lively(&space, 5, 15);
        let all = enumerate(space.decisions(), 2);
        let sum: f64 = all
            .iter()
            .map(|tokens| controller.log_probability(tokens).exp())
            .sum();
        assert!(
            (sum - 1.0).abs() < 1e-12,
            "{sum} over {} architectures: {config:?}",
            all.len()
        );
    }
}

/// Pearson's statistic of 40,000 samples lies within five deviations of its mean.
// paper P2.3, P4.3
#[test]
fn samples_come_as_often_as_their_probability_says() {
    let space = space(&ConvSpaceConfig {
        depth: 2,
        max_depth: 2,
        ..tiny()
    });
    let controller = lively(&space, 5, 16);
    let all = enumerate(space.decisions(), 2);
    let mut counts = vec![0.0; all.len()];
    let n = 40_000;
    for sample in 0..n {
        let tokens = controller.sample(sample);
        counts[all.iter().position(|other| *other == tokens).unwrap()] += 1.0;
    }
    let (mut statistic, mut cells) = (0.0, 0.0);
    let mut rest = (0.0, 0.0); // architectures too rare for a cell of their own
    for (tokens, count) in all.iter().zip(counts) {
        let expected = controller.log_probability(tokens).exp() * n as f64;
        if expected < 10.0 {
            rest = (rest.0 + expected, rest.1 + count);
        } else {
            statistic += (count - expected).powi(2) / expected;
            cells += 1.0;
        }
    }
    if rest.0 > 0.0 {
        statistic += (rest.1 - rest.0).powi(2) / rest.0;
        cells += 1.0;
    }
    let freedom: f64 = cells - 1.0;
    let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(
        cells > 100.0 && statistic < bound,
        "{statistic} with {cells} cells, bound {bound}"
    );
}

// paper P1.5, P5.4
#[test]
fn samples_are_addressed_and_follow_the_schedule() {
    let space = space(&preset("v1"));
    let controller = Controller::new(space.clone(), &ControllerConfig::default(), 17);
    let first = controller.sample(3);
    controller.sample(4);
    assert_eq!(controller.sample(3), first);
    assert_ne!(
        Controller::new(space.clone(), &ControllerConfig::default(), 18).sample(3),
        first
    );
    for (sample, layers) in [(0, 6), (1599, 6), (1600, 8), (12_799, 20)] {
        let tokens = controller.sample(sample);
        let network = space.decode(&tokens).unwrap().into_conv().unwrap();
        assert_eq!(network.layers.len(), layers, "sample {sample}");
        assert!(controller.log_probability(&tokens) < 0.0);
    }
    let mut walk = space.decisions().walk(6);
    assert_eq!(walk.decision(), Some(Decision::Choice { kind: 0 }));
    (0..3).for_each(|_| walk.take(&[0]));
    assert_eq!(walk.decision(), Some(Decision::Anchor { n_candidates: 0 }));
}

// paper P4.4
#[test]
fn initial_weights_are_uniform_within_the_papers_range() {
    let config = ControllerConfig::preset("v1").unwrap();
    let controller = Controller::new(space(&preset("v1")), &config, 19);
    let weights = &controller.policy().weights;
    let mut quarters = [0.0; 4];
    for weight in weights {
        assert!(weight.abs() <= 0.08, "{weight}");
        quarters[((weight + 0.08) / 0.04).min(3.0) as usize] += 1.0;
    }
    // A quarter of the weights in each quarter of the range, give or take five deviations.
    let n = weights.len() as f64;
    let bound = 5.0 * (n * 0.25 * 0.75).sqrt();
    assert!(
        quarters.iter().all(|count| (count - n / 4.0).abs() < bound),
        "{quarters:?} of {n}"
    );
}

#[test]
fn settings_that_break_a_rule_are_named() {
    let good = ControllerConfig::default();
    good.check().unwrap();
    ControllerConfig {
        learning_rate: 0.0,
        baseline_decay: 0.0,
        ..good.clone()
    }
    .check()
    .unwrap();
    let cases = [
        (
            "learning_rate",
            ControllerConfig {
                learning_rate: -0.1,
                ..good.clone()
            },
        ),
        (
            "learning_rate",
            ControllerConfig {
                learning_rate: f64::INFINITY,
                ..good.clone()
            },
        ),
        (
            "baseline_decay",
            ControllerConfig {
                baseline_decay: 1.0,
                ..good.clone()
            },
        ),
        (
            "entropy_bonus",
            ControllerConfig {
                entropy_bonus: f64::NAN,
                ..good.clone()
            },
        ),
        (
            "hidden",
            ControllerConfig {
                hidden: 0,
                ..good.clone()
            },
        ),
        (
            "hidden",
            ControllerConfig {
                hidden: 5000,
                ..good.clone()
            },
        ),
        (
            "init_range",
            ControllerConfig {
                init_range: -1.0,
                ..good
            },
        ),
    ];
    for (key, config) in cases {
        assert_eq!(config.check().unwrap_err().key, key);
    }
}
