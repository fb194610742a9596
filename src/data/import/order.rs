//! In which order imported images are written, and which of them test: functions of seeds and names
//! alone, so that the same pictures give the same bytes on every machine.

use crate::rng::{Purpose, Rng};

/// The share of each class that tests, where there is no test part and nothing is said.
pub const DEFAULT_TEST_SHARE: f64 = 0.1;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What networks are trained and validated on.
    Training,
    /// What is read once, at the end.
    Test,
}

/// The order in which the `n` images of a part are written, as places in the order of their names: by
/// the seed 0. Sorted by class, they would make a split in which nothing can be learned.
///
/// # Panics
/// If there are more than 2^32 - 1.
pub fn order(n: usize, part: Part) -> Vec<u32> {
    let n = u32::try_from(n).expect("an import has at most 2^32 - 1 images");
    let mut order: Vec<u32> = (0..n).collect();
    Rng::new(0, Purpose::Import, part as u64).shuffle(&mut order);
    order
}

/// Of the `n` images of a class, in the order of their names, those that test, ascending:
/// floor(`share` n), at least one where there are two, drawn by `split_seed`.
///
/// # Panics
/// If there are more than 2^32 - 1, or if `share` is not in 0..1.
pub fn split_off_test(n: usize, class: usize, share: f64, split_seed: u64) -> Vec<u32> {
    assert!((0.0..1.0).contains(&share), "a share, not {share}");
    let n_images = u32::try_from(n).expect("an import has at most 2^32 - 1 images");
    let n_test = (share * n as f64) as usize;
    let least = usize::from(n >= 2 && share > 0.0);
    let mut order: Vec<u32> = (0..n_images).collect();
    // 0 and 1 are the orders of the two parts.
    Rng::new(split_seed, Purpose::Import, 2 + class as u64).shuffle(&mut order);
    order.truncate(n_test.max(least));
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_every_image_once_and_mixes_them() {
        for part in [Part::Training, Part::Test] {
            let mut places = order(1_000, part);
            let in_place = (0..).zip(&places).filter(|(i, place)| i == *place).count();
            assert!(in_place < 10, "{in_place}"); // 1 is expected
            // Of sorted classes each hundred would hold one.
            let first = places[..100].iter().filter(|&&place| place < 500).count();
            assert!((30..70).contains(&first), "{first}");
            places.sort_unstable();
            assert!(places.into_iter().eq(0..1_000));
        }
        assert_ne!(order(100, Part::Training), order(100, Part::Test));
    }

    #[test]
    fn each_class_gives_its_share_to_the_test() {
        for (n, share, n_test) in [
            (100, 0.1, 10),
            (19, 0.1, 1),
            (2, 0.1, 1),
            (1, 0.1, 0),
            (0, 0.1, 0),
            (50, 0.0, 0),
        ] {
            let test = split_off_test(n, 3, share, 0);
            assert_eq!(test.len(), n_test, "{share} of {n}");
            assert!(test.is_sorted() && test.iter().all(|&image| (image as usize) < n));
        }
        let tests =
            [(0, 0), (0, 1), (1, 0)].map(|(class, seed)| split_off_test(99, class, 0.1, seed));
        assert!(tests[0] != tests[1] && tests[0] != tests[2] && tests[1] != tests[2]);
    }
}
