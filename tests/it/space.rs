//! The search space: tokens to architectures and back.

pub mod cell;
mod json;
mod refusals;
pub mod size;

use nas_engine::space::{ConvArchitecture, ConvSpace, ConvSpaceConfig, Decision, LayerOp, Token};

pub fn preset(name: &str) -> ConvSpaceConfig {
    ConvSpaceConfig::preset(name).unwrap()
}

/// Every preset, and each switch.
pub fn spaces() -> Vec<(&'static str, ConvSpace)> {
    let configs = [
        ("v1", preset("v1")),
        ("v2", preset("v2")),
        ("v3", preset("v3")),
        ("sample", preset("sample")),
        (
            "no anchors",
            ConvSpaceConfig {
                anchors: false,
                ..preset("v2")
            },
        ),
        (
            "v3 without anchors",
            ConvSpaceConfig {
                anchors: false,
                ..preset("v3")
            },
        ),
        (
            "types",
            ConvSpaceConfig {
                predict_layer_type: true,
                ..preset("sample")
            },
        ),
        (
            "everything",
            ConvSpaceConfig {
                predict_layer_type: true,
                predict_learning_rate: true,
                depth: 1,
                depth_step: 3,
                depth_every: 2,
                ..preset("v2")
            },
        ),
        (
            "v3 and rates",
            ConvSpaceConfig {
                predict_learning_rate: true,
                ..preset("v3")
            },
        ),
    ];
    configs
        .map(|(name, config)| (name, ConvSpace::new(&config).unwrap()))
        .into()
}

/// Tokens that hold a conv's choices and bits, with the canonical layers they stand for, by hand.
// paper P1.1, P1.2, P1.3, P1.6, P2.5, P3.1, P3.6, P3.7
#[test]
fn tokens_mean_what_the_format_says() {
    let types = ConvSpaceConfig {
        predict_layer_type: true,
        predict_learning_rate: true,
        ..preset("v2")
    };
    let cases: [(ConvSpaceConfig, &[Token], &str, &str); 4] = [
        (
            preset("sample"),
            &[
                0, 1, 2, /**/ 2, 2, 0, 1, 3, 1, /**/ 1, 0, 1, 0, 0, 0, 0,
            ],
            r#"{"filter":[1,3],"filters":16,"stride":[2,2],"inputs":[0]},
               {"filter":[5,5],"filters":24,"stride":[1,2],"inputs":[1]},
               {"filter":[3,1],"filters":8,"stride":[2,1],"inputs":[0]}"#,
            "",
        ),
        (
            preset("v1"),
            &[
                0, 3, 0, /**/ 1, 2, 3, 1, /**/ 3, 3, 1, 0, 1, /**/ 0, 0, 2, 1, 0, 1,
            ],
            r#"{"filter":[1,7],"filters":24,"inputs":[0]},
               {"filter":[3,5],"filters":64,"inputs":[1]},
               {"filter":[7,7],"filters":36,"inputs":[2]},
               {"filter":[1,1],"filters":48,"inputs":[1,3]}"#,
            "",
        ),
        (
            ConvSpaceConfig {
                anchors: false,
                ..preset("v2")
            },
            &[0, 1, 2, 0, 3, /**/ 1, 1, 0, 1, 0],
            r#"{"filter":[1,3],"filters":64,"stride":[3,1],"inputs":[0]},
               {"filter":[3,3],"filters":24,"stride":[1,2],"inputs":[1]}"#,
            "",
        ),
        (
            types,
            &[
                2, /**/ 3, /**/ 1, 0, 1, 1, 0, 0, /**/ 2, 1, 0, 0, 1, 1, 1,
                /**/ 4, 0, 0, 1, /**/
                0, 3, 2, 1, 0, 3, 1, 0, 0, 0,
            ],
            r#"{"type":"lcn","inputs":[0]},
               {"type":"max_pool","pool":[2,3],"stride":[3,2],"inputs":[0]},
               {"type":"avg_pool","pool":[3,2],"stride":[2,3],"inputs":[1,2]},
               {"type":"batch_norm","inputs":[3]},
               {"filter":[7,5],"filters":64,"stride":[2,1],"inputs":[1]}"#,
            r#","learning_rate":0.05"#,
        ),
    ];
    for (config, tokens, layers, end) in cases {
        let space = ConvSpace::new(&config).unwrap();
        let expected = format!(r#"{{"space":"conv","layers":[{layers}]{end}}}"#);
        let expected: String = expected.split_whitespace().collect();
        let architecture = space.decode(tokens).unwrap();
        assert_eq!(architecture.to_json(), expected);
        assert_eq!(space.encode(&architecture).unwrap(), tokens);
    }
}

// paper P2.5, P3.2, P3.4
#[test]
fn v3_lists_41_layers_with_pools_in_place_of_blocks() {
    let space = ConvSpace::new(&preset("v3")).unwrap();
    let mut tokens = Vec::new();
    for block in 1..=13u32 {
        tokens.extend([block % 4, 1, 2]);
        tokens.extend((1..block).map(|earlier| {
            // Block 5 reads blocks 3 and 4, block 9 reads 2, 4, 5 and 8, block 13 all; others none.
            let read: &[u32] = match block {
                5 => &[3, 4],
                9 => &[2, 4, 5, 8],
                13 => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
                _ => &[],
            };
            Token::from(read.contains(&earlier))
        }));
    }
    let architecture = space.decode(&tokens).unwrap();
    let inputs = |layer: usize| architecture.layers[layer - 1].inputs.as_slice();
    assert_eq!(architecture.layers.len(), 41);
    let pool = LayerOp::MaxPool {
        pool: [2, 2],
        stride: [2, 2],
    };
    for (i, layer) in architecture.layers.iter().enumerate() {
        assert_eq!(
            layer.op == pool,
            [13, 26].contains(&(i + 1)),
            "layer {}",
            i + 1
        );
    }
    // Blocks start at layers 1, 4, 7, 10; pool 13; 14, 17, 20, 23; pool 26; 27, 30, 33, 36, 39.
    assert_eq!(
        [inputs(1), inputs(2), inputs(3)],
        [&[0][..], &[0, 1], &[0, 1, 2]]
    );
    assert_eq!(inputs(13), [10, 11, 12]);
    assert_eq!(inputs(14), [7, 8, 9, 13]);
    assert_eq!(inputs(16), [7, 8, 9, 13, 14, 15]);
    assert_eq!(inputs(26), [23, 24, 25]);
    assert_eq!(inputs(27), [4, 5, 6, 13, 14, 15, 16, 26]);
    assert_eq!(inputs(36), [0]);
    let unpooled = (1..=9).chain(13..=22).chain(26..=38);
    assert_eq!(inputs(39), unpooled.collect::<Vec<_>>());
    assert_eq!(architecture.unread(), [41]);
    let of = |height, filters| LayerOp::Conv {
        filter: [height, 3],
        filters,
        stride: [1, 1],
    };
    assert_eq!(architecture.layers[2].op, of(3, 24));
    assert_eq!(architecture.layers[9].op, of(1, 24));
    assert_eq!(space.encode(&architecture).unwrap(), tokens);
}

// paper P1.1
#[test]
fn round_trip_of_random_draws_is_exact() {
    for (name, space) in spaces() {
        for sample in 0..300 {
            let tokens = space.random(5, sample);
            assert_eq!(tokens, space.random(5, sample));
            let context = format!("{name}, seed 5, sample {sample}: {tokens:?}");
            let architecture = space.decode(&tokens).expect(&context);
            let json = architecture.to_json();
            let read = ConvArchitecture::from_json(&json).expect(&context);
            assert_eq!(read, architecture, "{context}");
            assert_eq!(read.to_json(), json, "{context}");
            assert_eq!(space.encode(&read).expect(&context), tokens, "{context}");
        }
    }
}

/// Each kind's choices come up equally often, and each anchor bit in half of the draws.
// paper P9.5
#[test]
fn random_draws_are_uniform() {
    for (name, space) in spaces() {
        let mut counts: Vec<Vec<f64>> = space
            .decisions()
            .kinds
            .iter()
            .map(|kind| vec![0.0; kind.n_choices])
            .collect();
        let mut bits = [0.0; 2];
        for sample in 0..2000 {
            let tokens = space.random(6, sample);
            let mut rest = tokens.as_slice();
            let mut walk = space.decisions().walk(space.depth(sample));
            while let Some(decision) = walk.decision() {
                let n = match decision {
                    Decision::Choice { kind } => {
                        counts[kind][rest[0] as usize] += 1.0;
                        1
                    }
                    Decision::Anchor { n_candidates } => {
                        rest[..n_candidates]
                            .iter()
                            .for_each(|&bit| bits[bit as usize] += 1.0);
                        n_candidates
                    }
                };
                walk.take(&rest[..n]);
                rest = &rest[n..];
            }
            assert!(rest.is_empty(), "{name}, sample {sample}");
        }
        if space.config().anchors {
            counts.push(bits.into());
        }
        for (kind, counts) in counts.iter().enumerate() {
            let (n, p) = (counts.iter().sum::<f64>(), 1.0 / counts.len() as f64);
            let deviation = (n * p * (1.0 - p)).sqrt();
            for count in counts {
                assert!(
                    (count - n * p).abs() < 5.0 * deviation,
                    "{name}, kind {kind}: {counts:?}"
                );
            }
        }
    }
}

// paper P5.4
#[test]
fn depth_follows_the_schedule() {
    let depth = |name: &str, sample| ConvSpace::new(&preset(name)).unwrap().depth(sample);
    let samples = [0, 1599, 1600, 3199, 3200, 12_799, u64::MAX];
    assert_eq!(samples.map(|s| depth("v1", s)), [6, 6, 8, 8, 10, 20, 20]);
    assert_eq!(samples.map(|s| depth("v3", s)), [13; 7]);
    assert_eq!(samples.map(|s| depth("sample", s)), [4; 7]);
    let capped = ConvSpace::new(&ConvSpaceConfig {
        max_depth: 9,
        ..preset("v2")
    })
    .unwrap();
    assert_eq!(samples.map(|s| capped.depth(s)), [6, 6, 8, 8, 9, 9, 9]);
}
