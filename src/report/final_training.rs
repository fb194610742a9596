//! What the final training of a run is reported as: for programs, as a table, and in words.

use serde_json::{Value, json};

use super::table::Align;
use crate::finish::Last;
use crate::finish::grid::Point;
use crate::finish::progress::Progress;
use crate::run::state::State;
use crate::space::SpaceKind;
use crate::text;
use crate::train::Counted;

/// Heads of the columns of [`rows`].
pub const HEADS: [(&str, Align); 5] = [
    ("sample", Align::Right),
    ("in the search", Align::Right),
    ("recipe", Align::Left),
    ("validation", Align::Right),
    ("", Align::Left),
];

/// How far it is and what it came to, with every training of the grid, for programs.
pub fn json(of: &Progress) -> Value {
    let mut json = state_json(of);
    json["candidates"] = candidates_json(of);
    json
}

/// How far it is and what it came to, for programs.
pub fn state_json(of: &Progress) -> Value {
    let mut json = json!({
        "state": of.state.word(),
        "tried": of.tried.len(),
        "trainings": of.grid.len(),
    });
    for (key, value) in results_json(of) {
        json[key] = value;
    }
    json
}

/// What was chosen and what that came to; null where that is not known yet.
pub fn results_json(of: &Progress) -> Vec<(&'static str, Value)> {
    let [.., test] = measures(of.kind());
    let chosen = of.chosen.as_ref().map_or(Value::Null, |chosen| {
        let mut json = json!(chosen.recipe);
        json["sample"] = json!(of.grid.candidates[chosen.candidate].sample);
        json
    });
    let last = of.last.map_or(Value::Null, |last| {
        let mut json = json!({
            "epochs": last.epochs,
            test: last.test,
            "parameters": last.parameters,
            "weights": of.weights().display().to_string(),
            "architecture": of.architecture().display().to_string(),
        });
        if of.kind() == SpaceKind::Conv {
            json["test_error"] = json!(1.0 - last.test);
        }
        json
    });
    let control = of.control.map(|control| {
        let json = json!({
            "kind": "lstm",
            "epochs": control.epochs,
            test: control.test,
            "parameters": control.parameters,
        });
        ("control", json)
    });
    let results = [("chosen", chosen), ("final", last)];
    results.into_iter().chain(control).collect()
}

/// Every training of the grid that has ended, by candidate.
pub fn candidates_json(of: &Progress) -> Value {
    let [search, validation, _] = measures(of.kind());
    let points = of.grid.points();
    let tried = |point: &Point| {
        let child = of.tried.get(&point.index)?;
        let mut json = json!(point.recipe);
        json[validation] = match of.achieved(point) {
            Some(Counted::Accuracy(x) | Counted::Perplexity(x)) => json!(x),
            None => Value::Null,
        };
        json["status"] = json!(child.status);
        Some(json)
    };
    let candidates = of.grid.candidates.iter().enumerate();
    let candidates = candidates.map(|(i, candidate)| {
        let of_it = points.iter().filter(|point| point.candidate == i);
        let grid: Vec<Value> = of_it.filter_map(tried).collect();
        json!({"sample": candidate.sample, search: candidate.search, "grid": grid})
    });
    Value::Array(candidates.collect())
}

/// What search, validation and test measure, as programs read it.
fn measures(kind: SpaceKind) -> [&'static str; 3] {
    match kind {
        SpaceKind::Cell => [
            "search_perplexity",
            "validation_perplexity",
            "test_perplexity",
        ],
        _ => ["search_accuracy", "validation_accuracy", "test_accuracy"],
    }
}

/// Every training of the grid in a row.
pub fn rows(of: &Progress) -> Vec<Vec<String>> {
    let row = |point: Point| {
        let candidate = &of.grid.candidates[point.candidate];
        let is_chosen = |chosen: &Point| chosen.index == point.index;
        let chosen = of.chosen.as_ref().is_some_and(is_chosen);
        vec![
            candidate.sample.to_string(),
            digits(of.kind(), candidate.search),
            point.recipe.words(),
            achieved(of, &point),
            if chosen { "chosen" } else { "" }.to_owned(),
        ]
    };
    of.grid.points().into_iter().map(row).collect()
}

/// What a training of the grid achieved, in words.
fn achieved(of: &Progress, point: &Point) -> String {
    match (of.achieved(point), of.tried.get(&point.index)) {
        (Some(counted), _) => counted.shown().1,
        (None, Some(child)) => child.status.word().to_owned(),
        (None, None) => "not yet".to_owned(),
    }
}

/// What the values of [`rows`] are.
pub fn note(kind: SpaceKind) -> &'static str {
    match kind {
        SpaceKind::Cell => {
            "In the search and in validation, the perplexity is that of a training's last epoch on the \
             validation text."
        }
        _ => {
            "In the search and in validation, the accuracy is the best of a training's last five epochs on \
             the validation images; the test accuracy is that after the last epoch."
        }
    }
}

/// What it came to, as (what, value): nothing before its last training has ended.
pub fn results(of: &Progress) -> Vec<(String, String)> {
    let (Some(chosen), Some(last)) = (&of.chosen, of.last) else {
        return vec![];
    };
    let what = match of.kind() {
        SpaceKind::Cell => "perplexity",
        _ => "accuracy",
    };
    let candidate = &of.grid.candidates[chosen.candidate];
    let shown = |x: f64| digits(of.kind(), x);
    let mut results = vec![
        (
            format!("{what} in the search (validation)"),
            shown(candidate.search),
        ),
        (format!("final {what} (test, read once)"), shown(last.test)),
    ];
    if let Some(control) = of.control {
        results.push((
            "the same of an LSTM".to_owned(),
            of_control(&control, &last),
        ));
    }
    results
}

fn of_control(control: &Last, last: &Last) -> String {
    format!(
        "{} ({} parameters; the cell {})",
        digits(SpaceKind::Cell, control.test),
        text::count(control.parameters),
        text::count(last.parameters),
    )
}

/// How far it is, in a line.
pub fn line(of: &Progress) -> String {
    let chosen = of.chosen.as_ref().map(|chosen| {
        let sample = of.grid.candidates[chosen.candidate].sample;
        format!("sample {sample} was chosen")
    });
    let (state, hint) = match of.state {
        State::Finished => {
            return format!("final training finished; {}", chosen.unwrap_or_default());
        }
        State::Unknown => (
            "not finished",
            "; whether a process works on it cannot be seen from here",
        ),
        state => (state.word(), ""),
    };
    let last = match (chosen, of.last) {
        (Some(chosen), None) => format!(", {chosen}, its last training has not ended"),
        (Some(chosen), Some(_)) => format!(", {chosen}, that of the LSTM beside it has not ended"),
        (None, _) => String::new(),
    };
    format!(
        "final training {state}; {} of {} trainings of the grid have ended{last}{hint}",
        of.tried.len(),
        of.grid.len()
    )
}

fn digits(kind: SpaceKind, x: f64) -> String {
    let counted = match kind {
        SpaceKind::Cell => Counted::Perplexity(x),
        _ => Counted::Accuracy(x),
    };
    counted.shown().1
}
