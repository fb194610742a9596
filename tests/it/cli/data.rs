//! `data`: a text and a folder of images shown and checked, and the import of a licensed text.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{data_folder, example, file, json, nas, object, program, run, text};

/// The program with its cache below a folder.
fn cached(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.env("NAS_ENGINE_CACHE_DIR", folder.join("cache"));
    command.args(arguments);
    command
}

fn cached_json(folder: &Path, arguments: &[&str]) -> Value {
    let ended = run(cached(folder, arguments).arg("--json"));
    assert_eq!(ended.code, 0, "{ended:?}");
    object(&ended)
}

/// A small text in the Penn Treebank's layout.
fn small_text() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "ptb.train.txt", " a b a \n a <unk> \n");
    file(folder.path(), "ptb.valid.txt", " a c \n");
    file(folder.path(), "ptb.test.txt", " b c c \n");
    folder
}

#[test]
fn a_text_is_shown() {
    let folder = small_text();
    let path = text(folder.path());
    for arguments in [
        &["data", "show", &path][..],
        &["data", "show", "--data", &path, "--level", "word"],
        &["data", "verify", &path, "--space", "conv"],
    ] {
        let shown = cached_json(folder.path(), arguments);
        assert_eq!(shown["kind"], "text");
        assert_eq!(shown["layout"], "ptb");
        assert_eq!(shown["level"], "word");
        assert_eq!(shown["vocabulary"], 4, "a b <eos> <unk>");
        let parts = &shown["parts"];
        assert_eq!(parts["training"]["tokens"], 7);
        assert_eq!(parts["training"]["lines"], 2);
        assert_eq!(parts["validation"]["unknown"], 1);
        assert_eq!(parts["test"]["unknown_share"], 0.5);
    }
    let limited = ["data", "show", &path, "--vocabulary", "2"];
    let shown = cached_json(folder.path(), &limited);
    assert_eq!(shown["vocabulary"], 2, "a <unk>");
    let characters = ["data", "show", &path, "--level", "char"];
    let shown = cached_json(folder.path(), &characters);
    assert_eq!(shown["parts"]["test"]["tokens"], 8);
    assert_eq!(shown["parts"]["test"]["unknown"], 2);
    let words = run(&mut cached(folder.path(), &["data", "verify", &path]));
    for expected in [
        "ptb.{train,valid,test}.txt",
        "none that is known",
        "50.00 %",
    ] {
        assert!(words.stdout.contains(expected), "{}", words.stdout);
    }
}

#[test]
fn level_and_vocabulary_are_settings() {
    let folder = small_text();
    let path = text(folder.path());
    let settings = "[data]\nlevel = \"char\"\nvocabulary = 3\n";
    let settings = file(folder.path(), "settings.toml", settings);
    let arguments = ["data", "show", &path, "--config", &settings];
    let shown = cached_json(folder.path(), &arguments);
    assert_eq!(
        (&shown["level"], &shown["vocabulary"]),
        (&"char".into(), &3.into())
    );
    let shown = cached_json(
        folder.path(),
        &[&arguments[..], &["--level", "word"]].concat(),
    );
    assert_eq!(shown["level"], "word");
    let wrong = file(folder.path(), "wrong.toml", "[data]\nlevel = \"letter\"\n");
    let ended = nas(&["data", "show", &path, "--config", &wrong]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("word, char"), "{ended:?}");
}

#[test]
fn files_are_verified() {
    let folder = small_text();
    let path = text(folder.path());
    let verified = cached_json(folder.path(), &["data", "verify", &path]);
    let files = verified["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    // printf ' b c c \n' | sha256sum
    let digest = "34b2e68458e66eeb1a21127f46f67ca68c2634d62b993a9580c8c157a7c7f7fb";
    let test = serde_json::json!({"name": "ptb.test.txt", "bytes": 8, "records": 1,
        "sha256": digest, "md5": "40ed5c56cbc85b741c995240c5aee48d", "official": false});
    assert_eq!(files[2], test);
    assert!(verified["corpus"].is_null() && verified["known_by"].is_null());

    let book = file(folder.path(), "book.txt", "a b c d ".repeat(20));
    let verified = cached_json(folder.path(), &["data", "verify", &book]);
    assert_eq!(verified["layout"], "file");
    assert!(verified["files"][0]["official"].is_null());
    assert!(verified["parts"]["training"]["lines"].is_null());
    assert_eq!(verified["parts"]["validation"]["tokens"], 4);
}

/// WikiText is known by its lines: 36,718, 3,760 and 4,358.
#[test]
fn a_text_may_be_known_by_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    for (part, lines) in [("train", 36_718), ("valid", 3_760), ("test", 4_358)] {
        file(
            folder.path(),
            &format!("wiki.{part}.tokens"),
            "a\n".repeat(lines),
        );
    }
    let path = text(folder.path());
    let verified = cached_json(folder.path(), &["data", "verify", &path]);
    assert_eq!(verified["corpus"], "WikiText-2");
    assert_eq!(verified["known_by"], "lines");
    assert!(verified["files"][0]["official"].is_null());
}

#[test]
fn images_are_verified_too() {
    let folder = data_folder(40, 10);
    file(folder.path(), "data_batch_2.bin", [7; 3073]);
    let verified = json(&["data", "verify", &text(folder.path())]);
    assert_eq!(verified["kind"], "images");
    let files = verified["files"].as_array().unwrap();
    let names: Vec<_> = files
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"]
    );
    assert_eq!(files[1]["records"], 1);
    assert_eq!(files[1]["official"], false);
    assert_eq!(verified["classes"]["7"], 4 + 1 + 1);
    let shown = json(&[
        "data",
        "show",
        "--data",
        &text(folder.path()),
        "--limit",
        "20",
    ]);
    assert_eq!(
        (&shown["training"], &shown["test"]),
        (&20.into(), &4.into())
    );
    assert!(shown["files"].is_null());
}

#[test]
fn the_bundled_samples_are_shown_without_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let shown = cached_json(folder.path(), &["data", "verify"]);
    assert_eq!(
        (&shown["kind"], &shown["training"]),
        (&"images".into(), &5000.into())
    );
    assert!(shown["files"][0]["official"].is_null());
    let shown = cached_json(folder.path(), &["data", "verify", "--space", "cell"]);
    assert_eq!(shown["kind"], "text");
    assert_eq!(shown["parts"]["training"]["tokens"], 82_845);
}

#[test]
fn bad_texts_end_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| file(folder.path(), name, content);
    let good = write("good.txt", "a b c d ".repeat(20).as_bytes());
    let empty = write("empty.txt", b"");
    let one = write("one.txt", b"word");
    let bytes = write("bytes.txt", b"good\nbad \xff\n");
    let other = tempfile::tempdir().unwrap();
    file(other.path(), "train.txt", "a b\n");
    file(other.path(), "valid.txt", "c d\n");
    file(other.path(), "test.txt", "a b\n");
    let other_path = text(other.path());
    let neither = tempfile::tempdir().unwrap();
    let neither = text(neither.path());
    let images = data_folder(40, 8);
    let images = text(images.path());
    for (arguments, code, words) in [
        (vec![&*empty], 3, "empty.txt: the training part is empty"),
        (vec![&one], 3, "one.txt: the training part is empty"),
        (vec![&bytes], 3, "bytes.txt: line 2 is not UTF-8"),
        (
            vec![&other_path],
            3,
            "valid.txt: no word of the validation part",
        ),
        (vec![&neither], 3, "neither images"),
        (vec![&good, "--data", &empty], 2, "give one of them"),
        (vec!["/absent"], 3, "it does not exist"),
        (
            vec![&good, "--vocabulary", "0"],
            2,
            "--vocabulary: `data.vocabulary` is 0",
        ),
        (
            vec![&good, "--vocabulary", "1"],
            2,
            "--vocabulary: `data.vocabulary` is 1",
        ),
        (vec![&good, "--vocabulary", "-5"], 2, "--vocabulary"),
        (
            vec![&good, "--level", "letter"],
            2,
            "[possible values: word, char]",
        ),
        (
            vec![&good, "--limit", "20"],
            2,
            "--limit (data.limit) goes with images",
        ),
        (
            vec![&images, "--level", "char"],
            2,
            "--level (data.level) goes with a text",
        ),
    ] {
        for command in ["show", "verify"] {
            let all = [&["data", command][..], &arguments].concat();
            let ended = run(&mut cached(folder.path(), &all));
            assert_eq!(ended.code, code, "{all:?} {ended:?}");
            assert!(ended.stderr.contains(words), "{all:?} {ended:?}");
        }
    }
}

/// What is typed goes before what the environment says, which nobody sees on the line.
#[test]
fn a_path_goes_before_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), "good.txt", "a b c d ".repeat(20));
    let mut show = cached(folder.path(), &["data", "show", &good]);
    let ended = run(show.env("NAS_ENGINE_DATA", "/absent"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("good.txt"), "{ended:?}");
}

/// A convolutional network and a text do not go together, and both are named.
#[test]
fn a_text_is_no_images() {
    let folder = small_text();
    let path = text(folder.path());
    let arch = example("small.json");
    for more in [&["train", "--arch", &arch][..], &["search", "--dry-run"]] {
        let ended = nas(&[more, &["--data", &path]].concat());
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains("is a text"), "{ended:?}");
        let ended = nas(&[more, &["--level", "char"]].concat());
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("--level (data.level) goes with a text"),
            "{ended:?}"
        );
    }
}

#[test]
fn another_text_is_not_imported() {
    let folder = small_text();
    let (path, out) = (text(folder.path()), text(&folder.path().join("out")));
    let ended = nas(&["data", "import", "ptb", &path, "--out", &out]);
    assert_eq!(ended.code, 3, "{ended:?}");
    for words in [
        "ptb.train.txt is not the Penn Treebank's",
        "2 lines, not 42068",
        "--data",
    ] {
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    assert!(!Path::new(&out).exists());
    let ended = nas(&["data", "import", "ptb", &out]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("no ptb.train.txt in"), "{ended:?}");
    assert_eq!(nas(&["data", "import", "imagenet", &path]).code, 2);
}

#[test]
fn a_search_of_sorted_images_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut records = vec![[0; 3073]; 100];
    for (image, record) in records.iter_mut().enumerate() {
        record[0] = (image / 50) as u8;
    }
    file(folder.path(), "data_batch_1.bin", records.concat());
    file(folder.path(), "test_batch.bin", records[0]);
    let data = text(folder.path());
    let dry_run = ["search", "--dry-run", "--limit", "50", "--data", &data];
    let ended = nas(&dry_run);
    assert_eq!(ended.code, 0, "{ended:?}");
    let warning = "every training image is of the class `0`, so there is nothing to learn";
    assert!(ended.stderr.contains(warning), "{ended:?}");
    let arch = example("small.json");
    let train = [
        "train", "--arch", &arch, "--data", &data, "--epochs", "1", "--batch", "10",
    ];
    let ended = nas(&[&train[..], &["--no-shuffle"]].concat());
    let warning = "every validation image is of the class `1`";
    assert!(ended.stderr.contains(warning), "{ended:?}");
    let ended = nas(&train);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.stderr.contains("class"), "{ended:?}");
}
