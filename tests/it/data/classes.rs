//! How many classes there are and what they are called.

use std::fs;
use std::path::Path;

use nas_engine::data::{DataError, Dataset, RECORD_BYTES};
use tempfile::TempDir;

/// A folder of `n_classes` classes, each of which has an image, named by `names`.
fn folder_of(n_classes: usize, names: impl FnOnce(&Path)) -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut records = vec![[0; RECORD_BYTES]; n_classes];
    for (label, record) in records.iter_mut().enumerate() {
        record[0] = label as u8;
    }
    fs::write(dir.path().join("data_batch_1.bin"), records.concat()).unwrap();
    fs::write(dir.path().join("test_batch.bin"), [0; RECORD_BYTES]).unwrap();
    names(dir.path());
    dir
}

#[test]
fn there_are_as_many_classes_as_names() {
    for n_classes in [2, 12, 256] {
        let names = (0..n_classes).map(|label| format!("class {label}"));
        let names: Vec<String> = names.collect();
        let dir = folder_of(n_classes, |dir| {
            let text = format!("\u{feff}{}\n", names.join("\n"));
            fs::write(dir.join("batches.meta.txt"), text).unwrap();
        });
        let data = Dataset::open(dir.path(), None).unwrap();
        assert_eq!(data.classes(), names);
        let (label, _) = data.record(n_classes - 1);
        assert_eq!(usize::from(label), n_classes - 1);
        // One name less, and the last label is no class.
        fs::write(
            dir.path().join("batches.meta.txt"),
            names[..n_classes - 1].join("\n"),
        )
        .unwrap();
        let error = Dataset::open(dir.path(), None).unwrap_err();
        match n_classes {
            2 => assert!(matches!(error, DataError::Names { .. }), "{error:?}"),
            _ => assert!(matches!(error, DataError::Label { .. }), "{error:?}"),
        }
    }
}

#[test]
fn the_file_that_names_too_few_classes_is_told() {
    type Names = fn(&Path);
    let cases: [(Names, &str); 3] = [
        (
            |dir| fs::write(dir.join("dataset.toml"), "classes = [\"a\", \"b\"]").unwrap(),
            "in dataset.toml, in `classes`",
        ),
        (
            |dir| fs::write(dir.join("batches.meta.txt"), "a\nb\n").unwrap(),
            "in batches.meta.txt, one a line",
        ),
        (|_| {}, "in batches.meta.txt, one a line"),
    ];
    for (names, place) in cases {
        let dir = folder_of(11, names);
        let message = Dataset::open(dir.path(), None).unwrap_err().to_string();
        let end = format!("where it has more classes, name all of them {place}");
        assert!(message.ends_with(&end), "{message}");
    }
}

#[test]
fn a_description_names_the_classes_before_all_else() {
    let description = "classes = [\"a\", \"a\", \"b\\nc\"]\ntraining = 3\ntest = 1\nlater = true\n";
    let dir = folder_of(3, |dir| {
        fs::write(dir.join("dataset.toml"), description).unwrap();
        fs::write(dir.join("batches.meta.txt"), "x\ny\n").unwrap();
    });
    let data = Dataset::open(dir.path(), None).unwrap();
    assert_eq!(data.classes(), ["a", "a", "b\nc"]);
    for (from, to, problem) in [
        (
            "training = 3",
            "training = 4",
            "says `training = 4`, but the files hold 3 records",
        ),
        (
            "test = 1",
            "test = 0",
            "says `test = 0`, but the files hold 1 records",
        ),
        ("classes", "names", "missing field `classes`"),
        (
            "\"a\", \"a\", ",
            "",
            "`classes` holds 1 names, not 2 to 256",
        ),
        ("[", "[[", "line 2: missing comma"),
        ("training = 3", "training = ", "line 2: "),
        ("3", "-3", "line 2: invalid value"),
        ("[\"a\", \"a\", ", "7 #", "line 1: invalid type"),
    ] {
        let spoiled = description.replacen(from, to, 1);
        fs::write(dir.path().join("dataset.toml"), &spoiled).unwrap();
        let error = Dataset::open(dir.path(), None).unwrap_err();
        assert!(matches!(error, DataError::Description { .. }), "{error:?}");
        let message = error.to_string();
        let named = message.contains("dataset.toml: ") && message.contains(problem);
        assert!(named && !message.contains('\n'), "{spoiled}{message}");
        let next = "; import the data again, or remove the file";
        assert!(message.ends_with(next), "{spoiled}{message}");
    }
}
