//! How `watch` draws a run: a curve of rewards, the best, what is under way.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Row, Table};

use super::view::View;
use crate::text;

/// Points of a curve: more than a terminal is wide in Braille dots.
const POINTS: usize = 1000;

/// Children under way that are named.
const NAMED: usize = 12;

/// Draws a run.
pub fn draw(frame: &mut Frame, view: &View) {
    let n_found = view.found.len().max(1) as u16;
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(8),
        Constraint::Length(n_found + 3),
        Constraint::Length(3),
        Constraint::Length(1),
    ]);
    let [head, progress, chart, best, under_way, foot] = areas.areas(frame.area());
    frame.render_widget(Line::from(heading(view)).bold(), head);
    let ratio = view.samples as f64 / view.total.max(1) as f64;
    let gauge = Gauge::default()
        .gauge_style(Style::new().fg(Color::Blue))
        .ratio(ratio.clamp(0.0, 1.0))
        .label(progressed(view));
    frame.render_widget(gauge, progress);
    draw_rewards(frame, chart, view);
    draw_best(frame, best, view);
    let children = Paragraph::new(children(view)).block(Block::bordered().title("under way"));
    frame.render_widget(children, under_way);
    let keys = "q ends this view; the search goes on";
    frame.render_widget(Line::from(keys).dim(), foot);
}

/// The run and its state in a line.
fn heading(view: &View) -> String {
    let failures: Vec<String> = view
        .failures
        .iter()
        .map(|(how, n)| format!("{n} {how}"))
        .collect();
    let mut words = format!("{}: {}", text::one_line(&view.name), view.state);
    if view.repeats > 0 {
        words += &format!(", {} repeats", text::count(view.repeats));
    }
    if !failures.is_empty() {
        words += &format!(", failed: {}", failures.join(", "));
    }
    words
}

fn progressed(view: &View) -> String {
    let mut words = format!(
        "{} of {} samples in {}",
        text::count(view.samples),
        text::count(view.total),
        text::duration(view.seconds)
    );
    if let Some(pace) = view.pace {
        words += &format!(", {pace:.0} an hour");
    }
    if let Some(left) = view.seconds_left {
        words += &format!(", {} left", text::duration(left));
    }
    words
}

fn draw_rewards(frame: &mut Frame, area: Rect, view: &View) {
    let block = Block::bordered().title("reward: mean of the last 100 samples, best so far");
    if view.mean.is_empty() {
        let nothing = Paragraph::new("no child has ended yet").block(block);
        return frame.render_widget(nothing, area);
    }
    let (mean, best) = (thinned(&view.mean), thinned(&view.best));
    let all = || mean.iter().chain(&best).map(|&(_, y)| y);
    let (low, high) = (
        all().fold(f64::INFINITY, f64::min),
        all().fold(0.0, f64::max),
    );
    let room = ((high - low) * 0.05).max(1e-3);
    let bounds = [low - room, high + room];
    let last = mean.last().map_or(1.0, |&(x, _)| x.max(1.0));
    let curve = |points, name: &'static str, colour| {
        Dataset::default()
            .name(name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(colour))
            .data(points)
    };
    let chart = Chart::new(vec![
        curve(&mean[..], "mean", Color::Blue),
        curve(&best[..], "best", Color::Green),
    ])
    .block(block)
    .x_axis(
        Axis::default()
            .bounds([0.0, last])
            .labels(["0".to_owned(), text::count(last as u64)]),
    )
    .y_axis(
        Axis::default()
            .bounds(bounds)
            .labels(bounds.map(|y| format!("{y:.3}"))),
    );
    frame.render_widget(chart, area);
}

/// At most so many points of a curve, the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.last().copied();
    let mut thinned: Vec<_> = points.iter().copied().step_by(step).collect();
    thinned.extend(last.filter(|last| thinned.last() != Some(last)));
    thinned
}

fn draw_best(frame: &mut Frame, area: Rect, view: &View) {
    let header = ["sample", view.score, "reward", "parameters", "architecture"];
    let rows = view.found.iter().map(|found| {
        Row::new([
            found.sample.to_string(),
            found.score.clone(),
            format!("{:.4}", found.reward),
            found.parameters.map_or("-".to_owned(), text::count),
            found.architecture.clone(),
        ])
    });
    let widths = [
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(12),
        Constraint::Min(10),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(header).bold())
        .block(Block::bordered().title("best so far"));
    frame.render_widget(table, area);
}

/// The children whose checkpoints are there, with the epochs that those have.
fn children(view: &View) -> String {
    let named = view
        .under_way
        .iter()
        .take(NAMED)
        .map(|child| match child.epochs {
            Some(epochs) => format!("{} ({epochs} of {} epochs)", child.sample, view.epochs),
            None => child.sample.to_string(),
        });
    let named: Vec<String> = named.collect();
    let more = view.under_way.len().saturating_sub(NAMED);
    match (named.is_empty(), more) {
        (true, _) if view.state == "running" => match view.age {
            Some(age) => format!(
                "no checkpoint yet; the last child ended {} ago",
                text::duration(age)
            ),
            None => "no checkpoint yet".to_owned(),
        },
        (true, _) => "nothing".to_owned(),
        (false, 0) => format!("sample {}, by their last checkpoints", named.join(", ")),
        (false, more) => format!("sample {} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::view::Found;
    use super::*;
    use crate::run::checkpoints::UnderWay;

    fn drawn(view: &View, [width, height]: [u16; 2]) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells = buffer.content.iter().map(|cell| cell.symbol());
        let cells: Vec<&str> = cells.collect();
        let lines = cells.chunks(usize::from(width)).map(|line| line.concat());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn view() -> View {
        View {
            name: "runs/a".to_owned(),
            state: "running",
            samples: 24,
            total: 48,
            mean: (0..24)
                .map(|x| (f64::from(x), 0.2 + 0.01 * f64::from(x)))
                .collect(),
            best: (0..24).map(|x| (f64::from(x), 0.5)).collect(),
            found: vec![Found {
                sample: 7,
                score: "0.7937".to_owned(),
                reward: 0.5,
                parameters: Some(12_345),
                architecture: "3x3x8 /2".to_owned(),
            }],
            score: "accuracy",
            failures: vec![("diverged", 2)],
            repeats: 3,
            under_way: vec![
                UnderWay {
                    sample: 24,
                    epochs: Some(2),
                },
                UnderWay {
                    sample: 25,
                    epochs: None,
                },
            ],
            epochs: 3,
            seconds: 65.0,
            seconds_left: Some(60.0),
            pace: Some(1329.0),
            ..View::default()
        }
    }

    #[test]
    fn everything_of_a_run_is_on_the_screen() {
        let screen = drawn(&view(), [100, 30]);
        for words in [
            "runs/a: running, 3 repeats, failed: 2 diverged",
            "24 of 48 samples in",
            "1329 an hour",
            "0.7937",
            "12,345",
            "3x3x8 /2",
            "sample 24 (2 of 3 epochs), 25, by their last checkpoints",
            "best so far",
            "q ends this view",
            "23", // the last sample of the curve
        ] {
            assert!(screen.contains(words), "no '{words}' in\n{screen}");
        }
    }

    /// Small terminals and runs without a child are drawn too.
    #[test]
    fn nothing_is_too_small_to_draw() {
        for size in [[1, 1], [20, 5], [80, 24], [300, 100]] {
            drawn(&view(), size);
            let empty = View {
                state: "stopped",
                ..View::default()
            };
            let screen = drawn(&empty, size);
            assert!(
                size[0] < 80 || screen.contains("no child has ended yet"),
                "{screen}"
            );
        }
    }

    #[test]
    fn a_long_curve_keeps_its_ends() {
        let points: Vec<(f64, f64)> = (0..50_000).map(|x| (f64::from(x), 0.5)).collect();
        let thinned = thinned(&points);
        assert!(thinned.len() <= POINTS + 1);
        assert_eq!((thinned[0], thinned.last()), (points[0], points.last()));
    }
}
