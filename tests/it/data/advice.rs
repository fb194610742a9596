//! What is no folder of data is called by what it is, with the command that imports it.

use std::fs;
use std::path::Path;

use nas_engine::data::{DataError, DataKind, Dataset};
use tempfile::TempDir;

use super::folder::{assert_starts, folder};

#[test]
fn a_folder_without_data_gets_advice_by_what_it_holds() {
    type Fill = fn(&Path);
    let cases: [(Fill, &str); 13] = [
        (|_| {}, "give --data a folder in the CIFAR-10 binary layout"),
        (
            |dir| {
                fs::create_dir(dir.join("cifar-10-batches-bin")).unwrap();
                fs::write(dir.join("cifar-10-batches-bin/data_batch_1.bin"), "").unwrap();
                fs::write(dir.join("cifar-10-binary.tar.gz"), "").unwrap();
            },
            "it is one folder further down: give --data DIR/cifar-10-batches-bin",
        ),
        (
            |dir| fs::write(dir.join("cifar-10-binary.tar.gz"), "").unwrap(),
            "import it with nas-engine data import cifar10 DIR/cifar-10-binary.tar.gz --out DIR",
        ),
        (
            |dir| fs::write(dir.join("cifar-10-python.tar.gz"), "").unwrap(),
            "this is the Python version of CIFAR-10: import it with nas-engine data import cifar10 DIR --",
        ),
        (
            |dir| fs::write(dir.join("data_batch_1"), "").unwrap(),
            "this is the Python version of CIFAR-10: import it with nas-engine data import cifar10 DIR --",
        ),
        (
            |dir| fs::create_dir(dir.join("cifar-10-batches-py")).unwrap(),
            "this is the Python version of CIFAR-10: import it with nas-engine data import cifar10 DIR --",
        ),
        (
            |dir| {
                fs::create_dir(dir.join("cifar-100-python")).unwrap();
                fs::write(dir.join("cifar-100-python.tar.gz"), "").unwrap();
            },
            "import it with nas-engine data import cifar100 DIR --out DIR",
        ),
        (
            |dir| {
                fs::write(dir.join("backup.tar.gz"), "").unwrap();
                fs::write(dir.join("cifar-100-binary.tar.gz"), "").unwrap();
            },
            "import it with nas-engine data import cifar100 DIR/cifar-100-binary.tar.gz --out DIR",
        ),
        (
            |dir| fs::write(dir.join("backup.tar"), "").unwrap(),
            "import it with nas-engine data import cifar10 DIR/backup.tar --out DIR, or cifar100, whichever",
        ),
        (
            |dir| fs::write(dir.join("cifar-10-python.tar.xz"), "").unwrap(),
            "unpack DIR/cifar-10-python.tar.xz, and import what it holds with nas-engine data import cifar10",
        ),
        (
            |dir| {
                for name in ["meta", "test", "train"] {
                    fs::write(dir.join(name), b"\x80\x02}q\x01").unwrap();
                }
            },
            "import it with nas-engine data import cifar100 DIR --out DIR",
        ),
        (
            |dir| {
                let raw = dir.join("MNIST/raw");
                fs::create_dir_all(&raw).unwrap();
                fs::write(raw.join("train-images-idx3-ubyte"), "").unwrap();
            },
            "import it with nas-engine data import idx DIR/MNIST/raw --out DIR",
        ),
        (
            |dir| fs::write(dir.join("my_images.idx.gz"), "").unwrap(),
            "import it with nas-engine data import idx DIR --out DIR",
        ),
    ];
    for (fill, advice) in cases {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        let message = Dataset::open(dir.path(), None).unwrap_err().to_string();
        let message = message.replace(&dir.path().display().to_string(), "DIR");
        assert_starts(&message, &format!("no data_batch_1.bin in DIR; {advice}"));
        // `data show`, which asks what kind of data they are, knows the same of what is imported.
        if let Err(error @ DataError::NeitherKind { .. }) = DataKind::of(dir.path()) {
            let message = error.to_string();
            let message = message.replace(&dir.path().display().to_string(), "DIR");
            let is_imported = advice.starts_with("import") || advice.starts_with("unpack");
            assert!(!is_imported || message.contains(advice), "{message}");
        }
    }
}

#[test]
fn what_is_no_folder_is_told_apart() {
    let dir = folder();
    fs::write(dir.path().join("cifar-10-binary.tar.gz"), "").unwrap();
    fs::write(dir.path().join("cifar-10-binary.tar.xz"), "").unwrap();
    let cases = [
        (
            "nowhere",
            "it does not exist: give --data the folder of the .bin files",
        ),
        (
            "data_batch_1.bin",
            "give --data the folder of the .bin files, not one of the files",
        ),
        (
            "cifar-10-binary.tar.gz",
            "import it with nas-engine data import cifar10",
        ),
        ("cifar-10-binary.tar.xz", "unpack "),
    ];
    for (name, next) in cases {
        let path = dir.path().join(name);
        let error = Dataset::open(&path, None).unwrap_err();
        assert!(matches!(error, DataError::NotAFolder { .. }), "{error:?}");
        let start = format!("{} is not a folder; {next}", path.display());
        assert_starts(&error.to_string(), &start);
    }
}

/// Where a folder is asked for, as by `search --data`, and where either is, as by `data show`.
#[test]
fn a_file_in_place_of_a_folder_is_called_by_its_format() {
    let dir = TempDir::new().unwrap();
    let at = dir.path().display().to_string();
    let cases: [(&str, &[u8], &str); 4] = [
        (
            "a",
            &[0, 0, 8, 3, 0],
            "an IDX file; import it with nas-engine data import idx DIR --out",
        ),
        (
            "b",
            b"\x89PNG\r\n",
            "a picture; import it with nas-engine data import folder",
        ),
        (
            "c.tar.gz",
            b"\x1f\x8b\x08",
            "a gzip archive; import it with nas-engine data import cifar10 DIR/c.tar.gz --out DIR, or cifar100",
        ),
        (
            "cifar-100-python.tar.gz",
            b"\x1f\x8b\x08",
            "a gzip archive; import it with nas-engine data import cifar100 DIR/cifar-100-python.tar.gz --out DIR",
        ),
    ];
    for (name, bytes, words) in cases {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        for error in [Dataset::open(&path, None).err(), DataKind::of(&path).err()] {
            let error = error.unwrap();
            assert!(matches!(error, DataError::OtherFormat { .. }), "{error:?}");
            let message = error.to_string().replace(&at, "DIR");
            assert_starts(&message, &format!("DIR/{name} is {words}"));
        }
    }
}
