//! Folders in the CIFAR-10 binary layout: order, limit, digest, and every way to be wrong.

use std::fs;
use std::path::Path;

use nas_engine::data::{DataError, Dataset, RECORD_BYTES};
use tempfile::TempDir;

/// `n` records whose first pixels hold their number, from `first` on.
fn records(first: u16, n: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in first..first + n {
        let mut record = [0; RECORD_BYTES];
        record[0] = (number % 10) as u8;
        record[1..3].copy_from_slice(&number.to_be_bytes());
        bytes.extend(record);
    }
    bytes
}

/// A folder of 30 + 20 training and 12 test records.
pub fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("data_batch_1.bin"), records(0, 30)).unwrap();
    fs::write(dir.path().join("data_batch_2.bin"), records(30, 20)).unwrap();
    fs::write(dir.path().join("test_batch.bin"), records(50, 12)).unwrap();
    dir
}

fn numbers(data: &Dataset) -> Vec<(u8, u16)> {
    (0..data.n_train() + data.n_test())
        .map(|index| data.record(index))
        .map(|(label, image)| (label, u16::from_be_bytes([image[0], image[1]])))
        .collect()
}

#[test]
fn records_come_in_the_order_of_the_files() {
    let dir = folder();
    for (number, first) in (3..=11).zip((1_000..).step_by(5)) {
        fs::write(
            dir.path().join(format!("data_batch_{number}.bin")),
            records(first, 5),
        )
        .unwrap();
    }
    fs::write(dir.path().join("data_batch_1.bin.bak"), "ignored").unwrap();
    let data = Dataset::open(dir.path(), None).unwrap();
    assert_eq!((data.n_train(), data.n_test()), (95, 12));
    let expected: Vec<(u8, u16)> = (0..50)
        .chain(1_000..1_045)
        .chain(50..62)
        .map(|i| ((i % 10) as u8, i))
        .collect();
    assert_eq!(numbers(&data), expected);
    assert_eq!(
        data.classes(),
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
    assert_eq!(
        data.describe(),
        format!("{}, 95 + 12 images", dir.path().display())
    );
}

#[test]
fn a_limit_takes_the_first_records() {
    let dir = folder();
    for (limit, train, test) in [(10, 10, 2), (14, 14, 2), (40, 40, 8), (1_000, 50, 12)] {
        let data = Dataset::open(dir.path(), Some(limit)).unwrap();
        assert_eq!(
            (data.n_train(), data.n_test()),
            (train, test),
            "limit {limit}"
        );
        let expected: Vec<u16> = (0..train as u16).chain(50..50 + test as u16).collect();
        assert!(
            numbers(&data)
                .iter()
                .map(|&(_, number)| number)
                .eq(expected),
            "limit {limit}"
        );
    }
    for limit in [0, 9] {
        let error = Dataset::open(dir.path(), Some(limit)).unwrap_err();
        assert!(matches!(error, DataError::Limit { .. }), "{error:?}");
        assert!(error.to_string().contains("--limit 10"), "{error}");
    }
}

#[test]
fn the_digest_is_of_the_files_whatever_the_limit() {
    use sha2::Digest;
    let dir = folder();
    let whole = [records(0, 50), records(50, 12)].concat();
    let expected: String = sha2::Sha256::digest(&whole)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for limit in [None, Some(10)] {
        assert_eq!(
            Dataset::open(dir.path(), limit).unwrap().sha256(),
            expected,
            "{limit:?}"
        );
    }
}

#[test]
fn class_names_are_read() {
    let dir = folder();
    let names =
        "airplane\nautomobile\r\n\n bird\ncat\ndeer\ndog\nfrog\nhorse\nship\nLkw für Bäume\n\n";
    fs::write(dir.path().join("batches.meta.txt"), names).unwrap();
    let data = Dataset::open(dir.path(), None).unwrap();
    let expected = "airplane automobile bird cat deer dog frog horse ship".split(' ');
    assert!(
        data.classes()
            .iter()
            .map(String::as_str)
            .eq(expected.chain(["Lkw für Bäume"]))
    );
}

/// Spoils a good folder and gives the error that opening it then has.
fn error_after(spoil: impl FnOnce(&Path)) -> (DataError, String) {
    let dir = folder();
    spoil(dir.path());
    let error = Dataset::open(dir.path(), None).unwrap_err();
    let message = error
        .to_string()
        .replace(&dir.path().display().to_string(), "DIR");
    (error, message)
}

#[track_caller]
pub fn assert_starts(message: &str, start: &str) {
    assert!(
        message.starts_with(start),
        "the message is\n  {message}\nand should start\n  {start}"
    );
}

#[test]
fn labels_out_of_range_are_placed() {
    for (file, record, label) in [
        ("data_batch_1.bin", 0, 10),
        ("data_batch_2.bin", 19, 255),
        ("test_batch.bin", 7, 77),
    ] {
        let offset = record * RECORD_BYTES;
        let (error, message) = error_after(|dir| {
            let mut bytes = fs::read(dir.join(file)).unwrap();
            bytes[offset] = label;
            fs::write(dir.join(file), bytes).unwrap();
        });
        assert!(matches!(error, DataError::Label { .. }), "{error:?}");
        assert_starts(
            &message,
            &format!("DIR/{file}: record {record} at byte offset {offset} has label {label}, but"),
        );
    }
}

#[test]
fn the_first_of_many_wrong_labels_is_named() {
    let (_, message) = error_after(|dir| {
        fs::write(dir.join("data_batch_2.bin"), vec![99; 20 * RECORD_BYTES]).unwrap();
    });
    assert_starts(
        &message,
        "DIR/data_batch_2.bin: record 0 at byte offset 0 has label 99",
    );
}

#[test]
fn files_cut_within_a_record_are_placed() {
    let cases = [
        (1, 0, 0, 1),
        (3_072, 0, 0, 3_072),
        (30 * 3_073 - 1, 29, 89_117, 3_072),
    ];
    for (length, record, offset, left) in cases {
        let (error, message) = error_after(|dir| {
            let bytes = records(0, 30);
            fs::write(dir.join("data_batch_1.bin"), &bytes[..length]).unwrap();
        });
        assert!(matches!(error, DataError::CutShort { .. }), "{error:?}");
        assert_starts(
            &message,
            &format!(
                "DIR/data_batch_1.bin: record {record} at byte offset {offset} ends after {left} \
                 of 3073 bytes"
            ),
        );
    }
    let (_, message) = error_after(|dir| {
        fs::write(
            dir.join("test_batch.bin"),
            [records(0, 2), vec![0]].concat(),
        )
        .unwrap();
    });
    assert_starts(
        &message,
        "DIR/test_batch.bin: record 2 at byte offset 6146 ends after 1 of",
    );
}

#[test]
fn empty_files_are_named() {
    for file in ["data_batch_2.bin", "test_batch.bin"] {
        let (error, message) = error_after(|dir| fs::write(dir.join(file), "").unwrap());
        assert!(matches!(error, DataError::Empty { .. }), "{error:?}");
        assert_starts(
            &message,
            &format!("DIR/{file} is empty; copy or download it again"),
        );
    }
}

#[test]
fn missing_files_are_named() {
    let (error, message) = error_after(|dir| fs::remove_file(dir.join("test_batch.bin")).unwrap());
    assert!(matches!(error, DataError::Missing { .. }), "{error:?}");
    assert_starts(&message, "no test_batch.bin in DIR; copy it");

    let (error, message) = error_after(|dir| {
        fs::rename(dir.join("data_batch_2.bin"), dir.join("data_batch_4.bin")).unwrap();
    });
    assert!(matches!(error, DataError::Missing { .. }), "{error:?}");
    assert_starts(
        &message,
        "no data_batch_2.bin in DIR; data_batch_4.bin is there, and",
    );

    let (_, message) = error_after(|dir| fs::remove_file(dir.join("data_batch_1.bin")).unwrap());
    assert_starts(
        &message,
        "no data_batch_1.bin in DIR; data_batch_2.bin is there, and",
    );
}

#[test]
fn files_that_cannot_be_mapped_are_named() {
    for file in ["data_batch_1.bin", "test_batch.bin", "batches.meta.txt"] {
        let (error, message) = error_after(|dir| {
            let _ = fs::remove_file(dir.join(file)); // the names are not there
            fs::create_dir(dir.join(file)).unwrap();
        });
        assert!(matches!(error, DataError::NotAFile { .. }), "{error:?}");
        assert_starts(&message, &format!("DIR/{file} is not a regular file; "));
    }
}

/// Opening a pipe would wait for someone to write to it; `/dev/zero` never ends.
#[cfg(unix)]
#[test]
fn devices_are_not_opened() {
    let (error, message) = error_after(|dir| {
        fs::remove_file(dir.join("data_batch_2.bin")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.join("data_batch_2.bin")).unwrap();
    });
    assert!(matches!(error, DataError::NotAFile { .. }), "{error:?}");
    assert_starts(&message, "DIR/data_batch_2.bin is not a regular file; ");
}

#[test]
fn class_names_that_do_not_serve_are_named() {
    let many = "x\n".repeat(257);
    let long = "x".repeat(70_000);
    let cases: [(&[u8], &str); 5] = [
        (b"", "holds 0 names"),
        (b"cat\n\n", "holds 1 names"),
        (many.as_bytes(), "holds 257 names"),
        (b"cat\nd\xffg\n", "is not UTF-8 at byte 5"),
        (long.as_bytes(), "has 70000 bytes"),
    ];
    for (names, problem) in cases {
        let (error, message) =
            error_after(|dir| fs::write(dir.join("batches.meta.txt"), names).unwrap());
        assert!(matches!(error, DataError::Names { .. }), "{error:?}");
        assert_starts(
            &message,
            &format!("DIR/batches.meta.txt {problem}; it must hold the names of the classes, 2 to"),
        );
    }
}

#[test]
fn files_of_other_formats_are_called_by_their_names() {
    let cifar_100 = [1; 3_074];
    let cases: [(&[u8], &str); 4] = [
        (
            &[0, 0, 8, 3, 0, 0, 0, 1],
            "is an IDX file; import it with nas-engine data import idx DIR",
        ),
        (
            &cifar_100,
            "is a file of CIFAR-100; import it with nas-engine data import cifar100 DIR",
        ),
        (
            b"\x80\x02}q\x01",
            "is a Python pickle; import it with nas-engine data import cifar10 DIR",
        ),
        (
            b"\x1f\x8b\x08",
            "is a gzip archive; import it with nas-engine data import cifar10 DIR",
        ),
    ];
    for (bytes, words) in cases {
        let (error, message) =
            error_after(|dir| fs::write(dir.join("data_batch_2.bin"), bytes).unwrap());
        assert!(matches!(error, DataError::OtherFormat { .. }), "{error:?}");
        assert_starts(&message, &format!("DIR/data_batch_2.bin {words}"));
    }
}
