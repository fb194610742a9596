//! The bundled sample: what it holds, and that the cache folder may be in any state.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nas_engine::data::Dataset;
use tempfile::TempDir;

/// The one folder that is made below `cache`.
fn unpacked(cache: &Path) -> PathBuf {
    let entries: Vec<_> = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [dir] = &entries[..] else {
        panic!("one folder in the cache, not {entries:?}")
    };
    dir.clone()
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_sample_is_balanced_and_padded() {
    let cache = TempDir::new().unwrap();
    let data = Dataset::bundled_in(cache.path(), None).unwrap();
    assert_eq!(
        data.describe(),
        "bundled Fashion-MNIST sample, 5,000 + 1,000 images"
    );
    assert_eq!(
        (data.classes().len(), data.classes()[9].as_str()),
        (10, "Ankle boot")
    );
    let mut counts = [[0; 10]; 2];
    for index in 0..6_000 {
        let (label, image) = data.record(index);
        counts[index / 5_000][usize::from(label)] += 1;
        let (planes, []) = image.as_chunks::<1024>() else {
            unreachable!("3 planes")
        };
        assert!(
            planes[0] == planes[1] && planes[0] == planes[2],
            "record {index} is not grey"
        );
        let (rows, []) = planes[0].as_chunks::<32>() else {
            unreachable!("32 rows")
        };
        for (y, row) in rows.iter().enumerate() {
            let edge = if (2..30).contains(&y) {
                [&row[..2], &row[30..]].concat()
            } else {
                row.to_vec()
            };
            assert!(
                edge.iter().all(|&byte| byte == 0),
                "record {index}: row {y} has {edge:?}"
            );
        }
        assert!(
            planes[0].iter().any(|&byte| byte > 100),
            "record {index} is dark"
        );
    }
    assert_eq!(counts, [[500; 10], [100; 10]]);
    assert_eq!(
        data.record(0).0,
        9,
        "the first image of Fashion-MNIST is an ankle boot"
    );
    let limited = Dataset::bundled_in(cache.path(), Some(1_000)).unwrap();
    assert_eq!((limited.n_train(), limited.n_test()), (1_000, 200));
    assert_eq!(limited.sha256(), data.sha256());
}

#[test]
fn first_uses_at_once_do_not_disturb_each_other() {
    let cache = TempDir::new().unwrap();
    let open = || Dataset::bundled_in(cache.path(), None).unwrap().sha256();
    let digests: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
    let names = ["batches.meta.txt", "data_batch_1.bin", "test_batch.bin"];
    assert_eq!(
        files(&unpacked(cache.path())),
        names,
        "nothing is left behind"
    );
}

#[test]
fn a_damaged_copy_is_mended_and_a_good_one_left() {
    let cache = TempDir::new().unwrap();
    let digest = Dataset::bundled_in(cache.path(), None).unwrap().sha256();
    let dir = unpacked(cache.path());
    type Spoil = fn(&mut Vec<u8>);
    let damage: [(&str, Spoil); 5] = [
        ("data_batch_1.bin", |bytes| bytes[9_999_999] ^= 1),
        ("data_batch_1.bin", |bytes| bytes.truncate(3_073 * 4_999)),
        ("test_batch.bin", |bytes| bytes.extend([0; 3_073])),
        ("test_batch.bin", Vec::clear),
        ("batches.meta.txt", |bytes| bytes[0] = b'Z'),
    ];
    for (name, spoil) in damage {
        let path = dir.join(name);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        spoil(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let data = Dataset::bundled_in(cache.path(), None).unwrap();
        assert_eq!(data.sha256(), digest, "after damage to {name}");
        assert!(fs::read(&path).unwrap() == good, "{name} is as it was");
    }
    fs::remove_file(dir.join("test_batch.bin")).unwrap();
    assert_eq!(
        Dataset::bundled_in(cache.path(), None).unwrap().sha256(),
        digest
    );

    let written = |name: &str| dir.join(name).metadata().unwrap().modified().unwrap();
    let before = files(&dir)
        .iter()
        .map(|name| written(name))
        .collect::<Vec<_>>();
    Dataset::bundled_in(cache.path(), None).unwrap();
    let after = files(&dir)
        .iter()
        .map(|name| written(name))
        .collect::<Vec<_>>();
    assert_eq!(before, after, "a good copy is not written again");
}

/// A file where the folder should be, and a pipe where a file should be.
#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let dir = TempDir::new().unwrap();
    let good = Dataset::bundled_in(&dir.path().join("good"), None).unwrap();
    let cache = dir.path().join("file");
    fs::write(&cache, "no folder").unwrap();
    let without = Dataset::bundled_in(&cache, None).unwrap();
    assert_eq!(without.describe(), good.describe());
    assert_eq!(without.sha256(), good.sha256());
    assert_eq!(without.classes(), good.classes());
    assert_eq!(without.file_facts(), good.file_facts());

    let folder = unpacked(&dir.path().join("good"));
    for name in ["batches.meta.txt", "test_batch.bin"] {
        fs::remove_file(folder.join(name)).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.join(name))
            .status();
        assert!(made.unwrap().success());
        let found = Dataset::bundled_in(&dir.path().join("good"), None).unwrap();
        assert_eq!(found.sha256(), good.sha256());
    }
}
