//! What a person sees of a search that ended, and what to type next.

use std::path::Path;

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::{self, Config, EPOCHS};
use crate::report::Summary;
use crate::run::BEST_FILE_NAME;
use crate::run::history::History;
use crate::text;

/// Shows what a search achieved.
pub fn show(
    config: &Config,
    directory: &Path,
    history: &History,
    output: &Output,
) -> Result<(), Failure> {
    let summary = Summary::new(history);
    let mut json = json!(summary);
    json["run"] = json!(directory.display().to_string()); // also where it is not UTF-8
    output.result(&json, &words(config, directory, &summary))
}

fn words(config: &Config, directory: &Path, summary: &Summary) -> String {
    let mut words = format!(
        "\n{} architectures in {}: {} trained, {} repeats, {} failed{}\n\n",
        summary.samples,
        text::duration(summary.seconds),
        summary.trained,
        summary.repeats,
        summary.failures.values().sum::<u64>(),
        failures(summary),
    );
    words += &summary.best_table();
    words += &format!(
        "\nmean reward  first quarter {}, last quarter {}\nrun          {}\n",
        text::share(summary.mean_reward_first_quarter),
        text::share(summary.mean_reward_last_quarter),
        directory.display(),
    );
    if !summary.best.is_empty() {
        let file = |name: &str| text::shell_path(&directory.join(name));
        words += &format!(
            "\nTrain the best for longer, test it and keep its weights:\n  nas-engine train --config \
             {} --arch {} \\\n    --epochs {} --test --save {}\n",
            file(config::FILE_NAME),
            file(BEST_FILE_NAME),
            (config.train.epochs() * 10).min(*EPOCHS.end()),
            file("best.safetensors"),
        );
    }
    words
}

/// How children failed, in brackets.
fn failures(summary: &Summary) -> String {
    let kinds: Vec<String> = summary
        .failures
        .iter()
        .map(|(status, n)| format!("{n} {status}"))
        .collect();
    if kinds.is_empty() {
        String::new()
    } else {
        format!(" ({})", kinds.join(", "))
    }
}
