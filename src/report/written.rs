//! A report for programs and for other documents: every child as CSV, all that a page says as JSON, the
//! words as Markdown.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Serialize;
use serde_json::value::{RawValue, Value};

use super::overview::{self, HEADS, Overview};
use super::record::{Record, Row};
use super::spent::{self, Epoch};
use super::{Best, choices, final_training, notation, series};
use crate::finish::progress::Progress;
use crate::run::entry::ChildFacts;
use crate::space::Architecture;
use crate::train::Counted;

/// Architectures that are told of in words.
const ROWS: usize = 5;

/// Every child of every run: a line each, in the order of their samples.
pub fn csv(records: &[Record]) -> String {
    let mut csv = "run,sample,batch,status,accuracy,perplexity,reward,parameters,multiply_adds,seconds,clock,\
                   duplicate_of,architecture\n"
        .to_owned();
    let number = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
    let whole = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
    for record in records {
        let name = quoted(&record.name);
        for row in &record.rows {
            let child = row.child;
            let (accuracy, perplexity) = scores(row);
            let _ = writeln!(
                csv,
                "{name},{},{},{},{},{},{},{},{},{},{:.3},{},{}",
                child.sample(),
                child.batch(),
                child.status().word(),
                number(accuracy),
                number(perplexity),
                number(child.reward()),
                whole(child.parameters()),
                whole(row.multiply_adds),
                row.seconds,
                row.clock,
                whole(child.duplicate_of()),
                quoted(record.notation(row)),
            );
        }
    }
    csv
}

/// A value of CSV: in quotes where it holds what would end it.
fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

/// Accuracy and perplexity, of which a child has one.
fn scores(row: &Row) -> (Option<f64>, Option<f64>) {
    match row.child.counted() {
        Some(Counted::Accuracy(accuracy)) => (Some(accuracy), None),
        Some(Counted::Perplexity(perplexity)) => (None, Some(perplexity)),
        None => (None, None),
    }
}

/// All that is reported of some runs, for programs.
#[derive(Serialize)]
pub struct Report<'a> {
    runs: Vec<Run<'a>>,
}

#[derive(Serialize)]
struct Run<'a> {
    run: &'a str,
    state: &'static str,
    strategy: &'static str,
    space: &'static str,
    preset: &'a str,
    seed: u64,
    samples: u64,
    total: u64,
    trained: u64,
    repeats: u64,
    best: &'a [Best<'a>],
    top15: Option<f64>,
    mean_reward: Option<f64>,
    mean_reward_first_quarter: Option<f64>,
    mean_reward_last_quarter: Option<f64>,
    failures: Vec<Failure>,
    seconds: f64,
    training_seconds: f64,
    /// An estimate; nothing where there is none.
    flops: Option<f64>,
    flops_source: String,
    /// As (sample, value), as in the charts of a page.
    reward_mean_of_100: Vec<[f64; 2]>,
    reward_best: Vec<[f64; 2]>,
    entropy: Vec<[f64; 2]>,
    choices: Vec<Choices>,
    config: String,
    children: Vec<Child<'a>>,
    /// The final training, of a run that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<Value>,
}

#[derive(Serialize)]
struct Failure {
    status: &'static str,
    count: u64,
    message: Option<String>,
}

/// The shares of a kind's choices over time.
#[derive(Serialize)]
struct Choices {
    kind: String,
    choices: Vec<String>,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    sample: f64,
    shares: Vec<f64>,
}

#[derive(Serialize)]
struct Child<'a> {
    sample: u64,
    batch: u64,
    status: &'static str,
    #[serde(flatten)]
    score: Option<Counted>,
    reward: Option<f64>,
    parameters: Option<u64>,
    multiply_adds: Option<u64>,
    seconds: f64,
    clock: f64,
    duplicate_of: Option<u64>,
    message: Option<&'a str>,
    notation: &'a str,
    architecture: Cow<'a, RawValue>,
}

impl<'a> Report<'a> {
    /// Of some runs.
    pub fn new(records: &'a [Record<'a>]) -> Report<'a> {
        Report {
            runs: records.iter().map(run).collect(),
        }
    }
}

fn run<'a>(record: &'a Record<'a>) -> Run<'a> {
    let (config, summary) = (record.config, &record.summary);
    let epoch = Epoch::of(config);
    let made = choices::made(&record.space, &record.rows);
    let sample = |i: usize| record.rows.get(i).map_or(0.0, |row| row.sample() as f64);
    let entropy = choices::entropy(&record.space, &made).into_iter();
    let shares = choices::distributions(&record.space, &made).into_iter();
    let spent: Vec<f64> = epoch.map_or(vec![], |epoch| {
        record
            .rows
            .iter()
            .filter_map(|row| spent::flops(row, epoch))
            .collect()
    });
    Run {
        run: &record.name,
        state: record.state.word(),
        strategy: config.search.strategy.name(),
        space: config.space.kind().name(),
        preset: &config.search.preset,
        seed: config.search.seed,
        samples: summary.samples,
        total: config.search.samples,
        trained: summary.trained,
        repeats: summary.repeats,
        best: &summary.best,
        top15: Overview::new(record).top,
        mean_reward: summary.mean_reward,
        mean_reward_first_quarter: summary.mean_reward_first_quarter,
        mean_reward_last_quarter: summary.mean_reward_last_quarter,
        failures: overview::failures(record)
            .into_iter()
            .map(failure)
            .collect(),
        seconds: summary.seconds,
        training_seconds: spent::training_seconds(&record.rows),
        flops: (!spent.is_empty()).then(|| spent.iter().sum()),
        flops_source: spent::how(record, epoch),
        reward_mean_of_100: series::mean_of_window(&series::earned(&record.rows, false)),
        reward_best: series::best_so_far(&series::earned(&record.rows, true)),
        entropy: entropy.map(|(i, entropy)| [sample(i), entropy]).collect(),
        choices: shares
            .map(|of| Choices {
                kind: of.kind,
                choices: of.choices,
                parts: of
                    .parts
                    .into_iter()
                    .map(|(i, shares)| Part {
                        sample: sample(i as usize),
                        shares,
                    })
                    .collect(),
            })
            .collect(),
        config: config.to_toml(),
        children: record.rows.iter().map(|row| child(record, row)).collect(),
        finish: record.finish.as_ref().map(final_training::json),
    }
}

fn failure(of: overview::Failures) -> Failure {
    Failure {
        status: of.status.word(),
        count: of.count,
        message: of.message,
    }
}

fn child<'a>(record: &'a Record<'a>, row: &'a Row<'a>) -> Child<'a> {
    let child = row.child;
    Child {
        sample: child.sample(),
        batch: child.batch(),
        status: child.status().word(),
        score: child.counted(),
        reward: child.reward(),
        parameters: child.parameters(),
        multiply_adds: row.multiply_adds,
        seconds: row.seconds,
        clock: row.clock,
        duplicate_of: child.duplicate_of(),
        message: row.message.as_deref(),
        notation: record.notation(row),
        architecture: child.architecture(),
    }
}

/// The words of a report, without its charts and without every child.
pub fn markdown(records: &[Record]) -> String {
    let mut text = "# Report of a search\n\n".to_owned();
    text += &table(
        &HEADS,
        records.iter().map(|record| Overview::new(record).row()),
    );
    for words in overview::not_comparable(records) {
        let _ = write!(text, "\n{}\n", in_line(&words));
    }
    for record in records {
        let _ = write!(text, "\n## {}\n\n", in_line(&record.name));
        for (what, words) in overview::facts(record, Epoch::of(record.config)) {
            let _ = writeln!(text, "- {what}: {}", in_line(&words));
        }
        if let Some(words) = overview::notice(record) {
            let _ = write!(text, "\n{}\n", in_line(&words));
            continue;
        }
        let best = record.summary.best.iter().take(ROWS).map(|best| {
            let json = best.architecture.get();
            let line = Architecture::from_json(json).map(|parsed| notation::line(&parsed));
            vec![
                best.sample.to_string(),
                best.score.shown().1,
                format!("{:.4}", best.reward),
                best.parameters.map_or("-".to_owned(), |n| n.to_string()),
                line.unwrap_or_else(|_| json.to_owned()),
            ]
        });
        let heads = [
            "sample",
            record.score_name(),
            "reward",
            "parameters",
            "architecture",
        ];
        text += "\n";
        text += &table(&heads, best);
        if let Some(finish) = &record.finish {
            text += &final_words(finish);
        }
        let failed = overview::failures(record);
        if !failed.is_empty() {
            let rows = failed.into_iter().map(|of| {
                vec![
                    of.status.word().to_owned(),
                    of.count.to_string(),
                    of.message.unwrap_or_default(),
                ]
            });
            text += "\n";
            text += &table(&["failed as", "children", "most frequent message"], rows);
        }
    }
    text
}

/// The final training of a run.
fn final_words(finish: &Progress) -> String {
    let heads = final_training::HEADS.map(|(head, _)| head);
    let mut text = format!(
        "\n### Final training\n\n{}\n\n",
        final_training::line(finish)
    );
    for (what, value) in final_training::results(finish) {
        let _ = writeln!(text, "- {what}: {value}");
    }
    text += "\n";
    text += &table(&heads, final_training::rows(finish).into_iter());
    let _ = writeln!(text, "\n{}", final_training::note(finish.kind()));
    text
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&mut heads.iter().map(|head| (*head).to_owned()));
    text += &line(&mut heads.iter().map(|_| "---".to_owned()));
    for row in rows {
        text += &line(&mut row.iter().map(|cell| in_line(cell)));
    }
    text
}

/// A text that ends neither a line nor a cell.
fn in_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_value_is_quoted() {
        assert_eq!(quoted("a b"), "a b");
        assert_eq!(quoted("3x3(1,2)"), "\"3x3(1,2)\"");
        assert_eq!(quoted("a\"b\n"), "\"a\"\"b\n\"");
        assert_eq!(
            table(&["a", "b"], [vec!["1|2".into(), "x\ny".into()]].into_iter()),
            "| a | b |\n| --- | --- |\n| 1\\|2 | x y |\n"
        );
    }
}
