//! IDX files of all names and shapes, and bad ones.

use std::fs;
use std::path::Path;

use nas_engine::data::Dataset;

use super::super::{file, json, program, run, text};
use super::{Place, gz};

fn idx(sizes: &[u32], values: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// Image i is of the grey value i, and its label is i mod 5.
fn grey(n: u8, side: u32) -> (Vec<u8>, Vec<u8>) {
    let pixels = (0..n).flat_map(|i| vec![i; (side * side) as usize]);
    let images = idx(&[u32::from(n), side, side], pixels);
    (images, idx(&[u32::from(n)], (0..n).map(|i| i % 5)))
}

/// Label and, from the middle, colour of each record of a file.
fn middles(folder: &Path, name: &str) -> Vec<(u8, [u8; 3])> {
    let bytes = fs::read(folder.join(name)).unwrap();
    let (records, []) = bytes.as_chunks::<3073>() else {
        panic!("whole records")
    };
    let middle = |record: &[u8; 3073]| {
        (
            record[0],
            [0, 1, 2].map(|plane| record[1 + 1024 * plane + 16 * 33]),
        )
    };
    records.iter().map(middle).collect()
}

#[test]
fn idx_files_of_all_names() {
    let (images, labels) = grey(100, 28);
    let (test_images, test_labels) = grey(20, 28);
    let parts = [&images, &labels, &test_images, &test_labels];
    let packed = parts.map(|part| gz(part));
    let mut last: Option<Vec<u8>> = None;
    for (folder, names, compressed) in [
        (
            "",
            [
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            ],
            false,
        ),
        (
            "",
            [
                "train-images.idx3-ubyte",
                "train-labels.idx1-ubyte",
                "t10k-images.idx3-ubyte",
                "t10k-labels.idx1-ubyte",
            ],
            false,
        ),
        (
            "MNIST/raw",
            [
                "train-images-idx3-ubyte.gz",
                "train-labels-idx1-ubyte.gz",
                "t10k-images-idx3-ubyte.gz",
                "t10k-labels-idx1-ubyte.gz",
            ],
            true,
        ),
        (
            "",
            [
                "emnist-x-train-images-idx3-ubyte.gz",
                "emnist-x-train-labels-idx1-ubyte.gz",
                "emnist-x-test-images-idx3-ubyte.gz",
                "emnist-x-test-labels-idx1-ubyte.gz",
            ],
            true,
        ),
    ] {
        let place = Place::new();
        let from = place.0.path().join("from");
        fs::create_dir_all(from.join(folder)).unwrap();
        for (i, name) in names.iter().enumerate() {
            let bytes = if compressed { &packed[i] } else { parts[i] };
            fs::write(from.join(folder).join(name), bytes).unwrap();
        }
        let imported = json(&["data", "import", "idx", &text(&from), "--out", &place.out()]);
        assert_eq!(imported["training"], 100);
        assert_eq!(imported["test"], 20);
        assert_eq!(imported["classes"]["4"], 24);
        assert_eq!(
            imported["class_counts"][3],
            serde_json::json!({"label": 3, "name": "3", "count": 24})
        );
        assert_eq!(imported["skipped"], serde_json::json!([]));
        let out = Path::new(&place.out()).to_owned();
        let records = middles(&out, "data_batch_1.bin");
        assert!(
            records
                .iter()
                .all(|&(label, [r, g, b])| label == r % 5 && r == g && g == b)
        );
        let in_order: Vec<u8> = records.iter().map(|record| record.1[0]).collect();
        let mut sorted = in_order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100) && !in_order.is_sorted());
        let toml = fs::read_to_string(out.join("dataset.toml")).unwrap();
        assert!(
            toml.contains("fit = \"pad\"") && toml.contains("training = 100"),
            "{toml}"
        );
        let bytes = fs::read(out.join("data_batch_1.bin")).unwrap();
        // 2 of zeros around, and the same bytes from all layouts.
        assert!(bytes[1..1 + 66].iter().all(|&byte| byte == 0));
        assert!(last.is_none_or(|last| last == bytes));
        last = Some(bytes);
    }
}

#[test]
fn two_files_of_any_name_are_split() {
    let place = Place::new();
    let (images, labels) = grey(100, 32);
    let images = file(
        place.0.path(),
        "pictures",
        [gz(&images), vec![0; 77]].concat(),
    );
    let labels = file(place.0.path(), "what they are", labels);
    let imported = json(&[
        "data",
        "import",
        "idx",
        &labels,
        &images,
        "--out",
        &place.out(),
    ]);
    assert_eq!(
        (&imported["training"], &imported["test"]),
        (&90.into(), &10.into())
    );
    let mut tests = Vec::new();
    for (seed, share, n_test) in [("0", "0.1", 10), ("1", "0.1", 10), ("0", "0.25", 25)] {
        let out = text(&place.0.path().join(format!("out-{seed}-{share}")));
        let more = ["--out", &out, "--split-seed", seed, "--test-share", share];
        json(&[&["data", "import", "idx", &images, &labels], &more[..]].concat());
        let test = middles(Path::new(&out), "test_batch.bin");
        for class in 0..5 {
            assert_eq!(
                test.iter().filter(|record| record.0 == class).count(),
                n_test / 5
            );
        }
        let train = middles(Path::new(&out), "data_batch_1.bin");
        let mut all: Vec<u8> = train
            .iter()
            .chain(&test)
            .map(|record| record.1[0])
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
        tests.push(test);
    }
    assert_eq!(tests[0], middles(Path::new(&place.out()), "test_batch.bin"));
    assert_ne!(tests[0], tests[1]);
}

#[test]
fn colours_and_gaps_between_labels() {
    let place = Place::new();
    let values = (0..40u8).flat_map(|i| [i, i + 50, i + 100].repeat(30 * 20));
    let images = file(place.0.path(), "images", idx(&[40, 30, 20, 3], values));
    let labels = file(
        place.0.path(),
        "labels",
        idx(&[40], (0..40).map(|i| 1 + i % 3)),
    );
    let arguments = [
        "data",
        "import",
        "idx",
        &images,
        &labels,
        "--out",
        &place.out(),
    ];
    let ended = run(program().args(arguments));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("no image has the label 0"),
        "{ended:?}"
    );
    let data = Dataset::open(Path::new(&place.out()), None).unwrap();
    assert_eq!(data.classes(), ["0", "1", "2", "3"]);
    for (label, [r, g, b]) in middles(Path::new(&place.out()), "data_batch_1.bin") {
        assert_eq!((label, g, b), (1 + r % 3, r + 50, r + 100));
    }
}

#[test]
fn bad_idx_files_end_in_words() {
    let place = Place::new();
    let dir = place.0.path().to_owned();
    let (images, labels) = grey(20, 28);
    let write = |name: &str, bytes: &[u8]| file(&dir, name, bytes);
    let (good, good_labels) = (write("images", &images), write("labels", &labels));
    let fails = |files: &[&str], words: &str| place.fails(&[&["idx"], files].concat(), 3, words);
    for (name, bytes, words) in [
        (
            "cut",
            images[..5000].to_vec(),
            "cut: is cut short: by its header it has 15,696 bytes",
        ),
        ("cut-gz", gz(&images)[..60].to_vec(), "cut-gz: ends early"),
        (
            "packed-cut",
            gz(&images[..5000]),
            "ends at byte 5000, after 6 of the 20 items",
        ),
        (
            "long",
            [&images[..], &[0]].concat(),
            "long: goes on after byte 15696",
        ),
        (
            "header",
            images[..9].to_vec(),
            "ends at byte 9, within the header",
        ),
        ("empty", vec![], "ends at byte 0, within the header"),
        (
            "floats",
            [&[0, 0, 13, 3], &images[4..]].concat(),
            "holds 32-bit floats (byte 2), not unsigned bytes",
        ),
        (
            "text",
            b"a text".to_vec(),
            "begins with the bytes [97, 32, 116, 101]",
        ),
        (
            "packed",
            b"BZh91AY&SY".to_vec(),
            "is compressed by bzip2; unpack it with bunzip2",
        ),
        ("none", idx(&[0, 28, 28], []), "holds 0 images"),
        (
            "channels",
            idx(&[20, 3, 8, 8], vec![0; 20 * 192]),
            "[height, width, 3]",
        ),
        ("more", grey(21, 28).0, "holds 20 labels, but"),
        (
            "huge",
            idx(&[20, 70_000, 1], vec![0; 9]),
            "sides of 1 to 4096",
        ),
        ("lies", idx(&[u32::MAX, 28, 28], vec![0; 9]), "but"),
    ] {
        fails(&[&write(name, &bytes), &good_labels], words);
    }
    fails(
        &[&good, &write("same", &idx(&[20], [3; 20]))],
        "every label is 3",
    );
    fails(
        &[
            &good,
            &write("crc", &{
                let mut bytes = gz(&labels);
                let end = bytes.len() - 8;
                bytes[end] ^= 1;
                bytes
            }),
        ],
        "crc: is damaged",
    );
    // Nothing is reserved for images that a header says are there.
    let n = (1 << 28) + 1;
    fails(
        &[
            &write("many-images", &idx(&[n, 1, 1], [0; 9])),
            &write("many-labels", &idx(&[n], [0; 9])),
        ],
        "holds 268,435,457 images; at most 268,435,456",
    );
    fails(&[&good], "the labels to the images in");
    fails(&[&good_labels], "the images to the labels in");
    fails(&["/absent"], "cannot read /absent");
    fails(
        &["/dev/zero", &good_labels],
        "/dev/zero: is no regular file",
    );
    fails(&[&text(&dir)], "holds no IDX files");
    let large = write("large", &idx(&[20, 40, 40], vec![0; 20 * 1600]));
    fails(
        &[&large, &good_labels, "--fit", "pad"],
        "--fit resize or crop",
    );
    for (flag, value) in [
        ("--test-share", "0"),
        ("--test-share", "1"),
        ("--test-share", "nan"),
        ("--fit", "stretch"),
    ] {
        place.fails(&["idx", &good, &good_labels, flag, value], 2, flag);
    }
    let several = dir.join("several");
    fs::create_dir(&several).unwrap();
    for set in ["emnist-letters", "emnist-digits"] {
        file(&several, &format!("{set}-train-images-idx3-ubyte"), &images);
        file(&several, &format!("{set}-train-labels-idx1-ubyte"), &labels);
    }
    fails(
        &[&text(&several)],
        "several data sets (`emnist-digits`, `emnist-letters`)",
    );
    fs::create_dir(dir.join("out")).unwrap();
    file(&dir.join("out"), "file", "mine");
    place.fails(&["idx", &good, &good_labels], 2, "is there already");
}
