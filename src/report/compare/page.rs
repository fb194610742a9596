//! A comparison as a page: its tables and sentences, and curves with bands over the seeds.

use super::{Comparison, GROUP_HEADS, Group, RULE, RUN_HEADS};
use crate::report::chart::{Axis, Chart, Content, HALF, Mark, Series, escaped};
use crate::report::charts::Plate;
use crate::report::page::{Page, document, grid, section, table};
use crate::report::record::{Record, Row};
use crate::report::series;
use crate::run::Status;
use crate::run::entry::ChildFacts;

/// Places at which the curves of several seeds are averaged.
const PLACES: usize = 300;

/// A curve of a run: numbers over samples or time.
type Curve = Vec<[f64; 2]>;

/// The page of a comparison.
pub fn page(records: &[Record], comparison: &Comparison) -> Page {
    let mut pictures = Vec::new();
    let [runs, groups] = comparison.rows();
    let mut sentences: String = comparison
        .sentences()
        .iter()
        .map(|words| format!("<p>{}</p>", escaped(words)))
        .collect();
    if comparison.is_cut() {
        sentences = format!(
            "<p class=\"notice\">The runs have different numbers of samples; tables and sentences are of the first {} \
             of each.</p>{sentences}",
            comparison.samples
        );
    }
    sentences += &format!("<p class=\"caption\">{}</p>", escaped(RULE));
    let longest = records.iter().map(Record::seconds).fold(0.0, f64::max);
    let (unit, of_unit) = series::unit_of_time(longest);
    let time = |row: &Row| row.clock / of_unit;
    let over_time = format!("{unit} that the search has run");
    let samples = |row: &Row| row.sample() as f64;
    let plates = vec![
        plate(
            comparison,
            "best-samples",
            "Best so far over samples",
            "samples",
            curves(records, true, samples),
        ),
        plate(
            comparison,
            "mean-samples",
            "Mean reward of 100 over samples",
            "samples",
            curves(records, false, samples),
        ),
        plate(
            comparison,
            "best-time",
            "Best so far over time",
            &over_time,
            curves(records, true, time),
        ),
        plate(
            comparison,
            "mean-time",
            "Mean reward of 100 over time",
            &over_time,
            curves(records, false, time),
        ),
    ];
    let caption = "<p class=\"caption\">Means over the seeds of a strategy, with a band of one standard deviation to \
                   each side where there are two or more; as far as the shortest of its runs goes. Time is that of \
                   the search, without that between sessions, of whatever machine each ran on.</p>";
    let body = format!(
        "<h1>Comparison of {} searches</h1>{}{}{}{}",
        records.len(),
        section(
            "Strategies",
            &(table(&GROUP_HEADS, &groups)
                + "<p class=\"caption\">Means over the seeds ± their \
                 standard deviation. Found: the best reward, and the mean of the 15 best different architectures. \
                 Sampled: the mean reward of the last quarter.</p>")
        ),
        section(
            "Is the difference larger than the seeds' spread?",
            &sentences
        ),
        section("Curves", &(grid(plates, &mut pictures) + caption)),
        section("Runs", &table(&RUN_HEADS, &runs)),
    );
    Page {
        html: document("Comparison of searches", &body, false),
        pictures,
    }
}

/// Each run's best so far, or its mean of the last hundred, in the order of `x`.
fn curves(records: &[Record], best: bool, x: impl Fn(&Row) -> f64) -> Vec<Curve> {
    let curve = |record: &Record| {
        let value = |row: &Row| {
            let counts = !best || row.child.status() == Status::Ok;
            (x(row), row.child.reward().filter(|_| counts))
        };
        let mut values: Vec<(f64, Option<f64>)> = record.rows.iter().map(value).collect();
        values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        match best {
            true => series::from_tenth(&values, series::best_so_far(&values)),
            false => series::mean_of_window(&values),
        }
    };
    records.iter().map(curve).collect()
}

fn plate(comparison: &Comparison, name: &str, title: &str, x: &str, curves: Vec<Curve>) -> Plate {
    let line = |(colour, group): (usize, &Group)| {
        let curves: Vec<&Curve> = group.runs.iter().map(|&run| &curves[run]).collect();
        let (points, band) = averaged(&curves);
        let name = match group.runs.len() {
            1 => group.strategy.to_owned(),
            n => format!("{} ({n} seeds)", group.strategy),
        };
        Series {
            band,
            mark: Mark::Line,
            ..Series::line(name, colour, points)
        }
    };
    let lines: Vec<Series> = comparison.groups.iter().enumerate().map(line).collect();
    let last = lines
        .iter()
        .filter_map(|line| line.points.last())
        .map(|[x, _]| *x);
    let last = last.fold(0.0, f64::max);
    Plate {
        chart: Chart {
            name: name.to_owned(),
            title: title.to_owned(),
            x: Axis {
                ends: (last > 0.0).then_some([0.0, last]),
                whole: x == "samples",
                ..Axis::of(x)
            },
            y: Axis::of("reward"),
            content: Content::Lines(lines),
            size: HALF,
        },
        caption: String::new(),
    }
}

/// The mean of curves, each of whose values holds until its next one, and a standard deviation to each side;
/// from where all have begun to where the first ends.
fn averaged(curves: &[&Curve]) -> (Curve, Vec<[f64; 3]>) {
    let ends = |of: fn(&Curve) -> Option<&[f64; 2]>| {
        curves.iter().map(move |curve| of(curve).map(|[x, _]| *x))
    };
    let first: Option<Vec<f64>> = ends(|curve| curve.first()).collect();
    let last: Option<Vec<f64>> = ends(|curve| curve.last()).collect();
    let (Some(first), Some(last)) = (first, last) else {
        return (vec![], vec![]);
    };
    let first = first.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let last = last.into_iter().fold(f64::INFINITY, f64::min);
    if first > last {
        return (vec![], vec![]);
    }
    let places = if first == last { 1 } else { PLACES };
    let place = |i: usize| match places {
        1 => first,
        _ => first + (last - first) * i as f64 / (places - 1) as f64,
    };
    let (mut line, mut band) = (Vec::with_capacity(places), Vec::new());
    for x in (0..places).map(place) {
        let values = curves.iter().filter_map(|curve| {
            let after = curve.partition_point(|[at, _]| *at <= x);
            Some(curve.get(after.checked_sub(1)?)?[1])
        });
        let Some(spread) = super::Spread::of(&values.collect::<Vec<f64>>()) else {
            continue;
        };
        line.push([x, spread.mean]);
        if let Some(deviation) = spread.deviation {
            band.push([x, spread.mean - deviation, spread.mean + deviation]);
        }
    }
    (line, band)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_averaged_where_all_of_them_are() {
        let a = vec![[0.0, 1.0], [10.0, 3.0]];
        let b = vec![[2.0, 5.0], [4.0, 7.0], [20.0, 9.0]];
        let (line, band) = averaged(&[&a, &b]);
        assert_eq!((line[0], line[PLACES - 1]), ([2.0, 3.0], [10.0, 5.0]));
        assert_eq!((line.len(), band.len()), (PLACES, PLACES));
        let deviation = 8f64.sqrt(); // of 1 and 5
        assert!((band[0][1] - (3.0 - deviation)).abs() < 1e-12);
        assert!((band[0][2] - (3.0 + deviation)).abs() < 1e-12);
        // One run has no band; runs that do not meet, and runs without a value, no line.
        assert!(averaged(&[&a]).1.is_empty());
        assert_eq!(averaged(&[&vec![[1.0, 2.0]]]).0, [[1.0, 2.0]]);
        assert!(
            averaged(&[&vec![[0.0, 1.0]], &vec![[5.0, 1.0]]])
                .0
                .is_empty()
        );
        assert!(averaged(&[&a, &vec![]]).0.is_empty());
    }
}
