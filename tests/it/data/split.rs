//! Which records train and which validate; the order of an epoch.

use std::collections::HashSet;

use nas_engine::data::{Dataset, RECORD_BYTES, Split, epoch_order};

// paper P6.1
#[test]
fn a_split_covers_the_records_once() {
    for n in [0, 1, 9, 10, 11, 19, 20, 999, 50_000] {
        for shuffle in [true, false] {
            let Split { train, validation } = Split::new(n, 7, shuffle);
            assert_eq!(validation.len(), n / 10, "n {n}, shuffle {shuffle}");
            assert!(
                train.is_sorted() && validation.is_sorted(),
                "n {n}, shuffle {shuffle}"
            );
            let mut all = [train, validation].concat();
            all.sort_unstable();
            assert!(
                all.iter().copied().eq(0..n as u32),
                "n {n}, shuffle {shuffle}"
            );
        }
    }
}

// paper P6.1
#[test]
fn a_split_depends_on_its_seed_alone() {
    assert_eq!(Split::new(1_000, 0, true), Split::new(1_000, 0, true));
    assert_ne!(Split::new(1_000, 0, true), Split::new(1_000, 1, true));
    assert_eq!(Split::new(1_000, 0, false), Split::new(1_000, 1, false));
    assert_eq!(Split::new(25, 0, false).validation, [23, 24]);
    // A tenth of each half of the records, give or take five deviations of sqrt(500 · 0.1 · 0.9).
    let held_out = Split::new(10_000, 3, true).validation;
    let low = held_out.iter().filter(|&&record| record < 5_000).count();
    assert!(
        low.abs_diff(500) < 5 * 16,
        "{low} of 1000 held out are in the first half"
    );
}

#[test]
fn an_epoch_takes_every_record_once_in_its_own_order() {
    let train: Vec<u32> = (0..500).map(|i| 3 * i).collect();
    let orders: HashSet<Vec<u32>> = (0..5)
        .flat_map(|epoch| [0, 1].map(|seed| epoch_order(&train, seed, epoch, true)))
        .collect();
    assert_eq!(
        orders.len(),
        10,
        "every (seed, epoch) has an order of its own"
    );
    for mut order in orders {
        order.sort_unstable();
        assert_eq!(order, train);
    }
    assert_eq!(
        epoch_order(&train, 1, 2, true),
        epoch_order(&train, 1, 2, true)
    );
    assert_eq!(epoch_order(&train, 1, 2, false), train);
}

/// What is said of a split of `labels`, of which the first `limit` are taken.
fn concern(labels: &[u8], limit: usize, shuffle: bool) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut records = vec![[0; RECORD_BYTES]; labels.len()];
    for (record, label) in records.iter_mut().zip(labels) {
        record[0] = *label;
    }
    std::fs::write(dir.path().join("data_batch_1.bin"), records.concat()).unwrap();
    std::fs::write(dir.path().join("test_batch.bin"), records[0]).unwrap();
    let dataset = Dataset::open(dir.path(), Some(limit)).unwrap();
    Split::new(dataset.n_train(), 0, shuffle).concern(&dataset)
}

#[test]
fn a_split_in_which_nothing_can_be_learned_is_told() {
    let sorted: Vec<u8> = (0..10).flat_map(|class| [class; 20]).collect();
    let mixed: Vec<u8> = (0..200).map(|image| image % 10).collect();
    for (labels, limit, shuffle, words) in [
        (
            &sorted,
            20,
            true,
            Some("every training image is of the class `0`"),
        ),
        (
            &sorted,
            20,
            false,
            Some("every training image is of the class `0`"),
        ),
        (
            &sorted,
            200,
            false,
            Some("20 of the 20 validation images are of classes that no training"),
        ),
        (&sorted, 200, true, None),
        (&mixed, 200, false, None),
        (&mixed, 40, true, None),
    ] {
        let said = concern(labels, limit, shuffle);
        match (words, &said) {
            (None, None) => {}
            (Some(words), Some(said)) if said.starts_with(words) => {}
            _ => panic!("limit {limit}, shuffled {shuffle}: {said:?}, not {words:?}"),
        }
    }
    // All that is held out is of the first class, which others train beside.
    let first: Vec<u8> = (0..60)
        .map(|image| u8::from(image < 30 && image % 2 == 1))
        .collect();
    let said = concern(&first, 60, false).unwrap();
    assert!(
        said.starts_with("every validation image is of the class `0`"),
        "{said}"
    );
}
