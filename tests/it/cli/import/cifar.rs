//! CIFAR-10 and CIFAR-100 as folders and archives, and bad pickles.

use std::fs;
use std::path::Path;

use std::io::Read;

use flate2::read::GzDecoder;

use super::super::{file, json, text};
use super::{HUNDRED, Place, REPICKLED, TEN, members};

/// A folder with the files.
fn unpacked(archive: &[u8], folder: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in members(archive) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    text(folder)
}

/// The binary layout that the made-up pickles stand for.
fn binary(batch: usize, labels: &[u8], n_labels: usize) -> Vec<u8> {
    let record = |i: usize| {
        let pixels = (0..3072).map(move |j| (31 * batch + 7 * i + j / 5) as u8);
        labels[i * n_labels..][..n_labels]
            .iter()
            .copied()
            .chain(pixels)
    };
    (0..4).flat_map(record).collect()
}

#[test]
fn cifar_10_from_wherever_it_is() {
    let place = Place::new();
    let root = place.0.path();
    let archive = file(root, "cifar-10-python.tar.gz", TEN);
    let mut plain = Vec::new();
    GzDecoder::new(TEN).read_to_end(&mut plain).unwrap();
    let tar = file(root, "any.tar", plain);
    let python = unpacked(TEN, &root.join("root/cifar-10-batches-py"));
    fs::copy(&archive, root.join("root/cifar-10-python.tar.gz")).unwrap();
    let bin = root.join("bin");
    fs::create_dir(&bin).unwrap();
    for batch in 0..6 {
        let name = if batch == 0 {
            "test_batch.bin".into()
        } else {
            format!("data_batch_{batch}.bin")
        };
        let labels: Vec<u8> = (0..4).map(|i| ((batch + 3 * i) % 10) as u8).collect();
        fs::write(bin.join(name), binary(batch, &labels, 1)).unwrap();
    }
    let class_names: String = (0..10).map(|i| format!("class {i}\n")).collect();
    file(&bin, "batches.meta.txt", class_names + "\n");
    for (i, from) in [archive, tar, python, text(&root.join("root")), text(&bin)]
        .iter()
        .enumerate()
    {
        let out = text(&root.join(format!("out-{i}")));
        let imported = json(&["data", "import", "cifar10", from, "--out", &out]);
        assert_eq!(
            (&imported["training"], &imported["test"]),
            (&20.into(), &4.into()),
            "{from}"
        );
        assert_eq!(imported["class_counts"][9]["name"], "class 9");
        for name in ["data_batch_1.bin", "data_batch_5.bin", "test_batch.bin"] {
            assert_eq!(
                fs::read(root.join(&out).join(name)).unwrap(),
                fs::read(bin.join(name)).unwrap()
            );
        }
        let verified = json(&["data", "verify", &out]);
        assert_eq!(verified["files"][0]["official"], false, "made up");
    }
}

#[test]
fn cifar_100_has_two_kinds_of_labels() {
    let place = Place::new();
    let root = place.0.path();
    let archive = file(root, "cifar-100-python.tar.gz", HUNDRED);
    let python = unpacked(HUNDRED, &root.join("cifar-100-python"));
    let bin = root.join("bin");
    fs::create_dir(&bin).unwrap();
    for (batch, name) in ["test.bin", "train.bin"].iter().enumerate() {
        // Coarse, then fine.
        let labels: Vec<u8> = (0..4)
            .flat_map(|i| [20, 100].map(|n| ((batch + 3 * i) % n) as u8))
            .collect();
        fs::write(bin.join(name), binary(batch, &labels, 2)).unwrap();
    }
    for (kind, n) in [("fine", 100), ("coarse", 20)] {
        let lines: Vec<String> = (0..n).map(|i| format!("{kind} {i}")).collect();
        file(&bin, &format!("{kind}_label_names.txt"), lines.join("\n"));
    }
    for (kind, n) in [("fine", 100), ("coarse", 20)] {
        let mut records = Vec::new();
        for from in [&archive, &python, &text(root), &text(&bin)] {
            let out = text(&root.join(format!("out-{kind}-{}", records.len())));
            let flags: &[&str] = if n == 100 {
                &[]
            } else {
                &["--labels", "coarse"]
            };
            let imported =
                json(&[&["data", "import", "cifar100", from, "--out", &out], flags].concat());
            assert_eq!(imported["classes"].as_object().unwrap().len(), n);
            assert_eq!(
                imported["class_counts"][n - 1]["name"],
                format!("{kind} {}", n - 1)
            );
            records.push(fs::read(Path::new(&out).join("data_batch_1.bin")).unwrap());
        }
        assert!(records.iter().all(|bytes| *bytes == records[0]));
        assert_eq!(records[0].len(), 4 * 3073);
    }
}

#[test]
fn bad_batches_end_in_words() {
    let batches = members(REPICKLED);
    for (name, words) in [
        ("evil-label", "names posix.system, which is no array"),
        ("masked", "names numpy.ma.core._mareconstruct"),
        ("floats", "`data` does not hold unsigned bytes"),
        ("rows", "`data` is [4, 3071], not [n, 3072]"),
        ("flat", "`data` is [12288], not [n, 3072]"),
        ("few-labels", "`data` holds 4 images, `labels` 2 labels"),
        ("text-labels", "`labels` is no list of whole numbers"),
        ("large-label", "has the label 300 for image 0"),
        ("negative-label", "has the label -1 for image 0"),
        ("no-data", "has no `data`"),
        ("list", "but not of a dictionary"),
    ] {
        let place = Place::new();
        let folder = unpacked(TEN, &place.0.path().join("from"));
        let (_, bytes) = batches.iter().find(|(member, _)| member == name).unwrap();
        file(Path::new(&folder), "data_batch_3", bytes);
        place.fails(&["cifar10", &folder], 3, "from/data_batch_3: ");
        place.fails(&["cifar10", &folder], 3, words);
    }
    let place = Place::new();
    let folder = unpacked(TEN, &place.0.path().join("from"));
    fs::remove_file(Path::new(&folder).join("data_batch_2")).unwrap();
    fs::remove_file(Path::new(&folder).join("batches.meta")).unwrap();
    place.fails(
        &["cifar10", &folder],
        3,
        "lacks data_batch_2, batches.meta; restore",
    );
    place.fails(
        &["cifar100", &folder],
        3,
        &format!(
            "holds CIFAR-10, not CIFAR-100; import it with nas-engine data import cifar10 {folder} --out DIR"
        ),
    );
    place.fails(&["cifar10", "/absent"], 3, "cannot read /absent");
    place.fails(
        &["cifar10", "/dev/zero"],
        3,
        "neither a folder nor a regular file",
    );
    place.fails(&["cifar10", &text(place.0.path())], 3, "holds no CIFAR-10");
    let binary_folder = place.0.path().join("bin");
    fs::create_dir(&binary_folder).unwrap();
    for name in [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ] {
        file(&binary_folder, &format!("{name}.bin"), [9; 2 * 3073]);
    }
    file(&binary_folder, "batches.meta.txt", "a\nb\n");
    let folder = text(&binary_folder);
    place.fails(
        &["cifar10", &folder],
        3,
        "record 0 has the label 9, but 2 classes are named",
    );
    file(&binary_folder, "data_batch_4.bin", [9; 3074]);
    place.fails(
        &["cifar10", &folder],
        3,
        "bin/data_batch_4.bin: ends at byte 3074 within record 1, after 1 of 3073",
    );
}
