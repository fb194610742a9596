//! `train`, `eval`, `sample` and `search` of recurrent cells, as a user types them.

mod bad_input;
mod search;

use std::fs;
use std::path::Path;

use nas_engine::data::corpus::{Corpus, Level, TextPart};
use nas_engine::rng::{Purpose, Rng};
use serde_json::{Value, json as value};
use tempfile::TempDir;

use super::bad_input::refused;
use super::{example, file, json, text};

/// A folder with a text, and settings for children that train in no time on it.
struct Place {
    folder: TempDir,
    data: String,
    config: String,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        // Mostly a word follows from the one before it: something to learn.
        let words = ["a", "b", "c", "d", "e", "f", "g"];
        let mut rng = Rng::new(1, Purpose::Test, 0);
        let mut word = 0;
        let mut line = |n: usize| {
            let next = |_| {
                word = match rng.uniform() < 0.8 {
                    true => (3 * word + 1) % 7,
                    false => rng.below(7) as usize,
                };
                words[word]
            };
            (0..n).map(next).collect::<Vec<_>>().join(" ") + "\n"
        };
        let lines: String = (0..300).map(|n| line(5 + n % 7)).collect();
        let data = file(folder.path(), "text.txt", lines);
        let config = "[search]\npreset = \"cell-sample\"\n[data]\nvocabulary = 7\n\
                      [train]\nepochs = 3\nbatch = 4\nsteps = 6\nhidden = 6\nlearning_rate = 0.8\n";
        let config = file(folder.path(), "config.toml", config);
        Place {
            folder,
            data,
            config,
        }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    fn train(&self, cell: &str, more: &[&str]) -> Value {
        let cell = example(cell);
        let train = [
            "train",
            "--arch",
            &cell,
            "--data",
            &self.data,
            "--config",
            &self.config,
        ];
        json(&[&train[..], more].concat())
    }

    fn search(&self, out: &str, more: &[&str]) -> Value {
        let out = self.path(out);
        let search = [
            "search",
            "--data",
            &self.data,
            "--config",
            &self.config,
            "--out",
            &out,
        ];
        json(&[&search[..], more].concat())
    }

    /// The facts of a run without times, in the order in which runs compare.
    fn facts(&self, out: &str) -> Vec<Value> {
        let journal = fs::read_to_string(Path::new(&self.path(out)).join("journal.jsonl")).unwrap();
        let mut facts: Vec<Value> = journal
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|fact: &Value| fact["event"] != "run")
            .collect();
        for fact in &mut facts {
            let fact = fact.as_object_mut().unwrap();
            fact.remove("timing");
            fact.remove("crc32");
        }
        facts.sort_by_key(|fact| {
            let number = fact.get("sample").unwrap_or(&fact["batch"]).as_u64();
            (fact["event"].to_string(), number)
        });
        facts
    }
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

// paper P8.6
#[test]
fn what_train_saves_eval_finds_again() {
    let place = Place::new();
    let saved = place.path("w.safetensors");
    let trained = place.train(
        "cell-published.json",
        &["--epochs", "8", "--save", &saved, "--log-steps", "--test"],
    );
    let epochs = trained["epochs"].as_array().unwrap();
    // The recipe: a constant rate for six epochs, then divided by 1.2 each time.
    for (number_, epoch) in epochs.iter().enumerate() {
        let rate = 0.8 / 1.2f64.powi((number_ as i32 - 5).max(0));
        assert!(
            (number(&epoch["learning_rate"]) - rate).abs() < 1e-12,
            "{epoch}"
        );
        for (loss, perplexity) in [
            ("train_loss", "train_perplexity"),
            ("validation_loss", "validation_perplexity"),
        ] {
            let apart = number(&epoch[loss]).exp() - number(&epoch[perplexity]);
            assert!(apart.abs() < 1e-9, "{epoch}");
        }
        assert!(number(&epoch["words_per_second"]) > 0.0);
        let n_steps = trained["step_losses"].as_array().unwrap().len() / 8;
        let steps = &trained["step_losses"].as_array().unwrap()[n_steps * number_..][..n_steps];
        let mean = steps.iter().map(number).sum::<f64>() / n_steps as f64;
        assert!((mean - number(&epoch["train_loss"])).abs() < 1e-9);
    }
    let first = number(&epochs[0]["train_loss"]);
    let last = number(&epochs[7]["train_loss"]);
    assert!(last < 0.8 * first, "it learns: {first}, then {last}");
    assert_eq!(
        trained["validation_perplexity"],
        epochs[7]["validation_perplexity"]
    );
    assert_eq!(trained["hidden"], 6);
    // 7 words: embedding and decoder, 2 layers of 8 leaves, the decoder's bias.
    assert_eq!(trained["parameters"], 2 * 7 * 6 + 2 * 2 * 8 * 36 + 7);

    // One stream: every token of the part but the first is predicted.
    let corpus = Corpus::open(
        Path::new(&place.data),
        Level::Word,
        Some(7),
        &place.folder.path().join("cache"),
    );
    let corpus = corpus.unwrap();
    for (split, part) in [
        ("validation", TextPart::Validation),
        ("test", TextPart::Test),
    ] {
        let eval = [
            "eval",
            "--weights",
            &saved,
            "--data",
            &place.data,
            "--split",
            split,
        ];
        let found = json(&eval);
        assert_eq!(found["split"], split);
        assert_eq!(found["tokens"], corpus.tokens(part).len() - 1);
        let apart = number(&found["loss"]).exp() - number(&found["perplexity"]);
        assert!(apart.abs() < 1e-9, "{found}");
        match split {
            "test" => assert_eq!(found["perplexity"], trained["test_perplexity"]),
            // Rows side by side leave some tokens out: near, not equal.
            _ => {
                let ratio =
                    number(&found["perplexity"]) / number(&trained["validation_perplexity"]);
                assert!((0.8..1.25).contains(&ratio), "{found}");
            }
        }
    }

    // What is saved is a beginning too, and the same twice.
    let more = ["--init", &saved, "--learning-rate", "1e-9", "--epochs", "1"];
    let again = place.train("cell-published.json", &more);
    assert_eq!(
        again["validation_perplexity"],
        trained["validation_perplexity"]
    );
    let other = place.path("again.safetensors");
    place.train(
        "cell-published.json",
        &["--epochs", "8", "--save", &other, "--threads", "3"],
    );
    assert_eq!(fs::read(&saved).unwrap(), fs::read(&other).unwrap());
}

/// Dropout, tied embeddings, a budget in place of a size, characters.
#[test]
fn switches_of_the_language_model() {
    let place = Place::new();
    let plain = place.train("cell-lstm.json", &[]);
    let dropped = place.train("cell-lstm.json", &["--dropout", "0.5"]);
    let sized = place.train("cell-lstm.json", &["--hidden", "5"]);
    assert_ne!(
        plain["epochs"][0]["train_loss"],
        dropped["epochs"][0]["train_loss"]
    );
    assert_eq!(
        (&plain["hidden"], &sized["hidden"]),
        (&value!(6), &value!(5))
    );
    assert!(plain["test_perplexity"].is_null());

    let parameters = |hidden: u64| 2 * 7 * hidden + 2 * 4 * hidden * (2 * hidden + 1) + 7;
    assert_eq!(plain["parameters"], parameters(6));
    let file_of = |name: &str, lines: &str| {
        let settings = "[search]\npreset = \"cell-sample\"\n[data]\nvocabulary = 7\n\
                        [train]\nepochs = 1\nbatch = 4\nsteps = 6\n";
        file(place.folder.path(), name, format!("{settings}{lines}"))
    };
    let with = |config: &str, more: &[&str]| {
        let cell = example("cell-lstm.json");
        let train = [
            "train",
            "--arch",
            &cell,
            "--data",
            &place.data,
            "--config",
            config,
        ];
        json(&[&train[..], more].concat())
    };
    // A budget takes the place of the preset's size, and a size that of a budget.
    let budget = file_of(
        "budget.toml",
        &format!("parameters = {}\n", parameters(4) + 1),
    );
    assert_eq!(with(&budget, &[])["hidden"], 4);
    assert_eq!(with(&budget, &["--hidden", "3"])["hidden"], 3);
    let tied = file_of(
        "tied.toml",
        "tied = true\nvariational = true\ndropout = 0.3\nhidden = 6\n",
    );
    let saved = place.path("tied.safetensors");
    let trained = with(&tied, &["--save", &saved, "--test"]);
    assert_eq!(trained["parameters"], parameters(6) - 7 * 6);
    let found = json(&[
        "eval",
        "--weights",
        &saved,
        "--data",
        &place.data,
        "--split",
        "test",
    ]);
    assert_eq!(found["perplexity"], trained["test_perplexity"]);

    let saved = place.path("char.safetensors");
    let trained = with(&budget, &["--level", "char", "--save", &saved]);
    let epoch = &trained["epochs"][0];
    let bits = number(&epoch["validation_bits_per_character"]);
    assert!((bits - number(&epoch["validation_loss"]) / 2f64.ln()).abs() < 1e-12);
    let found = json(&["eval", "--weights", &saved, "--data", &place.data]);
    let bits = number(&found["bits_per_character"]);
    assert!((bits - number(&found["loss"]) / 2f64.ln()).abs() < 1e-12);
    let written = json(&["sample", "--weights", &saved, "--tokens", "50"]);
    assert_eq!(
        written["text"]
            .as_str()
            .unwrap()
            .replace("<unk>", "?")
            .chars()
            .count(),
        50
    );
}

#[test]
fn a_trained_cell_writes_text() {
    let place = Place::new();
    let saved = place.path("w.safetensors");
    place.train("cell-lstm.json", &["--epochs", "20", "--save", &saved]);
    let sample = |more: &[&str]| {
        let sample = ["sample", "--weights", &saved, "--tokens", "40"];
        json(&[&sample[..], more].concat())["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let drawn = sample(&[]);
    let n_tokens = drawn.split_whitespace().count() + drawn.matches('\n').count();
    assert_eq!(n_tokens, 40, "{drawn}");
    assert_eq!(drawn, sample(&["--seed", "0"]));
    assert_ne!(drawn, sample(&["--seed", "1"]));
    let begun = sample(&["--prompt", "a b zebra", "--temperature", "0"]);
    assert!(begun.starts_with("a b zebra "), "{begun}");
    assert_eq!(
        begun,
        sample(&["--prompt", "a b zebra", "--temperature", "0", "--seed", "9"])
    );

    let wrong = |more: &[&str], words: &[&str]| {
        refused(
            &[&["sample", "--weights", &saved], more].concat(),
            2,
            "usage",
            words,
        );
    };
    wrong(&["--tokens", "0"], &["--tokens", "from 1"]);
    wrong(&["--temperature", "-1"], &["--temperature", "0 or more"]);
    wrong(&["--temperature", "inf"], &["--temperature"]);
    wrong(&["--seed", "-1"], &["--seed"]);
}

#[test]
fn logits_of_a_cell_are_those_that_were_scored() {
    let place = Place::new();
    let (saved, logits) = (place.path("w"), place.path("logits"));
    place.train("cell-lstm.json", &["--epochs", "1", "--save", &saved]);
    let said = json(&[
        "eval",
        "--weights",
        &saved,
        "--data",
        &place.data,
        "--logits",
        &logits,
    ]);
    let (n, _, loss) = super::logits::score(&logits);
    assert_eq!(n as u64, said["tokens"].as_u64().unwrap());
    assert!((loss - number(&said["loss"])).abs() < 1e-5, "{loss} {said}");
}
