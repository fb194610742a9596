//! How large a space is, and what its networks cost.

use nas_engine::space::{ConvSpace, ConvSpaceConfig, Decision, Decisions, LayerType, Token};

use super::preset;
use crate::examples::cost;

#[test]
fn sample_preset_costs_one_to_two_million_multiply_adds() {
    let space = ConvSpace::new(&preset("sample")).unwrap();
    for seed in 0..3 {
        let costs =
            (0..1000).map(|s| cost(&space.decode(&space.random(seed, s)).unwrap()).multiply_adds);
        let mean = costs.sum::<usize>() as f64 / 1000.0;
        println!("seed {seed}: {mean:.0} multiply-adds an image in the mean of 1,000 draws");
        assert!((1e6..2e6).contains(&mean), "seed {seed}: {mean}");
    }
}

/// Every sequence of tokens of a tiny space, by walking all branches.
pub fn enumerate(decisions: &Decisions, depth: usize) -> Vec<Vec<Token>> {
    let mut whole = Vec::new();
    let mut open = vec![(decisions.walk(depth), Vec::new())];
    while let Some((walk, tokens)) = open.pop() {
        let answers: Vec<Vec<Token>> = match walk.decision() {
            None => {
                whole.push(tokens);
                continue;
            }
            Some(Decision::Choice { kind }) => (0..decisions.kinds[kind].n_choices as Token)
                .map(|choice| vec![choice])
                .collect(),
            Some(Decision::Anchor { n_candidates: n }) => (0..1u32 << n)
                .map(|set| (0..n).map(|i| set >> i & 1).collect())
                .collect(),
        };
        for answer in answers {
            let mut next = walk.clone();
            next.take(&answer);
            open.push((next, [tokens.as_slice(), &answer].concat()));
        }
    }
    whole
}

#[test]
fn size_counts_every_sequence_and_each_is_another_architecture() {
    let tiny = ConvSpaceConfig {
        filter_heights: vec![1, 3],
        filter_widths: vec![3],
        filters: vec![8, 16],
        pool_windows: vec![2],
        layer_types: vec![LayerType::Conv, LayerType::AvgPool, LayerType::Lcn],
        learning_rates: vec![0.1, 0.2],
        ..preset("sample")
    };
    let configs = [
        tiny.clone(),
        ConvSpaceConfig {
            first_stride: None,
            strides: vec![1, 2, 3],
            ..tiny.clone()
        },
        ConvSpaceConfig {
            predict_layer_type: true,
            ..tiny.clone()
        },
        ConvSpaceConfig {
            predict_learning_rate: true,
            anchors: false,
            ..tiny.clone()
        },
        ConvSpaceConfig {
            blocks: true,
            strides: vec![1],
            first_stride: None,
            ..tiny
        },
    ];
    for config in configs {
        let space = ConvSpace::new(&config).unwrap();
        for depth in 1..=3 {
            let all = enumerate(space.decisions(), depth);
            let size = 10f64.powf(space.log10_size(depth));
            assert!(
                (size / all.len() as f64 - 1.0).abs() < 1e-9,
                "{size}, {}",
                all.len()
            );
            let mut jsons: Vec<_> = all
                .iter()
                .map(|tokens| space.decode(tokens).unwrap().to_json())
                .collect();
            jsons.sort();
            jsons.dedup();
            assert_eq!(jsons.len(), all.len(), "{config:?}, depth {depth}");
        }
    }
    // 15 layers of v1: (4 * 4 * 4)^15 and 105 bits.
    let v1 = ConvSpace::new(&preset("v1")).unwrap().log10_size(15);
    assert!((v1 - (90.0 + 105.0) * 2f64.log10()).abs() < 1e-9, "{v1}");
}
