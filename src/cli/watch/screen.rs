//! How `watch` draws a run: its state, its rewards, the best, what is under way.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Table};

use super::view::View;
use super::{rewards, words};
use crate::text;

/// Columns and lines of a terminal that does not tell its size.
const USUAL: [u16; 2] = [80, 24];

/// The largest picture: what is beyond takes memory and shows no more.
const LARGEST: [u16; 2] = [500, 250];

/// The smallest terminal that a run is drawn on.
const SMALLEST: [u16; 2] = [40, 10];

/// Lines that are no chart or table of the best: heading, progress, children under way, foot.
const OTHERS: u16 = 6;

/// Columns from which on the table of the best has the parameters.
const WIDE: u16 = 60;

/// The lowest chart, and the lowest table of the best.
const LOWEST: [u16; 2] = [8, 4];

/// What is drawn on, of a terminal of so many columns and lines; 0 where it does not tell.
pub fn area(told: (u16, u16)) -> Rect {
    let [width, height] = [(told.0, 0), (told.1, 1)].map(|(told, i)| match told {
        0 => USUAL[i],
        told => told.min(LARGEST[i]),
    });
    Rect::new(0, 0, width, height)
}

/// Draws a run.
pub fn draw(frame: &mut Frame, view: &View) {
    let area = frame.area();
    if area.width < SMALLEST[0] || area.height < SMALLEST[1] {
        return draw_little(frame, view);
    }
    let room = area.height - OTHERS;
    let table = (view.found.len() as u16 + 3).max(LOWEST[1]);
    let table = match room < LOWEST[0] + LOWEST[1] {
        true => room,
        false => table.min(room - LOWEST[0]),
    };
    let areas = Layout::vertical([1, 1, room - table, table, 3, 1].map(Constraint::Length));
    let [head, progress, chart, best, under_way, foot] = areas.areas(area);
    let width = usize::from(area.width);
    frame.render_widget(Line::from(words::heading(view, width)).bold(), head);
    let ratio = view.samples as f64 / view.total.max(1) as f64;
    let gauge = Gauge::default()
        .gauge_style(Style::new().fg(Color::Blue))
        .ratio(ratio.clamp(0.0, 1.0))
        .label(words::progress(view, width));
    frame.render_widget(gauge, progress);
    rewards::draw(frame, chart, view);
    draw_best(frame, best, view);
    let title = Block::bordered().title(words::children_title(view));
    let children = Paragraph::new(words::children(view)).block(title);
    frame.render_widget(children, under_way);
    frame.render_widget(Line::from(words::foot(view)).dim(), foot);
}

/// Draws on a terminal that is too small for a run: that it is, and where there is room how far the run is.
fn draw_little(frame: &mut Frame, view: &View) {
    let area = frame.area();
    let [width, height] = SMALLEST;
    let words = [
        format!("terminal too small: {width} x {height} needed"),
        "terminal too small".to_owned(),
        "too small".to_owned(),
    ];
    let fits = |words: &String| words.chars().count() <= usize::from(area.width);
    let told = words.into_iter().find(fits).unwrap_or("…".to_owned());
    let more = [words::samples(view), view.state.word().to_owned()];
    let lines = std::iter::once(told).chain(more.into_iter().filter(fits));
    let lines: Vec<Line> = lines.map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_best(frame: &mut Frame, area: Rect, view: &View) {
    let title = Block::bordered().title("best so far");
    if view.found.is_empty() {
        let none = Paragraph::new("no child has been trained to the end").block(title);
        return frame.render_widget(none, area);
    }
    let columns: &[usize] = match area.width < WIDE {
        true => &[0, 1, 2, 4],
        false => &[0, 1, 2, 3, 4],
    };
    let shown = |cells: [String; 5]| {
        Row::new(
            columns
                .iter()
                .map(|&i| cells[i].clone())
                .collect::<Vec<_>>(),
        )
    };
    let header = ["sample", view.score, "reward", "parameters", "architecture"];
    let header = shown(header.map(str::to_owned)).bold();
    let rows = view.found.iter().map(|found| {
        shown([
            found.sample.to_string(),
            found.score.clone(),
            format!("{:.4}", found.reward),
            found.parameters.map_or("-".to_owned(), text::count),
            found.architecture.clone(),
        ])
    });
    let widths = [
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows, columns.iter().map(|&i| widths[i]))
        .header(header)
        .block(title);
    frame.render_widget(table, area);
}

#[cfg(test)]
pub mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::super::view::Found;
    use super::*;
    use crate::run::state::State;
    use crate::run::under_way::UnderWay;

    pub fn buffer(view: &View, told: (u16, u16)) -> Buffer {
        let area = area(told);
        let mut terminal = Terminal::new(TestBackend::new(area.width, area.height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().buffer().clone()
    }

    pub fn drawn(view: &View, told: (u16, u16)) -> String {
        let buffer = buffer(view, told);
        let cells = buffer.content.iter().map(|cell| cell.symbol());
        let cells: Vec<&str> = cells.collect();
        let lines = cells.chunks(usize::from(buffer.area.width));
        let lines = lines.map(|line| line.concat().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn view() -> View {
        View {
            name: "runs/a".to_owned(),
            state: State::Running,
            samples: 24,
            total: 48,
            rewards: (0..24).map(|x| (f64::from(x), 0.3)).collect(),
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
            under_way: [(24, Some(2)), (25, None)]
                .map(|(sample, epochs)| UnderWay { sample, epochs })
                .into(),
            epochs: 3,
            seconds: 65.0,
            seconds_left: Some(60.0),
            pace: Some(1329.0),
            ..View::default()
        }
    }

    #[test]
    fn everything_of_a_run_is_on_the_screen() {
        let screen = drawn(&view(), (100, 30));
        for words in [
            "runs/a: running, 3 repeats, failed: 2 diverged",
            "24 of 48 samples in",
            "1329 an hour",
            "0.7937",
            "12,345",
            "3x3x8 /2",
            "under way: 2",
            "samples 24 (2 of 3 epochs), 25; epochs as of their last checkpoints",
            "best so far",
            "q ends this view; the search goes on",
            "23", // the last sample of the curve
        ] {
            assert!(screen.contains(words), "no '{words}' in\n{screen}");
        }
    }

    #[test]
    fn the_foot_fits_the_state() {
        for (state, words) in [
            (State::Finished, "q ends this view; the search is finished"),
            (State::Stopped, "q ends this view; the search has stopped"),
            (
                State::Unknown,
                "q ends this view; whether the search goes on cannot be seen",
            ),
        ] {
            let screen = drawn(&View { state, ..view() }, (80, 24));
            let heading = format!("runs/a: {}", state.word());
            assert!(
                screen.contains(words) && screen.contains(&heading),
                "{screen}"
            );
            assert!(!screen.contains("; the search goes on"), "{screen}");
        }
    }

    /// Before any child has ended there is no table of nothing.
    #[test]
    fn a_search_that_has_just_begun_says_what_is_under_way() {
        let begun = View {
            name: "runs/a".to_owned(),
            state: State::Running,
            total: 48,
            begun: Some(5.0),
            under_way: [0, 1]
                .map(|sample| UnderWay {
                    sample,
                    epochs: None,
                })
                .into(),
            ..View::default()
        };
        let screen = drawn(&begun, (80, 24));
        for words in [
            "0 of 48 samples, begun 5.0s ago",
            "no child has ended yet; 2 under way",
            "no child has been trained to the end",
            "samples 0, 1; no checkpoint yet",
        ] {
            assert!(screen.contains(words), "no '{words}' in\n{screen}");
        }
        assert!(!screen.contains("parameters"), "{screen}");
    }

    #[test]
    fn a_terminal_that_is_too_small_says_so() {
        for (told, lines) in [
            ((10, 3), "too small\nrunning\n"),
            ((1, 1), "…"),
            ((18, 1), "terminal too small"),
            (
                (39, 30),
                "terminal too small: 40 x 10 needed\n24 of 48 samples\nrunning",
            ),
            (
                (200, 9),
                "terminal too small: 40 x 10 needed\n24 of 48 samples\nrunning",
            ),
        ] {
            let screen = drawn(&view(), told);
            assert_eq!(screen.trim_end(), lines.trim_end(), "{told:?}");
        }
    }

    #[test]
    fn a_terminal_of_unknown_size_is_taken_for_a_usual_one() {
        assert_eq!(area((0, 0)), Rect::new(0, 0, 80, 24));
        assert_eq!(area((0, 50)), Rect::new(0, 0, 80, 50));
        assert_eq!(area((100, 0)), Rect::new(0, 0, 100, 24));
        assert_eq!(area((u16::MAX, u16::MAX)), Rect::new(0, 0, 500, 250));
        assert!(drawn(&view(), (0, 0)).contains("24 of 48 samples"));
    }

    #[test]
    fn a_narrow_table_has_whole_columns() {
        for (width, head) in [
            (40, "│sample accuracy   reward  architecture│"),
            (
                60,
                "│sample accuracy   reward  parameters   architecture       │",
            ),
        ] {
            let screen = drawn(&view(), (width, 24));
            assert!(screen.contains(head), "{screen}");
        }
    }

    /// Of every size from the smallest on, borders and the foot are whole, and nothing panics.
    #[test]
    fn every_size_is_drawn_on() {
        let empty = View {
            state: State::Stopped,
            final_training: Some("final training finished; sample 7 was chosen".to_owned()),
            ..View::default()
        };
        for width in [1, 2, 9, 39, 40, 41, 75, 76, 80, 300] {
            for height in 1..40 {
                let screens = [&view(), &empty].map(|view| drawn(view, (width, height)));
                if width < SMALLEST[0] || height < SMALLEST[1] {
                    continue;
                }
                for screen in screens {
                    let corners = |c| screen.matches(c).count();
                    let boxes = if height < 18 { 2 } else { 3 };
                    assert_eq!(['┌', '┐', '┘'].map(corners), [boxes; 3], "{screen}");
                    assert!(screen.contains("q ends this view"), "{screen}");
                }
            }
        }
    }
}
