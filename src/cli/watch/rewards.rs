//! The chart of a run's rewards in `watch`.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use super::view::View;
use super::words;
use crate::report::series::quantile;
use crate::text;

/// Colour of the mean.
const MEAN: Color = Color::Blue;

/// Colour of the best.
const BEST: Color = Color::Green;

/// Points of a curve: more than a terminal is wide in Braille dots.
const POINTS: usize = 1000;

/// Children below the curves stretch the chart only as far as this share of all children is low.
const LOW: f64 = 0.05;

/// What the marks of the chart stand for, with the names of the colours where there is room.
fn legend(width: u16) -> Line<'static> {
    let [each, mean, best] = match width < 76 {
        true => ["• child", "mean of 100", "best"],
        false => [
            "• each child (dots)",
            "─ mean of 100 (blue)",
            "─ best so far (green)",
        ],
    };
    Line::from(vec![
        "reward: ".into(),
        each.into(),
        "  ".into(),
        mean.fg(MEAN),
        "  ".into(),
        best.fg(BEST),
    ])
}

/// Draws the rewards of a run: of each child, their mean, the best.
pub fn draw(frame: &mut Frame, area: Rect, view: &View) {
    let block = Block::bordered();
    if view.mean.is_empty() {
        let nothing = Paragraph::new(words::no_curve(view)).block(block.title("reward"));
        return frame.render_widget(nothing, area);
    }
    let [mean, best] = [&view.mean, &view.best].map(|points| thinned(points));
    let bounds = bounds(view);
    let last = mean.last().map_or(1.0, |&(x, _)| x.max(1.0));
    let dots = Dataset::default()
        .marker(Marker::Dot)
        .graph_type(GraphType::Scatter)
        .data(&view.rewards);
    let curve = |points, colour| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(colour))
            .data(points)
    };
    let x_axis = Axis::default()
        .bounds([0.0, last])
        .labels(["sample 0".to_owned(), text::count(last as u64)]);
    let y_axis = Axis::default()
        .bounds(bounds)
        .labels(bounds.map(|y| format!("{y:.3}")));
    let chart = Chart::new(vec![dots, curve(&best[..], BEST), curve(&mean[..], MEAN)])
        .block(block.title(legend(area.width)))
        .legend_position(None) // it would cover the end of the curves
        .x_axis(x_axis)
        .y_axis(y_axis);
    frame.render_widget(chart, area);
}

/// The lowest and the highest reward of the chart. A few children that failed do not flatten all others.
fn bounds(view: &View) -> [f64; 2] {
    let mut rewards: Vec<f64> = view.rewards.iter().map(|&(_, y)| y).collect();
    rewards.sort_unstable_by(f64::total_cmp);
    let curves = || view.mean.iter().chain(&view.best).map(|&(_, y)| y);
    let low = curves().fold(quantile(&rewards, LOW), f64::min);
    let high = curves().fold(0.0, f64::max);
    let room = ((high - low) * 0.05).max(1e-3);
    [low - room, high + room]
}

/// At most so many points of a curve, the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.last().copied();
    let mut thinned: Vec<_> = points.iter().copied().step_by(step).collect();
    thinned.extend(last.filter(|last| thinned.last() != Some(last)));
    thinned
}

#[cfg(test)]
mod tests {
    use super::super::screen::tests::{buffer, drawn, view};
    use super::*;

    /// The legend says what each mark is, in the mark's colour, and every mark is there.
    #[test]
    fn the_chart_says_what_its_marks_are() {
        let legends = [
            (
                80,
                [
                    "• each child (dots)",
                    "─ mean of 100 (blue)",
                    "─ best so far (green)",
                ],
            ),
            (40, ["• child", "mean of 100", "best"]),
        ];
        for (width, [each, mean, best]) in legends {
            let (buffer, screen) = (buffer(&view(), (width, 24)), drawn(&view(), (width, 24)));
            let lines: Vec<&str> = screen.lines().collect();
            let colour = |words: &str| {
                let (before, _) = lines[2].split_once(words).expect(lines[2]);
                buffer[(before.chars().count() as u16, 2)].fg
            };
            assert_eq!([each, mean, best].map(colour), [Color::Reset, MEAN, BEST]);
            let chart = 3..13;
            let marks = chart.flat_map(|y| (1..width - 1).map(move |x| (x, y)));
            let marks: Vec<_> = marks.map(|place| &buffer[place]).collect();
            let braille = |symbol: &str| {
                symbol
                    .chars()
                    .any(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
            };
            for colour in [MEAN, BEST] {
                let drawn =
                    |cell: &&&ratatui::buffer::Cell| cell.fg == colour && braille(cell.symbol());
                assert!(marks.iter().find(drawn).is_some(), "{colour}\n{screen}");
            }
            assert!(marks.iter().any(|cell| cell.symbol() == "•"), "{screen}");
        }
    }

    /// Failures that are few leave the others their room.
    #[test]
    fn the_chart_reaches_from_the_low_children_to_the_best() {
        let rewards =
            |n_failed| (0..100).map(move |x| (f64::from(x), if x < n_failed { 0.0 } else { 0.4 }));
        let of = |n_failed| {
            bounds(&View {
                rewards: rewards(n_failed).collect(),
                ..view()
            })
        };
        let close = |[low, high]: [f64; 2], expected: [f64; 2]| {
            assert!(
                (low - expected[0]).abs() < 1e-9 && (high - expected[1]).abs() < 1e-9,
                "{low} {high}"
            );
        };
        close(of(3), [0.2 - 0.015, 0.5 + 0.015]);
        close(of(30), [-0.025, 0.525]);
    }

    #[test]
    fn a_long_curve_keeps_its_ends() {
        let points: Vec<(f64, f64)> = (0..50_000).map(|x| (f64::from(x), 0.5)).collect();
        let thinned = thinned(&points);
        assert!(thinned.len() <= POINTS + 1);
        assert_eq!((thinned[0], thinned.last()), (points[0], points.last()));
    }
}
