//! Cases of loading windows of text: rows that go on, and rows that end.

use super::{Case, Tolerance};
use nas_engine::data::windows::Windows;
use nas_engine::graph::step::{Content, Step};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(1, 1, 2),
        case(3, 4, 31),
        case(2, 5, 23),
        case(5, 3, 20),
        // Windows longer than what is looked at together.
        case(2, 200, 661),
    ]
}

/// A text of `len` words in `rows` rows, of which all windows are loaded and the last compared.
fn case(rows: usize, steps: usize, len: u32) -> Case {
    let title = ("load_tokens", format!("{len} words, windows of {steps}"));
    Case::new(title, rows, [0, 0], Tolerance::new(0.0), move |setup| {
        let text: Vec<u32> = (0..len).map(|i| i * 7 % 13).collect();
        let mut windows = Windows::default();
        let of_text = windows.add(&text, rows).expect("long enough");
        let starts = of_text.starts(steps, false);
        setup.times(starts.len() / rows);
        setup.tokens(windows.tokens(), &starts);
        let content = || Content::Values(steps * rows);
        let inputs = setup.builder.buffer("inputs", content());
        let targets = setup.builder.buffer("targets", content());
        setup.forward(Step::LoadTokens {
            inputs,
            targets,
            steps,
        });
        setup.forward(Step::Advance);
        setup.output(inputs);
        setup.output(targets);
    })
}
