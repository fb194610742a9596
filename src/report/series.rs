//! Numbers of a search against its samples: means of the last hundred, the best so far, sums, quantiles of
//! the children's curves, children an hour.

use rayon::prelude::*;

use super::chart::{MOST_POINTS, evenly};
use super::record::Row;
use crate::run::Status;
use crate::run::entry::ChildFacts;

/// Samples that a mean, or an entropy, looks back on.
pub const WINDOW: usize = 100;

/// Shares of the children that lie below the curves of [`quantiles`].
pub const QUANTILES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

/// Values before the first mean: those of fewer are chance.
const FEWEST: usize = 10;

/// The mean of the values among the last hundred samples, of fewer where there are fewer, but ten (or half of
/// all): at most [`MOST_POINTS`], as (sample, mean).
pub fn mean_of_window(values: &[(f64, Option<f64>)]) -> Vec<[f64; 2]> {
    let mut sums = vec![(0.0, 0usize)];
    for (_, value) in values {
        let (sum, n) = sums[sums.len() - 1];
        sums.push((sum + value.unwrap_or(0.0), n + usize::from(value.is_some())));
    }
    let fewest = FEWEST.min(sums[sums.len() - 1].1 / 2).max(1);
    let at = |i: usize| {
        let [from, to] = [sums[(i + 1).saturating_sub(WINDOW)], sums[i + 1]];
        (to.1 - from.1 >= fewest).then(|| [values[i].0, (to.0 - from.0) / (to.1 - from.1) as f64])
    };
    evenly(values.len(), MOST_POINTS)
        .into_iter()
        .filter_map(at)
        .collect()
}

/// The highest value so far, at the places where it rises and at the last one.
pub fn best_so_far(values: &[(f64, Option<f64>)]) -> Vec<[f64; 2]> {
    let mut best: Vec<[f64; 2]> = Vec::new();
    for &(x, value) in values {
        if let Some(value) = value
            && best.last().is_none_or(|[_, highest]| value > *highest)
        {
            best.push([x, value]);
        }
    }
    if let (Some(&[rise, highest]), Some(&(last, _))) = (best.last(), values.last())
        && last > rise
    {
        best.push([last, highest]);
    }
    let kept = evenly(best.len(), MOST_POINTS);
    kept.into_iter().map(|i| best[i]).collect()
}

/// A curve from the tenth of some values on, where there are a hundred: the best of the first few lies far
/// below all that comes, and would flatten it.
pub fn from_tenth(values: &[(f64, Option<f64>)], mut curve: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    if values.len() < WINDOW {
        return curve;
    }
    let tenth = values[FEWEST - 1].0;
    let before = curve.partition_point(|[x, _]| *x <= tenth);
    if let Some(last) = before.checked_sub(1) {
        curve[last][0] = tenth;
        curve.drain(..last);
    }
    curve
}

/// What the children earned, in the order of their samples: only those that were trained to the end where
/// `well` asks for them.
pub fn earned(rows: &[Row], well: bool) -> Vec<(f64, Option<f64>)> {
    let reward = |row: &Row| {
        let counts = !well || row.child.status() == Status::Ok;
        (row.sample() as f64, row.child.reward().filter(|_| counts))
    };
    rows.iter().map(reward).collect()
}

/// Sums of all values up to each place.
pub fn cumulative(values: impl Iterator<Item = (f64, f64)>) -> Vec<[f64; 2]> {
    let mut sum = 0.0;
    let sums = values.map(|(x, value)| {
        sum += value;
        [x, sum]
    });
    let sums: Vec<[f64; 2]> = sums.collect();
    evenly(sums.len(), MOST_POINTS)
        .into_iter()
        .map(|i| sums[i])
        .collect()
}

/// Of each epoch, from 1, the quantiles of what the children that were trained for so long had achieved.
pub fn quantiles(rows: &[Row]) -> Vec<[f64; QUANTILES.len()]> {
    let trained: Vec<&Row> = rows.iter().filter(|row| row.is_trained()).collect();
    let most = trained
        .iter()
        .map(|row| row.scores.len())
        .max()
        .unwrap_or(0);
    let of_epoch = |epoch: usize| {
        let scores = trained
            .iter()
            .filter_map(|row| row.scores.get(epoch).copied());
        let mut scores: Vec<f64> = scores.collect();
        scores.sort_unstable_by(f64::total_cmp);
        QUANTILES.map(|share| quantile(&scores, share))
    };
    (0..most).into_par_iter().map(of_epoch).collect()
}

/// Of sorted numbers, between the two that are nearest; NaN of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * part
}

/// Children that ended an hour, in equal parts of the time that the search has run: as (seconds at the middle
/// of the part, children an hour).
pub fn an_hour(rows: &[Row], seconds: f64, parts: usize) -> Vec<[f64; 2]> {
    if seconds.is_nan() || seconds <= 0.0 || parts == 0 {
        return vec![];
    }
    let width = seconds / parts as f64;
    let mut counts = vec![0u64; parts];
    for row in rows {
        counts[((row.clock / width) as usize).min(parts - 1)] += 1;
    }
    let place =
        |(i, count): (usize, u64)| [(i as f64 + 0.5) * width, count as f64 * 3600.0 / width];
    counts.into_iter().enumerate().map(place).collect()
}

/// What a time is best told in, for the longest one: its name and its seconds.
pub fn unit_of_time(longest: f64) -> (&'static str, f64) {
    match longest {
        _ if longest > 3.0 * 86_400.0 => ("days", 86_400.0),
        _ if longest > 3.0 * 3600.0 => ("hours", 3600.0),
        _ if longest > 180.0 => ("minutes", 60.0),
        _ => ("seconds", 1.0),
    }
}

/// The mean of the best so many different architectures, or of those there are.
pub fn mean_of_best(rewards: impl Iterator<Item = f64>, most: usize) -> Option<f64> {
    let best: Vec<Option<f64>> = rewards.take(most).map(Some).collect();
    super::mean(&best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_looks_back_on_a_hundred_samples() {
        let values: Vec<(f64, Option<f64>)> =
            (0..250).map(|i| (i as f64, Some(i as f64))).collect();
        let means = mean_of_window(&values);
        assert_eq!(means[0], [9.0, 4.5]); // of the first ten
        assert_eq!(means[90], [99.0, 49.5]);
        assert_eq!(means[240], [249.0, 199.5]);
        // Those without a value are left out, and so is a place before the first value.
        let values = [(0.0, None), (1.0, Some(2.0)), (2.0, None), (3.0, Some(4.0))];
        assert_eq!(
            mean_of_window(&values),
            [[1.0, 2.0], [2.0, 2.0], [3.0, 3.0]]
        );
        let many: Vec<(f64, Option<f64>)> = (0..5000).map(|i| (i as f64, Some(1.0))).collect();
        let means = mean_of_window(&many);
        assert_eq!((means.len(), means[597]), (MOST_POINTS - 2, [4999.0, 1.0]));
    }

    #[test]
    fn the_best_so_far_rises_and_reaches_to_the_last() {
        let values = [None, Some(2.0), Some(1.0), Some(3.0), Some(3.0), None];
        let values: Vec<(f64, Option<f64>)> = (0..).map(f64::from).zip(values).collect();
        assert_eq!(best_so_far(&values), [[1.0, 2.0], [3.0, 3.0], [5.0, 3.0]]);
        assert_eq!(best_so_far(&[(0.0, None)]), [[0.0; 2]; 0]);
        assert_eq!(best_so_far(&[(4.0, Some(1.0))]), [[4.0, 1.0]]);
    }

    #[test]
    fn a_long_curve_begins_at_the_tenth_value() {
        let values: Vec<(f64, Option<f64>)> = (0..100).map(|i| (f64::from(i), None)).collect();
        let curve = vec![[0.0, 1.0], [4.0, 5.0], [9.5, 6.0]];
        assert_eq!(from_tenth(&values, curve.clone()), [[9.0, 5.0], [9.5, 6.0]]);
        assert_eq!(from_tenth(&values[..99], curve.clone()), curve);
        assert_eq!(from_tenth(&values, vec![[20.0, 1.0]]), [[20.0, 1.0]]);
    }

    #[test]
    fn quantiles_lie_between_the_nearest() {
        let sorted = [1.0, 2.0, 4.0];
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| quantile(&sorted, share));
        assert_eq!(found, [1.0, 1.5, 2.0, 3.0, 4.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn sums_go_up_to_the_last() {
        let sums = cumulative((0..5).map(|i| (f64::from(i), 2.0)));
        assert_eq!(
            sums,
            [[0.0, 2.0], [1.0, 4.0], [2.0, 6.0], [3.0, 8.0], [4.0, 10.0]]
        );
        assert_eq!(mean_of_best([3.0, 2.0, 1.0].into_iter(), 2), Some(2.5));
        assert_eq!(mean_of_best([].into_iter(), 2), None);
        assert_eq!(unit_of_time(40.0), ("seconds", 1.0));
        assert_eq!(unit_of_time(1e6), ("days", 86_400.0));
    }
}
