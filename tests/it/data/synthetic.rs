//! Made-up data: balanced, repeatable, and told apart by more than chance.

use nas_engine::data::{Augment, Dataset, VIEW_LEN, view};

fn all(data: &Dataset) -> Vec<(u8, [u8; 3072])> {
    (0..data.n_train() + data.n_test())
        .map(|index| data.record(index))
        .map(|(label, image)| (label, *image))
        .collect()
}

#[test]
fn records_are_a_function_of_their_address() {
    let data = Dataset::synthetic(40, 10, 4, 3);
    assert_eq!(
        (data.n_train(), data.n_test(), data.classes().len()),
        (40, 10, 4)
    );
    assert_eq!(data.describe(), "synthetic data (seed 3), 40 + 10 images");
    let records = all(&data);
    assert!(
        records
            .iter()
            .enumerate()
            .all(|(i, (label, _))| usize::from(*label) == i % 4)
    );
    assert!(
        records == all(&Dataset::synthetic(50, 0, 4, 3)),
        "how many of each does not matter"
    );
    assert!(
        records != all(&Dataset::synthetic(40, 10, 4, 4)),
        "the seed matters"
    );
    assert_ne!(data.sha256(), Dataset::synthetic(40, 10, 4, 4).sha256());
}

/// Products of neighbouring values, averaged over the image, are what a first layer and the mean
/// over height and width can compute; the nearest class mean of them should nearly always be right.
#[test]
fn classes_can_be_told_apart() {
    let classes = 10;
    let data = Dataset::synthetic(200, 100, classes, 9);
    let features = |index: usize| {
        let (label, image) = data.record(index);
        let mut x = [0f32; VIEW_LEN];
        view(image, Augment::PadCrop, None, &mut x);
        let mut sums = Vec::new();
        for plane in x.chunks(1024) {
            for shift in [0, 1, 3, 32, 33, 96, 99] {
                let products = plane.iter().zip(&plane[shift..]).map(|(a, b)| a * b);
                sums.push(products.sum::<f32>() / 1024.0);
            }
        }
        (usize::from(label), sums)
    };
    let mut means = vec![vec![0f32; 21]; classes];
    for (label, sums) in (0..200).map(features) {
        means[label]
            .iter_mut()
            .zip(sums)
            .for_each(|(mean, sum)| *mean += sum / 20.0);
    }
    let nearest = |sums: &[f32]| {
        let distance =
            |mean: &[f32]| -> f32 { mean.iter().zip(sums).map(|(a, b)| (a - b) * (a - b)).sum() };
        (0..classes).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b])))
    };
    let right = (200..300)
        .map(features)
        .filter(|(label, x)| nearest(x) == Some(*label))
        .count();
    assert!(
        right >= 90,
        "{right} of 100 test images are nearest to their class"
    );
}
