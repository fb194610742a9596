//! What a space refuses: foreign tokens, architectures it cannot say, settings that break a rule.

use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::{
    BenchSpaceConfig, CellSpaceConfig, ConvArchitecture, ConvSpace, ConvSpaceConfig, LayerOp,
    LayerType, PRESETS, SpaceConfig, SpaceError, SpaceKind, Token,
};

use super::{preset, spaces};

#[test]
fn tokens_of_another_space_are_refused() {
    for (name, space) in spaces() {
        let tokens = space.random(7, 0);
        let positions = [0, tokens.len() / 2, tokens.len() - 1];
        for position in positions {
            let mut wrong = tokens.clone();
            wrong[position] = 99;
            let error = space.decode(&wrong).unwrap_err();
            assert!(
                matches!(error, SpaceError::Tokens { position: p, .. } if p == position),
                "{name}: {error}"
            );
        }
        // Any other cut than at the end of a layer is noticed; none panics.
        let depth = (0..tokens.len())
            .filter(|&n| space.decode(&tokens[..n]).is_ok())
            .count();
        assert_eq!(
            depth,
            space.depth(0) - 1,
            "{name}: one for each shorter depth"
        );
        let mut rng = Rng::new(8, Purpose::Test, 0);
        for _ in 0..500 {
            let n = rng.below(200);
            let noise: Vec<Token> = (0..n).map(|_| rng.below(5)).collect();
            if let Ok(architecture) = space.decode(&noise) {
                assert_eq!(space.encode(&architecture).unwrap(), noise, "{name}");
            }
        }
        space.decode(&vec![0; 100_000]).unwrap_err();
    }
}

#[test]
fn what_a_space_cannot_say_has_a_reason() {
    let read = |layers: &str| {
        ConvArchitecture::from_json(&format!(r#"{{"space":"conv","layers":[{layers}]}}"#)).unwrap()
    };
    let first = r#"{"filter":[3,3],"filters":24,"stride":[2,2],"inputs":[0]}"#;
    let cases = [
        (
            r#"{"filter":[3,3],"filters":24,"inputs":[0]}"#.into(),
            "would have to be",
            "[2,2]",
        ),
        (
            r#"{"filter":[7,3],"filters":24,"inputs":[0]}"#.into(),
            "layer 1: filter height 7",
            "[1, 3, 5]",
        ),
        (
            r#"{"filter":[3,3],"filters":9,"inputs":[0]}"#.into(),
            "layer 1: filters 9",
            "[8, 12, 16, 24]",
        ),
        (
            format!(r#"{first},{{"type":"lcn","inputs":[1]}}"#),
            "layer 2: type \"lcn\"",
            "[\"conv\"]",
        ),
        (
            format!(r#"{first},{{"filter":[3,3],"filters":24,"stride":[1,3],"inputs":[0]}}"#),
            "layer 2: stride width 3",
            "[1, 2]",
        ),
        (
            format!(r#"{first},{{"filter":[3,3],"filters":24,"inputs":[0,1]}}"#),
            "layer 2 is",
            r#""inputs":[1]}"#,
        ),
    ];
    let sample = ConvSpace::new(&preset("sample")).unwrap();
    for (layers, what, instead) in cases {
        let error = sample.encode(&read(&layers)).unwrap_err();
        assert!(matches!(error, SpaceError::CannotSay { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains(what) && message.contains(instead),
            "{message}"
        );
    }
    let rated = ConvArchitecture {
        learning_rate: Some(0.3),
        ..read(first)
    };
    let rates = ConvSpaceConfig {
        predict_learning_rate: true,
        ..preset("sample")
    };
    let rates = ConvSpace::new(&rates).unwrap();
    for (space, architecture) in [(&sample, &rated), (&rates, &rated), (&rates, &read(first))] {
        let message = space.encode(architecture).unwrap_err().to_string();
        assert!(message.contains("learning_rate"), "{message}");
    }
    // v3: every layer of a drawn network, changed or cut, is noticed.
    let v3 = ConvSpace::new(&preset("v3")).unwrap();
    let drawn = v3.decode(&v3.random(1, 0)).unwrap();
    for layer in 0..41 {
        let mut changed = drawn.clone();
        changed.layers.truncate(layer);
        let whole = [0, 3, 6, 9, 13, 16, 19, 22, 26, 29, 32, 35, 38].contains(&layer);
        assert_eq!(
            v3.encode(&changed).is_ok(),
            whole && layer > 0,
            "cut to {layer} layers"
        );
        let mut changed = drawn.clone();
        changed.layers[layer].op = LayerOp::Lcn;
        v3.encode(&changed).unwrap_err();
    }
}

#[test]
fn settings_that_break_a_rule_are_named() {
    type Break = fn(&mut ConvSpaceConfig);
    let sample: &[(&str, Break)] = &[
        ("filter_heights", |c| c.filter_heights = vec![]),
        ("filter_heights", |c| c.filter_heights = vec![3, 4]),
        ("filter_widths", |c| c.filter_widths = vec![0]),
        ("filter_widths", |c| c.filter_widths = vec![17]),
        ("filters", |c| c.filters = vec![8, 8]),
        ("filters", |c| c.filters = vec![4097]),
        ("strides", |c| c.strides = vec![0]),
        ("strides", |c| c.strides = vec![]),
        ("first_stride", |c| c.first_stride = Some(9)),
        ("layer_types", |c| c.layer_types = vec![]),
        ("layer_types", |c| c.layer_types = vec![LayerType::Lcn; 2]),
        ("pool_windows", |c| c.pool_windows = vec![65]),
        ("pool_strides", |c| c.pool_strides = vec![9]),
        ("learning_rates", |c| c.learning_rates = vec![]),
        ("learning_rates", |c| c.learning_rates = vec![0.0]),
        ("learning_rates", |c| c.learning_rates = vec![f64::NAN]),
        ("learning_rates", |c| c.learning_rates = vec![0.1, 0.1]),
        ("depth", |c| c.depth = 0),
        ("depth_every", |c| c.depth_every = 0),
        ("max_depth", |c| c.max_depth = 0),
        ("max_depth", |c| c.max_depth = 257),
    ];
    let v3: &[(&str, Break)] = &[
        ("max_depth", |c| c.max_depth = usize::MAX),
        ("max_depth", |c| c.max_depth = 85),
        ("pool_after_blocks", |c| c.pool_after_blocks = vec![8, 4]),
        ("pool_after_blocks", |c| c.pool_after_blocks = vec![0]),
        ("predict_layer_type", |c| c.predict_layer_type = true),
        ("strides", |c| c.strides = vec![1, 2]),
        ("first_stride", |c| c.first_stride = Some(2)),
    ];
    for (name, cases) in [("sample", sample), ("v3", v3)] {
        for (key, spoil) in cases {
            let mut config = preset(name);
            spoil(&mut config);
            let error = ConvSpace::new(&config).unwrap_err();
            assert!(
                matches!(error, SpaceError::Config { key: found, .. } if found == *key),
                "{name}, {key}: {error}"
            );
        }
    }
}

#[test]
fn settings_survive_a_file_and_unknown_keys_are_refused() {
    for name in PRESETS {
        let preset = SpaceConfig::preset(name).unwrap();
        let text = toml::to_string(&preset).unwrap();
        let read = |text: &str| match preset.kind() {
            SpaceKind::Conv => toml::from_str::<ConvSpaceConfig>(text).map(SpaceConfig::Conv),
            SpaceKind::Cell => toml::from_str::<CellSpaceConfig>(text).map(SpaceConfig::Cell),
            SpaceKind::Bench => toml::from_str::<BenchSpaceConfig>(text).map(SpaceConfig::Bench),
        };
        assert_eq!(read(&text).unwrap(), preset);
        for unknown in ["filter_hights = [1]", "bass = 2"] {
            let error = read(&format!("{unknown}\n{text}")).unwrap_err().to_string();
            assert!(error.contains(&unknown[..4]), "{error}");
        }
    }
    assert_eq!(SpaceConfig::preset("v4"), None);
    assert_eq!(SpaceKind::Conv.presets(), ["v1", "v2", "v3", "sample"]);
    assert_eq!(SpaceKind::Cell.presets(), ["ptb", "cell-sample"]);
    assert_eq!(SpaceKind::Bench.presets(), ["nas-bench-201"]);
}
