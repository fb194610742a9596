//! Recurrent cells on the command line: shown by `inspect` and by `search --dry-run`, refused by
//! `roofline`.

use serde_json::json as value;
use tempfile::TempDir;

use super::{example, file, json, nas};

#[test]
fn inspect_says_the_equations_of_a_cell() {
    let worked = example("cell-worked.json");
    let cell = json(&["inspect", "--arch", &worked]);
    assert_eq!(cell["equations"][3], "h_t = sigmoid(a0' * a1)");
    assert!(cell["tree"].as_str().unwrap().starts_with("2  elem_mult"));
    assert!(cell["tokens"].is_null() && cell["parameters"].is_null());
    let reason = cell["tokens_reason"].as_str().unwrap();
    assert!(
        reason.contains("its base is 2, which is 8 here"),
        "{reason}"
    );

    let published = example("cell-published.json");
    for preset in ["ptb", "cell-sample"] {
        let sized = [
            "inspect", "--arch", &published, "--preset", preset, "--hidden", "535",
        ];
        let cell = json(&sized);
        assert_eq!(cell["tokens"].as_array().unwrap().len(), 34);
        assert_eq!(cell["parameters"], 19_869_200);
    }
    let smaller = [
        "inspect",
        "--arch",
        &published,
        "--hidden",
        "2",
        "--vocabulary",
        "3",
    ];
    assert_eq!(json(&smaller)["parameters"], 2 * 16 * 4 + 2 * 6 + 3);
    let words = nas(&["inspect", "--arch", &example("cell-lstm.json")]).stdout;
    assert!(
        words.contains("c_t = f * c + i * g") && words.contains("none: "),
        "{words}"
    );
    let conv = json(&["inspect", "--arch", &worked, "--preset", "v1"]);
    let reason = conv["tokens_reason"].as_str().unwrap();
    assert!(reason.contains("convolutional networks"), "{reason}");
}

#[test]
fn inspect_says_the_size_of_a_language_model() {
    let worked = example("cell-worked.json");
    // The size that a file of settings has, and flags over it.
    let folder = tempfile::tempdir().unwrap();
    let of = |train: &str, more: &[&str]| {
        let toml = format!("[search]\npreset = \"cell-sample\"\n[train]\n{train}\n");
        let config = file(folder.path(), "size.toml", toml);
        let inspect = ["inspect", "--arch", &worked, "--config", &config];
        json(&[&inspect[..], more].concat())
    };
    let tied = of(
        "tied = true\nlayers = 1\nhidden = 33",
        &["--vocabulary", "52"],
    );
    assert_eq!(tied["parameters"], 4 * 33 * 33 + 52 * 33 + 52);
    assert_eq!(
        (&tied["layers"], &tied["tied"]),
        (&value!(1), &value!(true))
    );
    assert_eq!(
        of("layers = 3", &["--hidden", "2"])["parameters"],
        3 * 16 + 4000 + 1000
    );
    assert_eq!(of("parameters = 100000", &[])["hidden"], 42);
    for (arch, flag, words) in [
        (&worked, ["--batch", "3"], "a recurrent cell"),
        (&worked, ["--classes", "3"], "a recurrent cell"),
        (&worked, ["--hidden", "16385"], "16384"),
        (&worked, ["--vocabulary", "1"], "from 2"),
        (
            &example("small.json"),
            ["--hidden", "3"],
            "a convolutional network",
        ),
        (
            &example("small.json"),
            ["--vocabulary", "3"],
            "a convolutional network",
        ),
    ] {
        let ended = nas(&[&["inspect", "--arch", arch][..], &flag].concat());
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(
            ended.stderr.contains(flag[0]) && ended.stderr.contains(words),
            "{ended:?}"
        );
    }
}

/// What a search for cells would be, by policy and at random.
#[test]
fn a_search_for_cells_is_shown() {
    for strategy in ["policy", "random"] {
        let flags = [
            "search",
            "--space",
            "cell",
            "--dry-run",
            "--strategy",
            strategy,
        ];
        let shown = json(&flags);
        assert_eq!(shown["config"]["search"]["preset"], "cell-sample");
        assert_eq!(shown["config"]["space"]["base"], 8);
        assert_eq!(shown["tokens"], 34);
        let size = shown["log10_architectures"]["first"].as_f64().unwrap();
        assert!((16.7..16.9).contains(&size), "{size}");
        assert_eq!(shown["first_samples"][0]["space"], "cell");
        assert_eq!(shown, json(&flags), "the same each time");
        // All but the embedding, where a word is looked up: 1,000 words of 32 units.
        assert_eq!(shown["parameters"], 97_768);
        assert_eq!(shown["multiply_adds"], 97_768 - 32_000);
    }
    let folder = TempDir::new().unwrap();
    let tied = "[search]\npreset = \"cell-sample\"\n[train]\ntied = true\n";
    let tied = file(folder.path(), "tied.toml", tied);
    let shown = json(&["search", "--config", &tied, "--dry-run"]);
    assert_eq!(shown["parameters"], 97_768 - 32_000);
    assert_eq!(
        shown["multiply_adds"],
        97_768 - 32_000,
        "the decoder's matrix"
    );
    // The settings that are shown are a file that gives them again; one may be changed.
    let toml = nas(&["search", "--preset", "ptb", "--dry-run"]).stdout;
    let toml = toml
        .replace("base = 8", "base = 2")
        .replace("\"sigmoid\"", "\"sin\"");
    let path = file(folder.path(), "ptb.toml", toml);
    let shown = json(&["search", "--config", &path, "--dry-run"]);
    assert_eq!(shown["tokens"], 10);
    assert_eq!(shown["config"]["space"]["activations"][2], "sin");
    for (line, words) in [
        ("base = 3", "`space.base` is 3; give 2, 4, 8 or 16"),
        ("bass = 4", "did you mean `base`?"),
        ("combinations = [\"mult\"]", "`mult`"),
    ] {
        let toml = format!("[search]\npreset = \"ptb\"\n[space]\n{line}\n");
        let path = file(folder.path(), "wrong.toml", toml);
        let ended = nas(&["search", "--config", &path, "--dry-run"]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        let expected = format!("wrong.toml, line 4: {words}");
        let said = ended.stderr.contains("wrong.toml, line 4: ") && ended.stderr.contains(words);
        assert!(said, "{expected}: {}", ended.stderr);
    }
    for name in ["cell-worked.json", "cell-lstm.json"] {
        let ended = nas(&["roofline", "--arch", &example(name)]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        for words in ["convolutional network", name] {
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
    }
}
