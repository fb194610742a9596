//! What there is to know of a cell of NAS-Bench-201.

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::flags;
use crate::cli::output::Output;
use crate::report::notation;
use crate::space::{Architecture, BenchCell, Token};
use crate::text;
use crate::train::table;

/// Shows a cell and what the bundled table has of it.
pub fn show(
    flags: &super::Flags,
    cell: BenchCell,
    tokens: &Result<Vec<Token>, String>,
    output: &Output,
) -> Result<(), Failure> {
    let of_others = [
        ("--batch", flags.batch.is_some()),
        ("--classes", flags.classes.is_some()),
        ("--hidden", flags.hidden.is_some()),
        ("--vocabulary", flags.vocabulary.is_some()),
    ];
    flags::refuse(&of_others, "other architectures", "a cell of NAS-Bench-201")?;
    let (scores, parameters) = table::look_up(&cell);
    let runs = scores.values();
    let json = json!({
        "index": cell.index(),
        "parameters": parameters,
        "table_accuracies": runs,
        "accuracy": scores.reward(),
        "tokens": tokens.as_ref().ok(),
        "tokens_reason": tokens.as_ref().err(),
    });
    let shown: Vec<String> = runs.iter().map(|run| format!("{run:.3}")).collect();
    let words = format!(
        "{}\n\nparameters  {}\naccuracy    {:.3} % on CIFAR-10 (runs: {})\ntokens      {}\n",
        notation::line(&Architecture::Bench(cell)),
        text::count(parameters),
        scores.reward(),
        shown.join(", "),
        super::tokens_in_words(tokens),
    );
    output.result(&json, &words)
}
