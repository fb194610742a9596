//! Checkpoints come back bit for bit; any damage, and files of any size, are noticed.

use super::*;
use crate::disk::Real;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    of: String,
    step: u64,
}

fn header(step: u64) -> Header {
    Header {
        of: "a test".into(),
        step,
    }
}

/// Numbers of either width, and such that narrowing changes.
fn arrays() -> Vec<Vec<f64>> {
    vec![
        (0..CHUNK + 3).map(|i| f64::from(i as f32) * 0.5).collect(),
        vec![0.1, -0.0, 1e300, f64::MIN_POSITIVE],
        vec![],
        vec![-0.0, 1.5],
    ]
}

fn slots(folder: &Path) -> Slots {
    Slots::new(Arc::new(Real), folder.join("work"))
}

fn write(slots: &mut Slots, step: u64) {
    let arrays = arrays();
    let arrays: Vec<&[f64]> = arrays.iter().map(Vec::as_slice).collect();
    slots.write(&header(step), &arrays).unwrap();
}

#[test]
fn the_newest_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = slots(folder.path());
    assert_eq!(written.read::<Header>().0, None);
    for step in 1..=4 {
        write(&mut written, step);
        let (saved, wrong) = slots(folder.path()).read::<Header>();
        let saved = saved.unwrap();
        assert!(wrong.is_empty());
        assert_eq!(saved.header, header(step));
        let bits = |arrays: &[Vec<f64>]| -> Vec<Vec<u64>> {
            let bits = |values: &Vec<f64>| values.iter().map(|x| x.to_bits()).collect();
            arrays.iter().map(bits).collect()
        };
        assert_eq!(bits(&saved.arrays), bits(&arrays()));
    }
    written.remove().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn any_damage_is_noticed_and_leaves_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = slots(folder.path());
    let small: [&[f64]; 2] = [&[1.0, 2.0], &[0.1]];
    for step in 1..=2 {
        written.write(&header(step), &small).unwrap();
    }
    let newest = folder.path().join("work.2");
    let good = std::fs::read(&newest).unwrap();
    let older_is_left = |bytes: &[u8], how: &str| {
        std::fs::write(&newest, bytes).unwrap();
        let (saved, wrong) = slots(folder.path()).read::<Header>();
        assert_eq!(saved.unwrap().header.step, 1, "{how}");
        assert_eq!(wrong.len(), 1, "{how}");
    };
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            older_is_left(&bad, &format!("bit {bit} of byte {at}"));
        }
        older_is_left(&good[..at], &format!("cut at byte {at}"));
    }
}

/// Files that take no room on the disk, and whose bytes would take all the memory.
#[test]
fn a_file_of_any_size_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("work");
    let mut written = slots(folder.path());
    write(&mut written, 1);
    for begins_as_one in [true, false] {
        if !begins_as_one {
            std::fs::write(&file, "").unwrap();
        }
        let of_any_size = std::fs::OpenOptions::new().write(true).open(&file);
        of_any_size.unwrap().set_len(100 << 30).unwrap();
        let (saved, wrong) = slots(folder.path()).read::<Header>();
        assert!(saved.is_none());
        assert!(
            matches!(&wrong[..], [CheckpointError::Damaged { .. }]),
            "{wrong:?}"
        );
    }
}

/// One that is larger than what is looked at first.
#[test]
fn a_large_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let many = vec![0.1; LARGE as usize / 8];
    let mut written = slots(folder.path());
    written.write(&header(1), &[&many]).unwrap();
    let (saved, wrong) = slots(folder.path()).read::<Header>();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(saved.unwrap().arrays == [many]);
}

/// A file with a sound digest that this program did not write.
#[test]
fn other_versions_are_told_apart_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work");
    let head = |numerics: u32, format: u32, length: usize| {
        let text = format!(
            "{MAGIC}{format}\n{{\"numerics\":{numerics},\"number\":1,\"arrays\":[{{\"length\":\
             {length},\"width\":\"f64\"}}],\"of\":\"a\",\"step\":1}}\n01234567"
        );
        let sum = Sha256::digest(&text);
        std::fs::write(&path, [text.as_bytes(), &sum[..]].concat()).unwrap();
        let (saved, mut wrong) = slots(folder.path()).read::<Header>();
        (saved, wrong.pop())
    };
    assert!(head(NUMERICS, FORMAT, 1).0.is_some());
    let other = |saved: (Option<Saved<Header>>, Option<CheckpointError>)| match saved {
        (None, Some(CheckpointError::Version { theirs, .. })) => theirs,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        other(head(NUMERICS + 1, FORMAT, 1)),
        format!("numerics {}", NUMERICS + 1)
    );
    assert_eq!(
        other(head(NUMERICS, FORMAT + 1, 1)),
        format!("format {}", FORMAT + 1)
    );
    for length in [0, 2, usize::MAX] {
        let (saved, wrong) = head(NUMERICS, FORMAT, length);
        assert!(saved.is_none(), "{length} numbers");
        assert!(matches!(wrong, Some(CheckpointError::Damaged { .. })));
    }
}
