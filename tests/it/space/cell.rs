//! Recurrent cells: tokens to tree to JSON and back, sizes, and a message for every fault.

use std::collections::HashSet;

use nas_engine::space::cell::{Activation, Combination};
use nas_engine::space::{
    Architecture, CellArchitecture, CellSpace, CellSpaceConfig, Space, SpaceConfig, SpaceError,
    Token,
};

use super::size::enumerate;

pub fn config(base: usize) -> CellSpaceConfig {
    CellSpaceConfig {
        base,
        ..CellSpaceConfig::preset("ptb").unwrap()
    }
}

/// With everything that may be switched on.
fn extended(base: usize) -> CellSpaceConfig {
    CellSpaceConfig {
        combinations: Combination::ALL.to_vec(),
        activations: Activation::ALL.to_vec(),
        ..config(base)
    }
}

fn space(config: &CellSpaceConfig) -> Space {
    CellSpace::new(config).unwrap().into()
}

fn example(name: &str) -> Architecture {
    let path = format!("{}/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let architecture = Architecture::from_json(&text).unwrap();
    let packed: String = text.split_whitespace().collect();
    assert_eq!(architecture.to_json(), packed, "{name}");
    architecture
}

fn parameters(architecture: &Architecture, hidden: u64) -> u64 {
    match architecture {
        Architecture::Cell(cell) => cell.parameters(2, hidden, 10_000, false),
        _ => panic!("a cell"),
    }
}

/// Tokens of words as the paper lists them, each token looked up by the order of the choices.
fn tokens_of(words: &str, indices: [Token; 2]) -> Vec<Token> {
    let choices = [
        ["add", "mult", "", ""],
        ["identity", "tanh", "sigmoid", "relu"],
    ];
    let token = |(i, word): (usize, &str)| {
        let choice = choices[i % 2].iter().position(|choice| *choice == word);
        choice.unwrap() as Token
    };
    let words = words.split_whitespace().enumerate().map(token);
    words.chain(indices).collect()
}

// paper P8.2, P8.3, P8.4
#[test]
fn tokens_of_the_papers_cells() {
    let worked = "add tanh mult relu mult sigmoid add relu";
    let worked = tokens_of(worked, [1, 0]);
    assert_eq!(worked, [0, 1, 1, 3, 1, 2, 0, 3, 1, 0]);
    let published = "add sigmoid add relu add sigmoid mult relu add tanh add sigmoid add tanh \
        add sigmoid mult tanh add tanh mult tanh add sigmoid mult identity add tanh mult tanh \
        add tanh";
    let published = tokens_of(published, [12, 8]);
    assert_eq!(published.len(), 34);
    for (name, base, tokens) in [("cell-worked", 2, worked), ("cell-published", 8, published)] {
        let space = space(&config(base));
        assert_eq!(space.encode(&example(name)).unwrap(), tokens, "{name}");
        assert_eq!(space.decode(&tokens).unwrap(), example(name), "{name}");
    }
    for preset in ["ptb", "cell-sample"] {
        let preset = SpaceConfig::preset(preset).unwrap();
        assert_eq!(preset, SpaceConfig::Cell(config(8)));
    }
}

#[test]
fn parameters_are_those_of_the_weights_file() {
    // Embedding and decoder of 10,000 words, 2 layers of 8 leaves of two matrices.
    let published = 2 * 10_000 * 535 + 10_000 + 2 * 16 * 535 * 535;
    assert_eq!(parameters(&example("cell-published"), 535), published);
    assert!((19_800_000..20_000_000).contains(&published));
    // Zaremba's medium LSTM, with one bias a gate.
    let lstm = 2 * 10_000 * 650 + 10_000 + 2 * (8 * 650 * 650 + 4 * 650);
    assert_eq!(parameters(&example("cell-lstm"), 650), lstm);
    let Architecture::Cell(cell) = example("cell-worked") else {
        panic!("a cell");
    };
    assert_eq!(cell.parameters(1, 3, 7, true), 4 * 9 + 7 * 3 + 7);
}

// paper P8.2, P8.3
#[test]
fn round_trip_of_random_cells_is_exact() {
    for base in [2, 4, 8, 16] {
        for config in [config(base), extended(base)] {
            let space = space(&config);
            for sample in 0..2000 {
                let tokens = space.random(5, sample);
                assert_eq!(tokens.len(), 2 * (2 * base - 1) + 4);
                let context = format!("base {base}, sample {sample}: {tokens:?}");
                let cell = space.decode(&tokens).expect(&context);
                let json = cell.to_json();
                let read = Architecture::from_json(&json).expect(&context);
                assert_eq!(read, cell, "{context}");
                assert_eq!(read.to_json(), json, "{context}");
                assert_eq!(space.encode(&read).expect(&context), tokens, "{context}");
                assert_eq!(
                    space.decisions().depth_of_tokens(&tokens),
                    space.depth(sample)
                );
            }
        }
    }
}

#[test]
fn size_counts_every_cell_and_each_is_another() {
    let size = space(&config(8)).log10_size(1);
    assert!((10f64.powf(size) / 6.33e16 - 1.0).abs() < 1e-2, "{size}");
    let tiny = CellSpaceConfig {
        combinations: vec![Combination::Max, Combination::Add],
        activations: vec![Activation::Sin, Activation::Tanh],
        ..config(2)
    };
    let space = space(&tiny);
    let all = enumerate(space.decisions(), 1);
    let size = 10f64.powf(space.log10_size(1));
    assert_eq!(all.len(), 4usize.pow(4) * 9);
    assert!((size / all.len() as f64 - 1.0).abs() < 1e-9, "{size}");
    let cells = all.iter().map(|tokens| space.decode(tokens).unwrap());
    let distinct: HashSet<String> = cells.map(|cell| cell.to_json()).collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn the_lstm_has_no_tokens() {
    let lstm = example("cell-lstm");
    assert_eq!(lstm, Architecture::Cell(CellArchitecture::Lstm));
    let message = space(&config(8)).encode(&lstm).unwrap_err().to_string();
    assert!(message.contains("LSTM"), "{message}");
}

#[test]
fn what_a_space_cannot_say_has_a_reason() {
    let with_max = example("cell-worked")
        .to_json()
        .replace("relu\"],[\"elem_mult", "relu\"],[\"max");
    let with_sin = example("cell-worked")
        .to_json()
        .replace("[\"add\",\"relu\"]", "[\"add\",\"sin\"]");
    let conv = r#"{"space":"conv","layers":[{"type":"lcn","inputs":[0]}]}"#;
    let cases = [
        (
            2,
            with_max.as_str(),
            "node 2: max is not one of add, elem_mult",
        ),
        (
            2,
            &with_sin,
            "the injection: sin is not one of identity, tanh, sigmoid, relu",
        ),
        (
            4,
            &example("cell-worked").to_json(),
            "its base is 2, which is 4 here",
        ),
        (8, conv, "it is a convolutional network"),
    ];
    for (base, json, reason) in cases {
        let architecture = Architecture::from_json(json).unwrap();
        let error = space(&config(base)).encode(&architecture).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let conv = Space::new(&SpaceConfig::preset("sample").unwrap()).unwrap();
    let error = conv.encode(&example("cell-worked")).unwrap_err();
    assert!(
        error.to_string().contains("it is a recurrent cell"),
        "{error}"
    );
}

#[test]
fn tokens_of_another_space_are_refused() {
    let space = space(&config(8));
    let tokens = space.random(7, 0);
    let refused = |tokens: &[Token], at: usize| {
        let error = space.decode(tokens).unwrap_err();
        let found = matches!(error, SpaceError::Tokens { position, .. } if position == at);
        assert!(found, "{error}, expected at {at}");
    };
    for at in 0..34 {
        let mut wrong = tokens.clone();
        wrong[at] = 15;
        refused(&wrong, at);
        refused(&tokens[..at], at);
    }
    refused(&[tokens.as_slice(), &[0]].concat(), 34);
}

#[test]
fn settings_that_break_a_rule_are_named() {
    type Break = fn(&mut CellSpaceConfig);
    let cases: [(&str, Break); 7] = [
        ("base", |c| c.base = 0),
        ("base", |c| c.base = 1),
        ("base", |c| c.base = 3),
        ("base", |c| c.base = 32),
        ("combinations", |c| c.combinations = vec![]),
        ("combinations", |c| {
            c.combinations = vec![Combination::Add; 2]
        }),
        ("activations", |c| c.activations = vec![]),
    ];
    for (key, spoil) in cases {
        let mut config = config(8);
        spoil(&mut config);
        let error = CellSpace::new(&config).unwrap_err();
        let named = matches!(error, SpaceError::Config { key: found, .. } if found == key);
        assert!(named, "{key}: {error}");
    }
}

#[test]
fn canonical_json_is_exact() {
    let text = r#" {"indices":[0, 2], "inject":["max","sin"], "nodes":[["add","tanh"],
        ["elem_mult","relu"],["elem_mult","sigmoid"]], "base":2, "space":"cell"} "#;
    let canonical = concat!(
        r#"{"space":"cell","base":2,"nodes":[["add","tanh"],["elem_mult","relu"],"#,
        r#"["elem_mult","sigmoid"]],"inject":["max","sin"],"indices":[0,2]}"#
    );
    assert_eq!(Architecture::from_json(text).unwrap().to_json(), canonical);
}

#[test]
fn broken_rules_name_key_and_rule() {
    let good = example("cell-worked").to_json();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let cases = [
        (
            changed("\"base\":2", "\"base\":3"),
            "`base` must be 2, 4, 8 or 16",
        ),
        (changed("\"base\":2", "\"base\":0"), "not 0"),
        (changed("\"base\":2", "\"base\":2.5"), "not 2.5"),
        (
            changed("\"base\":2", "\"base\":4"),
            "`nodes` holds 3 nodes; a cell of base 4 has 7",
        ),
        (changed("\"base\":2,", ""), "`base` is missing"),
        (changed("\"base\"", "\"bass\""), "is `bass` meant to be it?"),
        (
            changed("[1,0]", "[1,3]"),
            "`indices` names node 3, but the root is node 2",
        ),
        (
            changed("[1,0]", "[1,-1]"),
            "`indices` must be two numbers of nodes",
        ),
        (changed("[1,0]", "[1]"), "not [1]"),
        (changed("[1,0]", "1"), "not 1"),
        (changed(",\"indices\":[1,0]", ""), "`indices` is missing"),
        (
            changed("\"add\",\"tanh\"", "\"mult\",\"tanh\""),
            "node 0: `mult` is no combination",
        ),
        (
            changed("\"add\",\"tanh\"", "\"add\",\"tan\""),
            "(did you mean `tanh`?)",
        ),
        (
            changed("\"add\",\"tanh\"", "\"add\""),
            "node 0: a node must be a combination and",
        ),
        (changed("\"add\",\"tanh\"", "\"add\",1"), "not [\"add\", 1]"),
        (
            changed("[\"add\",\"relu\"]", "\"add\""),
            "`inject` must be a combination and",
        ),
        (
            changed("[\"add\",\"relu\"]", "[\"add\",\"exp\"]"),
            "`inject`: `exp` is no activation",
        ),
        (
            changed("\"inject\":[\"add\",\"relu\"],", ""),
            "`inject` is missing",
        ),
        (
            changed("\"base\":2", "\"base\":2,\"depth\":2"),
            "a cell has no key `depth`",
        ),
        (
            changed("\"base\":2", "\"base\":2,\"base\":2"),
            "`base` stands twice",
        ),
        (
            changed("\"base\":2", "\"kind\":\"lstm\""),
            "a cell of kind \"lstm\" has no key",
        ),
        (
            changed("\"base\":2", "\"kind\":\"gru\""),
            "`kind` must be \"lstm\", not \"gru\"",
        ),
        (changed("[[\"add\"", "{},[[\"add\""), "JSON"),
        (
            r#"{"space":"cell","base":2,"nodes":7,"inject":0,"indices":0}"#.into(),
            "a list of nodes",
        ),
    ];
    for (text, words) in cases {
        match Architecture::from_json(&text) {
            Ok(read) => panic!("{text} was read as {}", read.to_json()),
            Err(error) => assert!(error.to_string().contains(words), "{text}: {error}"),
        }
    }
}
