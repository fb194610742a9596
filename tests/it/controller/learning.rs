//! What an update does: baseline, gradient of a batch, Adam, and learning a rigged reward.

use nas_engine::controller::rigged::{NOISE, Rigged, last_quarter_mean};
use nas_engine::controller::{Controller, ControllerConfig, Objective, Scored};
use nas_engine::space::Token;

use super::{lively, preset, space};

fn scored<'a>(tokens: &'a [Vec<Token>], rewards: &[f64]) -> Vec<Scored<'a>> {
    let pairs = tokens.iter().zip(rewards);
    pairs
        .map(|(tokens, &reward)| Scored { tokens, reward })
        .collect()
}

// paper P5.2
#[test]
fn baseline_is_the_first_batchs_mean_and_then_an_average() {
    let space = space(&preset("sample"));
    let config = ControllerConfig::default();
    let mut controller = Controller::new(space.clone(), &config, 20);
    let tokens: Vec<_> = (0..3).map(|sample| space.random(20, sample)).collect();
    assert_eq!(controller.learn(&[]), None);
    let first = controller
        .learn(&scored(&tokens, &[0.2, 0.3, 0.7]))
        .unwrap();
    assert!((first - 0.4).abs() < 1e-15, "{first}");
    // The first batch does not move it.
    let second = controller.learn(&scored(&tokens, &[1.0, 0.0])).unwrap();
    assert_eq!(second, first);
    assert_eq!(controller.learn(&[]), None);
    // 0.4 -> 0.43 -> 0.4085: once a sample, in their order.
    let third = controller.learn(&scored(&tokens, &[0.5])).unwrap();
    assert!((third - 0.4085).abs() < 1e-15, "{third}");
}

// paper P5.1
#[test]
fn gradient_of_a_batch_is_the_mean_of_credited_tokens() {
    let space = space(&preset("sample"));
    for entropy_bonus in [0.0, 0.3] {
        let config = ControllerConfig {
            entropy_bonus,
            ..ControllerConfig::default()
        };
        let controller = Controller::new(space.clone(), &config, 21);
        let tokens: Vec<_> = (0..4).map(|sample| space.random(21, sample)).collect();
        let rewards = [0.9, 0.1, 0.5, 0.2];
        let found = controller.gradient(&scored(&tokens, &rewards), 0.3);
        let mut expected = vec![0.0; found.len()];
        for (tokens, reward) in tokens.iter().zip(rewards) {
            let mut one = vec![0.0; found.len()];
            let objective = Objective {
                log_probability: 1.0,
                entropy: 0.0,
            };
            controller
                .policy()
                .add_gradient(tokens, objective, &mut one);
            let mut entropy = vec![0.0; found.len()];
            let objective = Objective {
                log_probability: 0.0,
                entropy: 1.0,
            };
            controller
                .policy()
                .add_gradient(tokens, objective, &mut entropy);
            for i in 0..found.len() {
                expected[i] += 0.25 * ((reward - 0.3) * one[i] + entropy_bonus * entropy[i]);
            }
        }
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() < 1e-13,
                "weight {i}: {found}, expected {expected}"
            );
        }
    }
}

/// Three updates against Adam written out a weight at a time.
// paper P4.5
#[test]
fn updates_ascend_by_adam() {
    let space = space(&preset("sample"));
    let config = ControllerConfig {
        learning_rate: 0.02,
        ..ControllerConfig::default()
    };
    let mut controller = Controller::new(space.clone(), &config, 22);
    let n = controller.policy().weights.len();
    let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
    let mut expected = controller.policy().weights.clone();
    for update in 1..=3 {
        let tokens: Vec<_> = (0..2).map(|sample| space.random(update, sample)).collect();
        let batch = scored(&tokens, &[0.1 * update as f64, 0.5]);
        let policy = controller.policy().clone();
        let baseline = controller.learn(&batch).unwrap();
        let mut gradient = vec![0.0; n];
        for scored in &batch {
            let objective = Objective {
                log_probability: (scored.reward - baseline) / batch.len() as f64,
                entropy: 0.0,
            };
            policy.add_gradient(scored.tokens, objective, &mut gradient);
        }
        let t = update as i32;
        for i in 0..n {
            m[i] = 0.9 * m[i] + 0.1 * gradient[i];
            v[i] = 0.999 * v[i] + 0.001 * gradient[i] * gradient[i];
            let (m_hat, v_hat) = (
                m[i] / (1.0 - 0.9f64.powi(t)),
                v[i] / (1.0 - 0.999f64.powi(t)),
            );
            expected[i] += 0.02 * m_hat / (v_hat.sqrt() + 1e-8);
            let found = controller.policy().weights[i];
            assert!(
                (found - expected[i]).abs() < 1e-12,
                "update {t}, weight {i}: {found}"
            );
        }
    }
}

#[test]
fn credit_raises_the_probability_of_what_was_recorded() {
    let space = space(&preset("v2"));
    for reward in [1.0, 0.0] {
        let mut controller = lively(&space, 12, 23);
        let tokens: Vec<_> = (0..2).map(|sample| controller.sample(sample)).collect();
        let before = controller.log_probability(&tokens[0]);
        controller.learn(&scored(&tokens, &[reward, 0.5]));
        let after = controller.log_probability(&tokens[0]);
        assert_eq!(
            after > before,
            reward > 0.5,
            "reward {reward}: {before} to {after}"
        );
    }
}

#[test]
fn the_same_history_gives_the_same_state() {
    let space = space(&preset("sample"));
    let run = |rewards: [f64; 3]| {
        let mut controller = Controller::new(space.clone(), &ControllerConfig::default(), 24);
        let mut states = vec![controller.sha256()];
        for (batch, reward) in rewards.into_iter().enumerate() {
            let tokens = [controller.sample(batch as u64)];
            controller.learn(&scored(&tokens, &[reward]));
            controller.learn(&[]);
            states.push(controller.sha256());
        }
        states
    };
    let states = run([0.1, 0.2, 0.3]);
    assert_eq!(states, run([0.1, 0.2, 0.3]));
    let other = run([0.1, 0.2, 0.4]);
    assert_eq!(states[..3], other[..3]);
    assert_ne!(states[3], other[3]);
    assert!(states.iter().all(|state| state.len() == 64));
    assert!((1..4).all(|i| states[i] != states[i - 1]), "{states:?}");
}

/// One token at a time leads to the planted architecture, whose reward is 1 but for the noise.
#[test]
fn a_rigged_reward_is_the_share_of_decisions_that_are_the_planted_ones() {
    let space = space(&preset("sample"));
    let problem = Rigged::new(&space, 3);
    let mut tokens = space.random(4, 0);
    let n = tokens.len();
    let step = 1.0 / n as f64;
    for place in 0..n {
        let with = |token: Token| {
            let mut other = tokens.clone();
            other[place] = token;
            problem.reward(0, &other)
        };
        let rewards: Vec<f64> = (0..8).map(with).collect();
        let (worst, best) = (0..8).fold((0, 0), |(worst, best), token| {
            let better = |a: usize, b: usize| rewards[a] > rewards[b];
            (
                if better(worst, token) { token } else { worst },
                if better(token, best) { token } else { best },
            )
        });
        for (token, reward) in rewards.iter().enumerate() {
            let expected = rewards[worst] + if token == best { step } else { 0.0 };
            assert!(
                (reward - expected).abs() < 1e-12,
                "token {token} at {place}"
            );
        }
        tokens[place] = best as Token;
    }
    // The mean of the noise and its deviation, give or take five of theirs.
    let samples = 4000;
    let noise: Vec<f64> = (0..samples)
        .map(|sample| problem.reward(sample, &tokens) - 1.0)
        .collect();
    let mean = noise.iter().sum::<f64>() / samples as f64;
    let deviation = (noise.iter().map(|x| x * x).sum::<f64>() / samples as f64).sqrt();
    assert!(mean.abs() < 5.0 * NOISE / (samples as f64).sqrt(), "{mean}");
    let bound = 5.0 * NOISE / (2.0 * samples as f64).sqrt();
    assert!((deviation - NOISE).abs() < bound, "{deviation}");
}

/// Both strategies on the rigged problem, whose last batch may be a small one.
#[test]
fn rigged_rewards_are_those_of_what_was_sampled() {
    let space = space(&preset("sample"));
    let config = ControllerConfig::preset("sample").unwrap();
    let problem = Rigged::new(&space, 5);
    let random = problem.random_rewards(10);
    let drawn = |sample| problem.reward(sample, &space.random(5, sample));
    assert_eq!(random, (0..10).map(drawn).collect::<Vec<_>>());

    let mut controller = Controller::new(space.clone(), &config, 5);
    let mut expected = vec![];
    for numbers in [0..4, 4..8, 8..10] {
        let tokens = controller.sample_batch(numbers.clone());
        let rewards: Vec<f64> = numbers
            .zip(&tokens)
            .map(|(sample, tokens)| problem.reward(sample, tokens))
            .collect();
        controller.learn(&scored(&tokens, &rewards));
        expected.extend(rewards);
    }
    assert_eq!(problem.policy_rewards(&config, 4, 10), expected);

    for n in 4..20 {
        let rewards: Vec<f64> = (0..n).map(f64::from).collect();
        let last = &rewards[(n - n / 4) as usize..];
        let mean = last.iter().sum::<f64>() / last.len() as f64;
        assert_eq!(last_quarter_mean(&rewards), mean, "of {n}");
    }
}

/// The short form of `examples/rigged.rs`, whose tables have 20 seeds.
#[test]
fn learns_a_rigged_reward() {
    let space = space(&preset("sample"));
    let config = ControllerConfig::preset("sample").unwrap();
    assert_eq!(config.learning_rate, 0.02);
    let cells = ControllerConfig::preset("ptb").unwrap();
    assert_eq!(cells.learning_rate, 0.0005, "paper P8.5");
    for seed in 0..3 {
        let problem = Rigged::new(&space, seed);
        let policy = last_quarter_mean(&problem.policy_rewards(&config, 8, 600));
        let random = last_quarter_mean(&problem.random_rewards(600));
        println!("seed {seed}: policy {policy:.3}, random {random:.3}");
        assert!(
            policy - random >= 0.15,
            "seed {seed}: policy {policy}, random {random}"
        );
    }
}
