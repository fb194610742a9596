//! `nas-engine explain`: a sample's decisions, and what its batch has taught.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};
use super::flags::whole;
use super::output::Output;
use super::runs;
use crate::cluster::explain as shared;
use crate::config::{self, Config, StrategyKind};
use crate::disk::Real;
use crate::report::table::{Align, aligned};
use crate::run::entry::Child;
use crate::run::history::History;
use crate::run::{self, Facts, journal};
use crate::search::explain::{self, Explained, Explanation};
use crate::text;

/// Flags of `explain`.
#[derive(Args)]
pub struct Flags {
    /// Directory of the run
    run: PathBuf,
    /// Number of the sample, from 0
    #[arg(allow_negative_numbers = true, value_parser = whole(config::SAMPLE), value_name = "N")]
    sample: i64,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    runs::refuse_finish(&flags.run)?;
    let Facts { config, history } = run::read(&Real, &flags.run)?;
    let child = child(&history, flags.sample, "N")?;
    if config.search.strategy == StrategyKind::Evolution {
        return bred(&config, &history, child, output);
    }
    let explanation = match config.search.is_alone() {
        true => explain::explain(&config, &history, child).map_err(|error| error.to_string()),
        false => shared::explain(&config, &history, child).map_err(|error| error.to_string()),
    };
    let explanation = explanation.map_err(|error| {
        let file = flags.run.join(journal::FILE_NAME);
        let message = format!(
            "{}: {error}; see which line is not what it should be: nas-engine audit {}",
            file.display(),
            text::shell_path(&flags.run)
        );
        Failure::new(Kind::Journal, message)
    })?;
    output.result(&json!(explanation), &words(&explanation, child))
}

/// Says what evolution made a sample of: there is no distribution that it was drawn from.
fn bred(config: &Config, history: &History, child: &Child, output: &Output) -> Result<(), Failure> {
    let parent = explain::parent(config, history, child);
    let json = json!({
        "sample": child.sample,
        "batch": child.batch,
        "reward": child.reward,
        "parent": parent.map(|parent| parent.sample),
        "parent_reward": parent.and_then(|parent| parent.reward),
        "tokens": child.tokens,
        "parent_tokens": parent.map(|parent| &parent.tokens),
    });
    let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.4}"));
    let from = match parent {
        None => "drawn uniformly, as the population was not full".to_owned(),
        Some(parent) => format!(
            "sample {} with one decision changed, the best of {} of the latest {} (reward {})",
            parent.sample,
            config.search.tournament(),
            config.search.population(),
            number(parent.reward),
        ),
    };
    let words = format!(
        "sample {} of batch {}: {}\nreward {}\n{from}\n",
        child.sample,
        child.batch,
        child.status.word(),
        number(child.reward),
    );
    output.result(&json, &words)
}

/// The child of a sample on record, that a flag asks for.
pub fn child<'a>(history: &'a History, sample: i64, flag: &str) -> Result<&'a Child, Failure> {
    let found = u64::try_from(sample).ok();
    let found = found.and_then(|sample| history.children.get(&sample));
    found.ok_or_else(|| {
        let message = match history.reach().checked_sub(1) {
            None => format!("{flag} is {sample}, but no sample of this run has ended yet"),
            Some(last) if (0..=last as i64).contains(&sample) => {
                format!(
                    "{flag} is {sample}, which has not ended yet; give another from 0 to {last}"
                )
            }
            Some(last) => format!("{flag} is {sample}; give a sample on record, from 0 to {last}"),
        };
        Failure::new(Kind::Usage, message)
    })
}

fn words(explanation: &Explanation, child: &Child) -> String {
    let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.4}"));
    let repeats = child
        .duplicate_of
        .map(|of| format!(", repeats sample {of}"));
    let after = match explanation.log_probability_after {
        Some(after) => format!(", {after:.4} after the update"),
        None => String::new(),
    };
    format!(
        "sample {} of batch {}: {}{}\n\
         log probability {:.4}{after}\n\
         reward {}, baseline {}, advantage {}\n\n{}",
        explanation.sample,
        explanation.batch,
        child.status.word(),
        repeats.unwrap_or_default(),
        explanation.log_probability,
        number(explanation.reward),
        number(explanation.baseline),
        number(explanation.advantage),
        table(&explanation.decisions),
    )
}

/// A row a choice; the one that was taken is marked.
fn table(decisions: &[Explained]) -> String {
    let header = [
        ("step", Align::Right),
        ("layer", Align::Right),
        ("decision", Align::Left),
        ("choice", Align::Right),
        ("", Align::Left),
        ("before", Align::Right),
        ("after", Align::Right),
    ];
    let rows = decisions.iter().flat_map(|decision| {
        let choices = decision.choices.iter().enumerate();
        choices.map(move |(i, choice)| {
            let after = decision.probabilities_after.as_ref().map(|after| after[i]);
            let mut row = match i {
                0 => first_cells(decision),
                _ => vec![String::new(); 3],
            };
            row.push(name(decision, choice));
            row.push(if i == decision.chosen { "*" } else { "" }.to_owned());
            row.push(format!("{:.4}", decision.probabilities[i]));
            row.push(after.map_or("-".to_owned(), |after| format!("{after:.4}")));
            row
        })
    });
    aligned(&header, &rows.collect::<Vec<_>>())
}

fn first_cells(decision: &Explained) -> Vec<String> {
    let layer = decision
        .layer
        .map_or(String::new(), |layer| layer.to_string());
    let kind = match decision.reads {
        Some(earlier) => format!("reads layer {earlier}"),
        None => decision.kind.replace('_', " "),
    };
    vec![decision.step.to_string(), layer, kind]
}

fn name(decision: &Explained, choice: &Value) -> String {
    match (decision.reads, choice) {
        (Some(_), choice) if *choice == json!(1) => "yes".to_owned(),
        (Some(_), _) => "no".to_owned(),
        (None, Value::String(name)) => name.clone(),
        (None, other) => other.to_string(),
    }
}
