//! Which folders are classes, which are parts, and what is neither.

use super::*;

/// An import that must fail with exit 3, its words and nothing at `--out`.
fn fails(folder: &Path, dir: &str, words: &str) {
    let (dir, out) = (text(&folder.join(dir)), text(&folder.join("a/b/out")));
    let ended = nas(&["data", "import", "folder", &dir, "--out", &out]);
    assert_eq!(ended.code, 3, "{dir} {ended:?}");
    assert!(ended.stderr.contains(words), "{dir}: {words} {ended:?}");
    assert!(!folder.join("a").exists(), "{dir}");
}

/// A class behind a link that leads nowhere is not lost without a word.
#[test]
fn links_to_classes_that_lead_nowhere_are_bad() {
    let folder = three_classes();
    let fruit = folder.path().join("fruit");
    symlink("/nonexistent", fruit.join("zucchini")).unwrap();
    fails(
        folder.path(),
        "fruit",
        "zucchini: is a link that leads nowhere",
    );
    let result = imported(folder.path(), "out", &["--skip-bad"]);
    assert_eq!(result["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(result["classes"].as_object().unwrap().len(), 3);
    // Of a part, and where too few classes are left.
    let parts = folder.path().join("parts");
    for class in ["train/apple", "train/pear", "test/apple"] {
        super::class(&parts.join(class), 3, 1);
    }
    symlink("/nonexistent", parts.join("test/pear")).unwrap();
    fails(
        folder.path(),
        "parts",
        "test/pear: is a link that leads nowhere",
    );
    let one = folder.path().join("one");
    super::class(&one.join("apple"), 3, 1);
    symlink("/nonexistent", one.join("pear")).unwrap();
    fails(folder.path(), "one", "pear: is a link that leads nowhere");
    let none = folder.path().join("none");
    fs::create_dir(&none).unwrap();
    symlink("/nonexistent", none.join("pear")).unwrap();
    fails(folder.path(), "none", "pear: is a link that leads nowhere");
}

#[test]
fn parts_are_known_in_any_case() {
    let folder = tempfile::tempdir().unwrap();
    let fruit = folder.path().join("fruit");
    for (part, n) in [("Train", 4), ("TEST", 2), ("Val", 1)] {
        class(&fruit.join(part).join("apple"), n, 1);
        class(&fruit.join(part).join("pear"), n, 2);
    }
    let result = imported(folder.path(), "out", &[]);
    assert_eq!(result["classes"], json!({"apple": 7, "pear": 7}));
    assert_eq!(
        (&result["training"], &result["test"]),
        (&json!(10), &json!(4))
    );
    class(&fruit.join("test/pear"), 1, 2);
    fails(folder.path(), "fruit", "join them");
}

#[test]
fn folders_in_the_way_of_parts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let make = |names: &[&str]| {
        for name in names {
            class(&folder.path().join(name), 3, 1);
        }
    };
    make(&["more/Train/apple", "more/Train/pear", "more/test/apple"]);
    make(&["more/test/pear", "more/unlabeled"]);
    fails(
        folder.path(),
        "more",
        "holds `unlabeled` beside `Train`, `test`, which hold folders as parts do; move it elsewhere",
    );
    make(&["untrained/test/apple", "untrained/val/apple"]);
    fails(folder.path(), "untrained", "nothing to train on");
    // Classes of these names hold pictures.
    make(&["fruit/train", "fruit/bus", "fruit/car"]);
    let result = imported(folder.path(), "out", &[]);
    assert_eq!(result["classes"], json!({"bus": 3, "car": 3, "train": 3}));
}

#[test]
fn a_folder_within_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let wrap = folder.path().join("wrap");
    class(&wrap.join("photos/all/apple"), 3, 1);
    class(&wrap.join("photos/all/pear"), 3, 1);
    let inner = text(&wrap.join("photos/all"));
    fails(
        folder.path(),
        "wrap",
        &format!("`photos`, in which there are folders again; import {inner}"),
    );
}

#[test]
fn what_is_no_folder_is_told_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    tar.append_data(&mut header, "apple/1.png", &b""[..])
        .unwrap();
    let tar = tar.into_inner().unwrap();
    for (name, bytes, words) in [
        (
            "photos.tar",
            &tar[..],
            "is an archive; unpack it with tar -xf",
        ),
        (
            "photos.zip",
            b"PK\x03\x04",
            "is a zip archive; unpack it with unzip",
        ),
        ("notes", b"text", "is no folder; give the folder that holds"),
    ] {
        file(folder.path(), name, bytes);
        fails(folder.path(), name, words);
    }
    fails(
        folder.path(),
        "absent",
        "there is nothing of this name; give the folder",
    );
}
