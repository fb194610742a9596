//! Architectures as JSON: the canonical form, and a message for every fault.

use nas_engine::space::{ArchitectureError, ConvArchitecture, LayerOp};

fn error(text: &str) -> String {
    match ConvArchitecture::from_json(text) {
        Ok(read) => panic!("{text} was read as {}", read.to_json()),
        Err(error) => error.to_string(),
    }
}

/// One layer after `n` plain ones, as a whole architecture.
fn with_layer(n: usize, layer: &str) -> String {
    let plain = r#"{"filter":[3,3],"filters":8,"inputs":[]},"#;
    format!(
        r#"{{"space":"conv","layers":[{}{layer}]}}"#,
        plain.repeat(n)
    )
}

#[test]
fn canonical_json_is_exact() {
    // Each pair: a text, and the canonical form, worked out by hand from formats.md.
    let cases = [
        (
            r#" {"layers" : [ {"inputs":[], "filters":36, "stride":[1,1], "type":"conv", "filter":[3,5]} ],
               "learning_rate": 0.050, "space":"conv"} "#,
            r#"{"space":"conv","layers":[{"filter":[3,5],"filters":36,"inputs":[0]}],"learning_rate":0.05}"#,
        ),
        (
            r#"{"space":"conv","layers":[{"filter":[1,15],"filters":4096,"stride":[1,8],"inputs":[0]},
               {"type":"max_pool","stride":[1,1],"pool":[2,3],"inputs":[0,1]},
               {"type":"avg_pool","pool":[2,2],"stride":[2,2],"inputs":[1]},
               {"type":"lcn","inputs":[2,3]},{"inputs":[],"type":"batch_norm"}]}"#,
            concat!(
                r#"{"space":"conv","layers":[{"filter":[1,15],"filters":4096,"stride":[1,8],"inputs":[0]},"#,
                r#"{"type":"max_pool","pool":[2,3],"stride":[1,1],"inputs":[0,1]},"#,
                r#"{"type":"avg_pool","pool":[2,2],"stride":[2,2],"inputs":[1]},"#,
                r#"{"type":"lcn","inputs":[2,3]},{"type":"batch_norm","inputs":[0]}]}"#
            ),
        ),
    ];
    for (text, canonical) in cases {
        let architecture = ConvArchitecture::from_json(text).unwrap();
        assert_eq!(architecture.to_json(), canonical);
        assert_eq!(
            ConvArchitecture::from_json(canonical).unwrap(),
            architecture
        );
    }
    let first = &ConvArchitecture::from_json(cases[0].0).unwrap().layers[0];
    assert_eq!(
        first.op,
        LayerOp::Conv {
            filter: [3, 5],
            filters: 36,
            stride: [1, 1]
        }
    );
    assert_eq!(first.inputs, [0]);
    assert_eq!(
        ConvArchitecture::from_json(cases[1].0).unwrap().unread(),
        [4, 5]
    );
}

#[test]
fn learning_rates_are_written_shortest() {
    for (written, canonical) in [
        ("1", "1.0"),
        ("2e-1", "0.2"),
        ("0.10000000000000001", "0.1"),
    ] {
        let text = with_layer(1, r#"{"type":"lcn","inputs":[1]}"#);
        let text = text.replace("]}]}", &format!("]}}],\"learning_rate\":{written}}}"));
        let read = ConvArchitecture::from_json(&text).unwrap().to_json();
        assert!(
            read.ends_with(&format!(",\"learning_rate\":{canonical}}}")),
            "{read}"
        );
    }
}

#[test]
fn broken_rules_name_layer_key_and_rule() {
    let conv = |keys: &str| with_layer(2, &format!("{{{keys}}}"));
    let good = r#""filter":[3,3],"filters":8,"inputs":[1,2]"#;
    ConvArchitecture::from_json(&conv(good)).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from));
        conv(&good.replace(from, to))
    };
    let pool = |keys: &str| conv(&format!(r#""type":"max_pool",{keys},"inputs":[1]"#));
    let cases = [
        (
            changed("[3,3]", "[3,4]"),
            "`filter` must be two odd whole numbers from 1 to 15",
        ),
        (changed("[3,3]", "[0,3]"), "`filter` must be two odd"),
        (changed("[3,3]", "[17,3]"), "not [17, 3]"),
        (changed("[3,3]", "[3]"), "not [3]"),
        (changed("[3,3]", "[3,3,3]"), "not [3, 3, 3]"),
        (changed("[3,3]", "3"), "`filter` must be"),
        (changed("[3,3]", "[3,3.5]"), "3.5"),
        (changed("[3,3]", "[3,-1]"), "-1"),
        (changed("[3,3]", "[[3],3]"), "`filter` must be"),
        (changed(r#""filter":[3,3],"#, ""), "`filter` is missing"),
        (
            changed("\"filters\":8", "\"filters\":0"),
            "`filters` must be a whole number from 1 to 4096",
        ),
        (changed("\"filters\":8", "\"filters\":4097"), "not 4097"),
        (
            changed("\"filters\":8", "\"filters\":1180591620717411303424"),
            "1.18",
        ),
        (changed("\"filters\":8", "\"filters\":\"8\""), "not \"8\""),
        (changed("\"filters\":8", "\"filters\":null"), "not null"),
        (changed("[1,2]", "[2,1]"), "`inputs` has 1 out of order"),
        (changed("[1,2]", "[1,1]"), "`inputs` has 1 twice"),
        (
            changed("[1,2]", "[1,3]"),
            "`inputs` names layer 3, but a layer reads only earlier ones",
        ),
        (changed("[1,2]", "[9]"), "`inputs` names layer 9"),
        (changed("[1,2]", "[-1]"), "not -1"),
        (changed("[1,2]", "1"), "`inputs` must be a list"),
        (changed(r#","inputs":[1,2]"#, ""), "`inputs` is missing"),
        (
            changed("[1,2]", "[1,2],\"stride\":[0,1]"),
            "`stride` must be two whole numbers from 1 to 8",
        ),
        (changed("[1,2]", "[1,2],\"stride\":[1,9]"), "not [1, 9]"),
        (
            changed("[1,2]", "[1,2],\"strides\":[1,1]"),
            "has no key `strides` (did you mean `stride`?)",
        ),
        (
            changed("[1,2]", "[1,2],\"pool\":[2,2]"),
            "a layer of type `conv` has no key `pool`",
        ),
        (
            changed("[1,2]", "[1,2],\"filters\":8"),
            "`filters` stands twice",
        ),
        (
            changed("[1,2]", "[1,2],\"type\":\"con\""),
            "(did you mean `conv`?)",
        ),
        (
            changed("[1,2]", "[1,2],\"type\":7"),
            "`type` must be one of",
        ),
        (
            changed("\"filters\":8", "\"filter_count\":8"),
            "`filters` is missing",
        ),
        (
            changed("\"filters\":8", "\"fliters\":8"),
            "is `fliters` meant to be it?",
        ),
        (pool("\"stride\":[2,2]"), "`pool` is missing"),
        (pool("\"pool\":[2,2]"), "`stride` is missing"),
        (
            pool("\"pool\":[0,2],\"stride\":[2,2]"),
            "`pool` must be two whole numbers",
        ),
        (
            pool("\"pool\":[2,2],\"stride\":[2,2],\"filters\":3"),
            "has no key `filters`",
        ),
        (
            conv(r#""type":"lcn","inputs":[1],"stride":[1,1]"#),
            "a layer of type `lcn` has no key `stride`; its keys are `type`, `inputs`",
        ),
        (
            conv(r#""type":"batch_norm","inputs":[1],"filters":3"#),
            "`batch_norm` has no key `filters`",
        ),
        (with_layer(2, "[]"), "must be an object"),
        (with_layer(2, "7"), "must be an object"),
    ];
    for (text, expected) in cases {
        let message = error(&text);
        assert!(message.starts_with("layer 3: "), "{text}\n{message}");
        assert!(
            message.contains(expected),
            "{text}\n{message}\nlacks {expected}"
        );
    }
}

#[test]
fn broken_tops_are_refused() {
    let layer = r#"{"filter":[3,3],"filters":8,"inputs":[0]}"#;
    let top = |keys: &str| format!("{{{keys}}}").replace("LAYERS", &format!("[{layer}]"));
    let many = format!(
        r#"{{"space":"conv","layers":[{}]}}"#,
        vec![layer; 257].join(",")
    );
    ConvArchitecture::from_json(&top(r#""space":"conv","layers":LAYERS"#)).unwrap();
    let cases = [
        (
            top(r#""layers":LAYERS"#),
            "`space` is missing; write \"space\":\"conv\"",
        ),
        (
            top(r#""space":"cov","layers":LAYERS"#),
            "`space` must be \"conv\", \"cell\" or \"nas-bench-201\", not \"cov\"",
        ),
        (
            top(r#""space":1,"layers":LAYERS"#),
            "`space` must be \"conv\", \"cell\" or \"nas-bench-201\", not 1",
        ),
        (top(r#""space":"cell","kind":"lstm""#), "here it must be"),
        (top(r#""space":"conv""#), "`layers` is missing"),
        (
            top(r#""space":"conv","layers":[]"#),
            "`layers` holds 0 layers; give 1 to 256",
        ),
        (many, "`layers` holds 257 layers"),
        (
            top(r#""space":"conv","layers":{}"#),
            "`layers` must be a list",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"layers":LAYERS"#),
            "`layers` stands twice",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"name":"x""#),
            "has no key `name`",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"learning_rates":1"#),
            "did you mean `learning_rate`?",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"learning_rate":0"#),
            "`learning_rate` must be a number above 0, not 0",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"learning_rate":-0.1"#),
            "not -0.1",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"learning_rate":1e-400"#),
            "not 0;",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"learning_rate":"0.1""#),
            "not \"0.1\"",
        ),
        (
            top(r#""space":"conv","layers":LAYERS,"learning_rate":null"#),
            "not null",
        ),
        ("[]".to_owned(), "must be an object"),
        ("3".to_owned(), "must be an object"),
    ];
    for (text, expected) in cases {
        let message = error(&text);
        assert!(
            message.contains(expected),
            "{text}\n{message}\nlacks {expected}"
        );
    }
}

#[test]
fn text_that_is_not_json_says_where() {
    let text = with_layer(
        1,
        r#"{"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[1]}"#,
    );
    ConvArchitecture::from_json(&text).unwrap();
    for end in 0..text.len() {
        let message = error(&text[..end]);
        let expected = if end == 0 {
            "the text is empty"
        } else {
            "the text is cut short"
        };
        assert!(message.contains(expected), "cut to {end} bytes: {message}");
    }
    let nested = |open: &str| open.repeat(1000);
    let cases = [
        (nested("["), "nested too deeply"),
        (nested(r#"{"layers":"#), "nested too deeply"),
        (format!("{text}]"), "trailing characters at line 1"),
        (text.replace("[2,2]", "[2,1e400]"), "number out of range"),
        (text.replace(':', "="), "expected `:`"),
        ("\n\n  é€".to_owned(), "at line 3"),
    ];
    for (text, expected) in cases {
        let error = ConvArchitecture::from_json(&text).unwrap_err();
        assert!(
            matches!(error, ArchitectureError::NotJson { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains(expected),
            "{error}\nlacks {expected}"
        );
    }
}
