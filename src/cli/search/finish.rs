//! What a person sees of a search that ended, and what to type next.

use std::path::Path;

use serde_json::json;

use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::config::{self, Config, EPOCHS};
use crate::report::{self, Summary};
use crate::run::history::History;
use crate::run::{BEST_FILE_NAME, Status};
use crate::space::SpaceKind;
use crate::text;

/// Shows what a search achieved, before the failure of what came after it. One that achieved nothing is
/// a failure itself.
pub fn show(
    (config, directory, history): (&Config, &Path, &History),
    failure: Option<Failure>,
    output: &Output,
) -> Result<(), Failure> {
    let summary = Summary::new(history);
    let mut json = json!(summary);
    json["run"] = json!(directory.display().to_string()); // also where it is not UTF-8
    let words = words(config, directory, &summary);
    match failure.or_else(|| nothing(&summary, history, directory)) {
        None => output.result(&json, &words),
        Some(failure) => Err(output.partial(&json, &words, failure)?),
    }
}

/// Why a search has no best architecture, and what to do about it.
fn nothing(summary: &Summary, history: &History, directory: &Path) -> Option<Failure> {
    if !summary.best.is_empty() {
        return None;
    }
    let (how, _) = summary.failures.iter().max_by_key(|&(_, n)| *n)?;
    let child = history
        .children
        .values()
        .find(|child| child.status.word() == *how)?;
    let next = match child.status {
        Status::Diverged => {
            "begin a new run with a smaller train.learning_rate in a --config file (or \
             space.learning_rates, where rates are predicted)"
        }
        Status::TooLarge => {
            "begin a new run with smaller architectures (space) or a smaller train.batch in a --config \
             file, or with more device.memory_bytes"
        }
        Status::Invalid => {
            "begin a new run with architectures that can be built: smaller strides or fewer layers \
             (space) in a --config file"
        }
        _ => "mend that, then try again with --resume, or begin a new run",
    };
    let message = format!(
        "no architecture was trained to the end: {}, such as sample {}: {}; {next}; run: {}",
        report::failed(&summary.failures)?,
        child.sample,
        child.message.as_deref().unwrap_or(how),
        text::shell_path(directory),
    );
    Some(Failure::new(Kind::Run, message))
}

fn words(config: &Config, directory: &Path, summary: &Summary) -> String {
    let mut words = format!(
        "\n{} architectures in {}: {} trained, {} repeats, {}\n\n",
        summary.samples,
        text::duration(summary.seconds),
        summary.trained,
        summary.repeats,
        report::failed(&summary.failures).unwrap_or("0 failed".to_owned()),
    );
    words += &summary.best_table();
    words += &format!(
        "\nmean reward  first quarter {}, last quarter {}\nrun          {}\n",
        text::share(summary.mean_reward_first_quarter),
        text::share(summary.mean_reward_last_quarter),
        text::one_line(&directory.display().to_string()),
    );
    if summary.best.is_empty() {
        return words;
    }
    let run = text::shell_path(directory);
    let file = |name: &str| text::shell_path(&directory.join(name));
    words += &format!(
        "\nSee what the search was:\n  nas-engine report {run} --out {}\n",
        file("report.html")
    );
    if config.space.kind() != SpaceKind::Bench {
        words += &format!(
            "\nTrain the best by a small grid of recipes, then on all records, and test it:\n  nas-engine finish {run}\n\
             \nOr for longer by the same recipe, test it and keep its weights:\n  nas-engine train --config \
             {} --arch {} \\\n    --epochs {} --test --save {}\n",
            file(config::FILE_NAME),
            file(BEST_FILE_NAME),
            (config.train.epochs() as u64 * 10).min(*EPOCHS.end()),
            file("best.safetensors"),
        );
    }
    words
}
