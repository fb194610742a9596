//! Charts on numbers whose places are known.

use super::plot::round;
use super::*;

fn chart(content: Content) -> Chart {
    Chart {
        name: "a".into(),
        title: "a <b> & \"c\"".into(),
        x: Axis::samples(100),
        y: Axis::share("share"),
        content,
        size: WIDE,
    }
}

#[test]
fn a_line_lies_where_its_numbers_are() {
    let series = Series::line("one", 0, vec![[0.0, 0.0], [50.0, 0.5], [100.0, 1.0]]);
    let svg = chart(Content::Lines(vec![series.clone()])).svg();
    let [left, right] = [MARGIN[0], WIDE[0] - MARGIN[1]];
    let (top, bottom) = (28.0 + LINE + 4.0 + 6.0, WIDE[1] - MARGIN[2]);
    let [x, y] = [(left + right) / 2.0, (top + bottom) / 2.0];
    let path = format!("d=\"M{left} {bottom}L{x} {y}L{right} {top}\"");
    assert!(svg.contains(&path), "{path} in {svg}");
    assert!(svg.contains("a &lt;b&gt; &amp; &quot;c&quot;"));
    let step = Series {
        mark: Mark::Step,
        ..series
    };
    let svg = chart(Content::Lines(vec![step])).svg();
    assert!(svg.contains(&format!("d=\"M{left} {bottom}H{x}V{y}H{right}V{top}\"")));
}

/// Areas fill the plot from its bottom to its top, and each begins where the one below ends.
#[test]
fn areas_stand_on_one_another() {
    let places = vec![(0.0, vec![0.25, 0.75]), (100.0, vec![0.5, 0.5])];
    let names = vec!["a".to_owned(), "b".to_owned()];
    let svg = chart(Content::Areas(names, places)).svg();
    let [left, right] = [MARGIN[0], WIDE[0] - MARGIN[1]];
    let (top, bottom) = (28.0 + LINE + 4.0 + 6.0, WIDE[1] - MARGIN[2]);
    let at = |share: f64| round(bottom - share * (bottom - top));
    let (a, b) = (at(0.25), at(0.5));
    let first = format!("M{left} {a}L{right} {b}L{right} {bottom}L{left} {bottom}Z");
    let second = format!("M{left} {top}L{right} {top}L{right} {b}L{left} {a}Z");
    assert!(svg.contains(&first) && svg.contains(&second), "{svg}");
}

/// A legend that is wider than the chart goes on below, and the plot begins below that.
#[test]
fn a_long_legend_takes_more_lines() {
    let names = |n: usize| {
        (0..n)
            .map(|i| format!("a long name of choice {i}"))
            .collect()
    };
    let top = |n| {
        let mut svg = String::new();
        chart(Content::Areas(names(n), vec![])).legend(&mut svg)
    };
    assert_eq!(top(0), 0.0);
    assert_eq!(top(2), LINE + 4.0);
    assert_eq!(top(12), 3.0 * LINE + 4.0);
    // Of very many the picture grows, and the plot stays as it is.
    let svg = chart(Content::Areas(names(100), vec![])).svg();
    let grown = WIDE[1] + 25.0 * LINE + 4.0 - 3.0 * LINE;
    assert!(
        svg.contains(&format!("viewBox=\"0 0 960 {grown}\"")),
        "{}",
        &svg[..200]
    );
    assert_eq!(shortened("a name"), "a name");
    assert_eq!(shortened(&"ä".repeat(60)).chars().count(), LONGEST_NAME + 1);
}

#[test]
fn what_is_kept_of_many_reaches_from_first_to_last() {
    assert_eq!(evenly(3, 600), [0, 1, 2]);
    assert_eq!(evenly(0, 600), [0usize; 0]);
    let kept = evenly(50_000, MOST_POINTS);
    assert_eq!((kept[0], kept[599], kept.len()), (0, 49_999, 600));
    assert!(kept.is_sorted_by(|a, b| a < b));
}

#[test]
fn numbers_that_are_none_leave_a_picture_all_the_same() {
    let points = vec![[0.0, f64::NAN], [f64::INFINITY, 1.0], [1.0, 1e300]];
    let mut series = Series::line("", 3, points);
    series.band = vec![[0.0, f64::NAN, 1.0], [1.0, 0.0, f64::INFINITY]];
    for mark in [Mark::Line, Mark::Step, Mark::Dots] {
        let mut chart = chart(Content::Lines(vec![Series {
            mark,
            ..series.clone()
        }]));
        for ends in [None, Some([0.0, 1.0])] {
            chart.y.ends = ends;
            let svg = chart.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
