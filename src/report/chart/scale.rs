//! From numbers to places along an axis: round ticks and how they are written.

/// Ticks of an axis, about as many as asked for, from the first at or above `low` to the last at or below
/// `high`; of `whole` numbers none lies between two of them.
pub fn ticks(low: f64, high: f64, about: usize, whole: bool) -> Vec<f64> {
    let Some(step) = step(high - low, about, whole) else {
        return vec![low];
    };
    // A little of a step is what rounding may have taken.
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// The distance of ticks: 1, 2 or 5 times a power of ten.
fn step(span: f64, about: usize, whole: bool) -> Option<f64> {
    if !(span.is_finite() && span > 0.0) {
        return None;
    }
    let rough = span / about.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let times = times
        .into_iter()
        .find(|times| times * power >= rough * 0.999);
    let step = times.unwrap_or(10.0) * power;
    let step = if whole { step.max(1.0) } else { step };
    (step.is_normal() && span / step < 1e3).then_some(step)
}

/// The ends of an axis that holds all of `values`: where they lie, with a little room, and down to 0 where
/// that is near; never empty.
pub fn around(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let finite = values.filter(|value| value.is_finite());
    let ends = finite.fold(None, |ends: Option<[f64; 2]>, value| {
        let [low, high] = ends.unwrap_or([value; 2]);
        Some([low.min(value), high.max(value)])
    });
    let [low, high] = ends.unwrap_or([0.0, 1.0]);
    let room = match high - low {
        span if span > 0.0 => span * 0.05,
        _ if high == 0.0 => return [0.0, 1.0],
        _ => high.abs() * 0.1,
    };
    let lowest = if low >= 0.0 && low < (high - low) * 0.6 {
        0.0
    } else {
        low - room
    };
    [lowest, high + room]
}

/// A number beside a tick, in as many digits as tell it from the next one.
pub fn label(value: f64, step: f64) -> String {
    let size = value.abs().max(step.abs());
    let suffixes = [
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e4, "k"),
    ];
    let suffix = suffixes.into_iter().find(|(least, _)| size >= *least);
    let (unit, suffix) = match suffix {
        Some((_, "k")) => (1e3, "k"),
        Some((least, suffix)) => (least, suffix),
        None => (1.0, ""),
    };
    if value == 0.0 {
        return "0".to_owned();
    }
    if size < 1e-4 {
        return format!("{value:.0e}");
    }
    let decimals = (0..6).find(|&decimals| {
        let times = step / unit * 10f64.powi(decimals);
        (times - times.round()).abs() < 1e-6 * times.abs().max(1.0)
    });
    let decimals = decimals.unwrap_or(6) as usize;
    format!("{:.decimals$}{suffix}", value / unit)
}

/// The distance between the first two of some ticks; of one alone its own size.
pub fn distance(ticks: &[f64]) -> f64 {
    match ticks {
        [first, second, ..] => second - first,
        [one] => one.abs(),
        [] => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(low: f64, high: f64, whole: bool) -> Vec<String> {
        let ticks = ticks(low, high, 5, whole);
        let step = distance(&ticks);
        ticks.iter().map(|&tick| label(tick, step)).collect()
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(
            shown(0.0, 1.0, false),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(shown(0.31, 0.345, false), ["0.31", "0.32", "0.33", "0.34"]);
        assert_eq!(shown(0.0, 3.0, true), ["0", "1", "2", "3"]);
        assert_eq!(
            shown(0.0, 50_000.0, true),
            ["0", "10k", "20k", "30k", "40k", "50k"]
        );
        assert_eq!(shown(0.0, 12_800.0, true), ["0", "5000", "10k"]);
        assert_eq!(shown(83.0, 92.0, false), ["84", "86", "88", "90", "92"]);
        assert_eq!(
            shown(0.0, 2.5e9, false),
            ["0", "500M", "1.0G", "1.5G", "2.0G", "2.5G"]
        );
        assert_eq!(shown(-2.0, 1.0, false), ["-2", "-1", "0", "1"]);
        assert_eq!(shown(0.0, 2e-5, false).len(), 5);
    }

    /// No number of any kind makes an axis without end, or with too many ticks.
    #[test]
    fn odd_numbers_make_an_axis_too() {
        for (low, high) in [
            (1.0, 1.0),
            (0.0, f64::INFINITY),
            (f64::NAN, 1.0),
            (1e300, 1.1e300),
            (-1e308, 1e308),
            (1.0, 1.0 + 1e-15),
            (0.0, 5e-324),
        ] {
            for whole in [false, true] {
                let n = ticks(low, high, 6, whole).len();
                assert!(n <= 20, "{n} ticks from {low} to {high}");
            }
        }
        for values in [&[][..], &[0.0], &[f64::NAN, 3.0], &[-1.0, -1.0], &[1e300]] {
            let [low, high] = around(values.iter().copied());
            assert!(low < high, "{values:?}");
        }
        assert_eq!(around([91.0, 92.0].into_iter()), [90.95, 92.05]);
        assert_eq!(around([0.1, 1.0].into_iter()), [0.0, 1.045]);
    }
}
