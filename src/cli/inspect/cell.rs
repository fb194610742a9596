//! `nas-engine inspect` of a recurrent cell: equations, drawn tree, tokens, parameters.

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::report::cell::{LETTERS, drawing, equations};
use crate::space::{CellArchitecture, Token};
use crate::text;

/// Layers of a child.
const LAYERS: u64 = 2;

/// The language model around a cell: units of a layer and words.
pub struct Size {
    /// Units of a layer.
    pub hidden: usize,
    /// Words.
    pub vocabulary: usize,
}

/// Shows a cell; its parameters where the size of the model is known.
pub fn show(
    cell: &CellArchitecture,
    tokens: &Result<Vec<Token>, String>,
    size: Option<&Size>,
    output: &Output,
) -> Result<(), Failure> {
    let (equations, tree) = (equations(cell), drawing(cell));
    let parameters = size.map(|size| {
        let (hidden, vocabulary) = (size.hidden as u64, size.vocabulary as u64);
        cell.parameters(LAYERS, hidden, vocabulary, false)
    });
    let (kind, base) = match cell {
        CellArchitecture::Tree(tree) => ("tree", Some(tree.base())),
        CellArchitecture::Lstm => ("lstm", None),
    };
    let json = json!({
        "kind": kind,
        "base": base,
        "equations": equations,
        "tree": tree,
        "parameters": parameters,
        "hidden": size.map(|size| size.hidden),
        "vocabulary": size.map(|size| size.vocabulary),
        "tokens": tokens.as_ref().ok(),
        "tokens_reason": tokens.as_ref().err(),
    });
    let parameters = match (parameters, size) {
        (Some(n), Some(Size { hidden, vocabulary })) => format!(
            "{} ({LAYERS} layers of {} units, {} words)",
            text::count(n),
            text::count(*hidden as u64),
            text::count(*vocabulary as u64),
        ),
        _ => "give --hidden".to_owned(),
    };
    let gap = if tree.is_empty() { "" } else { "\n" };
    let words = format!(
        "{}\n\nwhere {LETTERS}\n\n{tree}{gap}parameters  {parameters}\ntokens      {}\n",
        equations.join("\n"),
        super::tokens_in_words(tokens),
    );
    output.result(&json, &words)
}
