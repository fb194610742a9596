//! Prints how far the policy gets beyond random draws on the rigged problem of the `sample` space:
//! `cargo run --release --example rigged [FIRST_SEED]`.

use nas_engine::controller::ControllerConfig;
use nas_engine::controller::rigged::{NOISE, Rigged, last_quarter_mean};
use nas_engine::space::{ConvSpaceConfig, Space};
use rayon::prelude::*;

/// Seeds of a table.
const SEEDS: u64 = 20;
/// Children of a batch, as in the `sample` preset.
const M: u64 = 8;

fn main() {
    let first = std::env::args()
        .nth(1)
        .map_or(0, |seed| seed.parse().expect("a seed is a number"));
    let config = ConvSpaceConfig::preset("sample").expect("it is a preset");
    let space = Space::new(&config.into()).expect("a preset is sound");
    let sample = ControllerConfig::preset("sample").expect("it is a preset");
    let paper = ControllerConfig::default();
    let between = ControllerConfig {
        learning_rate: sample.learning_rate,
        ..paper.clone()
    };
    for (title, config, samples) in [
        ("The `sample` preset's controller", sample, 600),
        ("The paper's controller", paper, 2000),
        (
            "The `sample` preset's learning rate from the paper's initial weights",
            between,
            600,
        ),
    ] {
        let run = |seed| {
            let problem = Rigged::new(&space, seed);
            let policy = last_quarter_mean(&problem.policy_rewards(&config, M, samples));
            let random = last_quarter_mean(&problem.random_rewards(samples));
            (policy, random)
        };
        let (rate, range) = (config.learning_rate, config.init_range);
        println!("## {title}\n");
        println!("Learning rate {rate}, initial weights within ±{range}, m = {M}, noise {NOISE};");
        println!("mean reward of the last quarter of {samples} samples:\n");
        let means: Vec<_> = (first..first + SEEDS).into_par_iter().map(run).collect();
        print(first, &means);
    }
}

/// A table of (policy, random) by seed from `first`, and the spread of their difference.
fn print(first: u64, means: &[(f64, f64)]) {
    println!("| seed | policy | random | difference |\n|---|---|---|---|");
    for (seed, (policy, random)) in (first..).zip(means) {
        println!(
            "| {seed} | {policy:.3} | {random:.3} | {:.3} |",
            policy - random
        );
    }
    let mut differences: Vec<f64> = means
        .iter()
        .map(|(policy, random)| policy - random)
        .collect();
    differences.sort_by(f64::total_cmp);
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let squares = differences.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (n - 1.0)).sqrt();
    let (smallest, largest) = (differences[0], differences[differences.len() - 1]);
    println!("\nDifference over {n} seeds: mean {mean:.3}, deviation {deviation:.3},");
    println!("smallest {smallest:.3}, largest {largest:.3}.\n");
}
