//! Prints how far the policy gets beyond random draws on the rigged problem of the `sample` space:
//! `cargo run --release --example rigged`.

use nas_engine::controller::ControllerConfig;
use nas_engine::controller::rigged::{Rigged, last_quarter_mean};
use nas_engine::space::{ConvSpace, SpaceConfig};
use rayon::prelude::*;

const SEEDS: u64 = 20;
/// Children of a batch, as in the `sample` preset.
const M: u64 = 8;

fn main() {
    let config = SpaceConfig::preset("sample").expect("it is a preset");
    let space = ConvSpace::new(&config).expect("a preset is sound");
    for (learning_rate, samples) in [(0.02, 600), (0.0006, 2000)] {
        let config = ControllerConfig {
            learning_rate,
            ..ControllerConfig::default()
        };
        let run = |seed| {
            let problem = Rigged::new(&space, seed);
            let policy = last_quarter_mean(&problem.policy_rewards(&config, M, samples));
            let random = last_quarter_mean(&problem.random_rewards(samples));
            (policy, random)
        };
        let means: Vec<(f64, f64)> = (0..SEEDS).into_par_iter().map(run).collect();
        println!("\nController's learning rate {learning_rate}, {samples} samples, m = {M}:\n");
        println!("| seed | policy | random | difference |\n|---|---|---|---|");
        for (seed, (policy, random)) in means.iter().enumerate() {
            println!(
                "| {seed} | {policy:.3} | {random:.3} | {:.3} |",
                policy - random
            );
        }
        let differences: Vec<f64> = means
            .iter()
            .map(|(policy, random)| policy - random)
            .collect();
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let squares = differences.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let smallest = differences.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = differences
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        println!(
            "\nDifference over {n} seeds: mean {mean:.3}, deviation {:.3}, smallest {smallest:.3}, \
             largest {largest:.3}.",
            (squares / (n - 1.0)).sqrt()
        );
    }
}
