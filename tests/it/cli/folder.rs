//! `data import folder` and `data show --sheet`: pictures of the user's own, and all that may be wrong
//! with a folder of them.

mod layout;
mod pictures;
mod stopped;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, data_folder, file, json, nas, object, program, run, text};

/// A PPM of one colour.
fn picture(width: usize, height: usize, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
    bytes.extend(colour.repeat(width * height));
    bytes
}

/// Writes `n` pictures into a new folder; each has a colour of its own, by `first` and its number.
fn class(folder: &Path, n: u8, first: u8) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..n {
        let name = format!("picture {number}.ppm");
        fs::write(folder.join(name), picture(32, 32, [first, number, 9])).unwrap();
    }
}

/// Three classes of 30 pictures.
fn three_classes() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, first) in [("apple", 1), ("pear", 2), ("quince", 3)] {
        class(&folder.path().join("fruit").join(name), 30, first);
    }
    folder
}

fn import(folder: &Path, out: &str, more: &[&str]) -> Ended {
    let (dir, out) = (text(&folder.join("fruit")), text(&folder.join(out)));
    let arguments = ["data", "import", "folder", &dir, "--out", &out, "--json"];
    nas(&[&arguments[..], more].concat())
}

fn imported(folder: &Path, out: &str, more: &[&str]) -> Value {
    let ended = import(folder, out, more);
    assert_eq!(ended.code, 0, "{ended:?}");
    object(&ended)
}

/// The labels and colours of the training and the test records.
fn records(folder: &Path, out: &str) -> [Vec<(u8, [u8; 3])>; 2] {
    ["data_batch_1.bin", "test_batch.bin"].map(|name| {
        let bytes = fs::read(folder.join(out).join(name)).unwrap();
        let (records, rest) = bytes.as_chunks::<3073>();
        assert!(rest.is_empty());
        let record = |r: &[u8; 3073]| (r[0], [r[1 + 512], r[1025 + 512], r[2049 + 512]]);
        records.iter().map(record).collect()
    })
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_of_pictures_becomes_a_data_folder() {
    let folder = three_classes();
    let result = imported(folder.path(), "out", &[]);
    assert_eq!(
        result["classes"],
        json!({"apple": 30, "pear": 30, "quince": 30})
    );
    assert_eq!(
        result["class_counts"][1],
        json!({"label": 1, "name": "pear", "count": 30})
    );
    assert_eq!(
        (&result["training"], &result["test"]),
        (&json!(81), &json!(9))
    );
    assert_eq!(result["skipped"], json!([]));
    let out = folder.path().join("out");
    assert_eq!(result["folder"], text(&out));
    assert_eq!(
        entries(&out),
        [
            "batches.meta.txt",
            "data_batch_1.bin",
            "dataset.toml",
            "test_batch.bin"
        ]
    );
    let [training, test] = records(folder.path(), "out");
    for label in 0..3 {
        let of_class = test.iter().filter(|(found, _)| *found == label);
        assert_eq!(of_class.count(), 3, "a tenth of each class");
    }
    // Every picture once, under its own label, and mixed.
    let mut all = [&training[..], &test].concat();
    assert!(training[..40].iter().any(|(label, _)| *label == 2));
    all.sort();
    let expected = (0..3).flat_map(|c| (0..30).map(move |n| (c, [c + 1, n, 9])));
    assert!(all.into_iter().eq(expected));

    let description = fs::read_to_string(out.join("dataset.toml")).unwrap();
    let description: toml::Table = description.parse().unwrap();
    assert_eq!(description["name"].as_str(), Some("fruit"));
    assert_eq!(description["fit"].as_str(), Some("none"));
    let verified = json(&["data", "verify", &text(&out)]);
    assert_eq!(verified["classes"], result["classes"]);
}

/// Bytes depend on the pictures and their names alone.
#[test]
fn the_same_pictures_give_the_same_bytes() {
    let folder = three_classes();
    let other = three_classes();
    imported(folder.path(), "one", &["--threads", "1"]);
    imported(folder.path(), "five", &["--threads", "5"]);
    imported(other.path(), "elsewhere", &[]);
    let one = records(folder.path(), "one");
    assert!(one == records(folder.path(), "five"));
    assert!(one == records(other.path(), "elsewhere"));
    imported(folder.path(), "seed", &["--split-seed", "1"]);
    imported(folder.path(), "half", &["--test-share", "0.5"]);
    assert!(one[1] != records(folder.path(), "seed")[1]);
    assert_eq!(records(folder.path(), "half")[1].len(), 45);
}

/// What is left out is so as if it had never been there.
#[test]
fn bad_files_are_all_named_or_left_out() {
    let folder = three_classes();
    imported(folder.path(), "clean", &[]);
    let apple = folder.path().join("fruit/apple");
    let bad = [
        file(&apple, "0 notes.txt", "these are apples"),
        file(&apple, "picture 3b.jpg", ""),
        file(&apple, "picture 5b.png", &picture(2, 2, [1; 3])[..17]),
    ];
    let dangling = apple.join("dangling.png");
    symlink("/absent", &dangling).unwrap();
    symlink("..", apple.join("up")).unwrap();
    symlink("self", apple.join("self")).unwrap();
    for passed_over in [".hidden.txt", "Thumbs.db", "desktop.ini", ".DS_Store"] {
        file(&apple, passed_over, "no picture");
    }
    let ended = import(folder.path(), "out", &[]);
    assert_eq!(ended.code, 3, "{ended:?}");
    for words in [
        "6 files",
        "--skip-bad",
        "is empty",
        "is cut short",
        "is no picture",
    ] {
        assert!(ended.stderr.contains(words), "{words} {ended:?}");
    }
    for path in bad.iter().chain([&text(&dangling)]) {
        assert!(ended.stderr.contains(path.as_str()), "{path} {ended:?}");
    }
    for words in [
        "leads nowhere",
        "apple/up: is a link to a folder that it lies in",
        "leads to itself",
    ] {
        assert!(ended.stderr.contains(words), "{words} {ended:?}");
    }
    assert_eq!(entries(folder.path()), ["clean", "fruit"]);
}

#[test]
fn files_that_are_left_out_change_no_other() {
    let folder = three_classes();
    imported(folder.path(), "clean", &[]);
    let apple = folder.path().join("fruit/apple");
    file(&apple, "0 notes.txt", "these are apples");
    file(&apple, "picture 5b.png", &picture(2, 2, [1; 3])[..17]);
    let result = imported(folder.path(), "out", &["--skip-bad"]);
    let skipped = result["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert_eq!(skipped[0]["file"], text(&apple.join("0 notes.txt")));
    assert!(records(folder.path(), "clean") == records(folder.path(), "out"));
    assert_eq!(entries(folder.path()), ["clean", "fruit", "out"]);
}

#[test]
fn parts_are_used_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let fruit = folder.path().join("fruit");
    class(&fruit.join("train/apple"), 8, 1);
    class(&fruit.join("train/pear"), 7, 2);
    class(&fruit.join("val/apple"), 3, 1);
    class(&fruit.join("val/quince/deep/er"), 2, 3);
    let ended = import(folder.path(), "val", &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("no training picture of: quince"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("no test picture of: pear"),
        "{ended:?}"
    );
    let result = object(&ended);
    assert_eq!(
        (&result["training"], &result["test"]),
        (&json!(15), &json!(5))
    );
    assert_eq!(
        result["classes"],
        json!({"apple": 11, "pear": 7, "quince": 2})
    );
    let [_, mut test] = records(folder.path(), "val");
    test.sort();
    assert_eq!(test.last(), Some(&(2, [3, 1, 9])));

    // With a test part the validation part trains.
    class(&fruit.join("test/pear"), 4, 2);
    let ended = import(folder.path(), "test", &[]);
    assert!(
        ended
            .stderr
            .contains("train and val make up the training part"),
        "{ended:?}"
    );
    let result = object(&ended);
    assert_eq!(
        (&result["training"], &result["test"]),
        (&json!(20), &json!(4))
    );
    let ended = import(folder.path(), "share", &["--test-share", "0.2"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("has a test part of its own"),
        "{ended:?}"
    );

    class(&fruit.join("training/pear"), 1, 2);
    let ended = import(folder.path(), "twice", &[]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("join them"), "{ended:?}");
}

#[test]
fn only_a_training_part_is_split() {
    let folder = tempfile::tempdir().unwrap();
    class(&folder.path().join("fruit/train/apple"), 10, 1);
    class(&folder.path().join("fruit/train/pear"), 20, 2);
    let result = imported(folder.path(), "out", &[]);
    assert_eq!(
        (&result["training"], &result["test"]),
        (&json!(27), &json!(3))
    );
}

#[test]
fn folders_that_hold_no_classes_end_in_words() {
    let folder = three_classes();
    let out = text(&folder.path().join("out"));
    let fruit = folder.path().join("fruit");
    let make = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let empty = make("empty");
    let one = make("one");
    class(&one.join("apple"), 3, 1);
    let lone = make("lone");
    class(&lone.join("apple"), 1, 1);
    class(&lone.join("pear"), 1, 1);
    let hollow = make("hollow");
    class(&hollow.join("apple"), 3, 1);
    fs::create_dir_all(hollow.join("pear/deep")).unwrap();
    let spoiled = make("spoiled");
    class(&spoiled.join("apple"), 3, 1);
    fs::create_dir(spoiled.join("pear")).unwrap();
    file(&spoiled.join("pear"), "a.png", "no picture");
    let many = make("many");
    for number in 0..257 {
        fs::create_dir(many.join(format!("class {number}"))).unwrap();
    }
    let flat = make("flat");
    class(&flat.join("train"), 3, 1);
    class(&flat.join("test/apple"), 3, 1);
    let cifar = data_folder(20, 10);
    for (dir, code, words) in [
        (&empty, 3, "holds no class folders; put the pictures"),
        (&one, 3, "one class only, `apple`"),
        (&lone, 3, "no picture is left for the test part"),
        (&hollow, 3, "no picture in the folder of the class `pear`"),
        (&spoiled, 3, "1 file that cannot be used"),
        (&many, 3, "holds 257 class folders"),
        (&flat, 3, "flat/train: holds no class folders"),
        (&folder.path().join("absent"), 3, "nothing of this name"),
        (&fruit.join("apple/picture 0.ppm"), 3, "is no folder"),
        (&cifar.path().to_path_buf(), 3, "holds no class folders"),
    ] {
        let ended = nas(&["data", "import", "folder", &text(dir), "--out", &out]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words} {ended:?}");
        assert!(!Path::new(&out).exists());
    }
    let ended = nas(&[
        "data",
        "import",
        "folder",
        &text(&spoiled),
        "--out",
        &out,
        "--skip-bad",
    ]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("no picture left in the folder of the class `pear`"),
        "{ended:?}"
    );
}

#[test]
fn flags_that_make_no_sense_are_usage() {
    let folder = three_classes();
    class(&folder.path().join("there"), 1, 1);
    for (out, more, words) in [
        ("there", &[][..], "is there already"),
        ("fruit/apple/picture 0.ppm/out", &[], "choose another --out"),
        ("out", &["--test-share", "0"], "above 0 and below 1"),
        ("out", &["--test-share", "1"], "above 0 and below 1"),
        ("out", &["--test-share", "NaN"], "above 0 and below 1"),
        ("out", &["--test-share", "-0.5"], "above 0 and below 1"),
        ("out", &["--split-seed", "-1"], "0 or more"),
        (
            "out",
            &["--fit", "stretch"],
            "[possible values: pad, resize, crop]",
        ),
        ("out", &["--threads", "0"], "from 1 to"),
    ] {
        let ended = import(folder.path(), out, more);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words} {ended:?}");
    }
    assert_eq!(entries(folder.path()), ["fruit", "there"]);
}

#[test]
fn names_that_are_not_utf_8_are_spelled_out() {
    let folder = three_classes();
    let fruit = folder.path().join("fruit");
    class(&fruit.join(OsStr::from_bytes(b"m\xfcsli")), 10, 4);
    let result = imported(folder.path(), "out", &[]);
    assert_eq!(result["class_counts"][1]["name"], r"m\xfcsli");
    let bad = fruit.join("apple").join(OsStr::from_bytes(b"\xff.png"));
    fs::write(bad, "no picture").unwrap();
    let ended = import(folder.path(), "bad", &[]);
    assert_eq!(ended.code, 3);
    assert!(
        ended.stderr.contains(r"apple/\xff.png: is no picture"),
        "{ended:?}"
    );
}
