//! `nas-engine data import`: pictures and published data sets into a data folder, a text to where it
//! stays.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{class_counts, text_files};
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::data::corpus;
use crate::data::import::Imported;
use crate::report::table::{Align, aligned};
use crate::text;

/// What is imported.
#[derive(Subcommand)]
pub enum Command {
    /// The Penn Treebank in Mikolov's preparation, checked
    Ptb {
        /// The folder that holds ptb.{train,valid,test}.txt, or simple-examples/data with them
        dir: PathBuf,
        /// Folder to copy to; nas-engine/ptb among the user's data by default
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Ptb { dir, out } => ptb(dir, out.clone(), output),
    }
}

/// Shows what was imported.
fn images(imported: &Imported, output: &Output) -> Result<(), Failure> {
    let Imported {
        folder,
        classes,
        class_counts: counts,
        training,
        test,
        skipped,
        notes,
    } = imported;
    let by_name = classes.iter().zip(counts);
    let by_name = by_name.map(|(name, &n)| (name.clone(), json!(n)));
    let json = json!({
        "folder": folder.display().to_string(),
        "classes": by_name.collect::<Map<String, Value>>(),
        "class_counts": class_counts(classes, counts),
        "training": training,
        "test": test,
        "skipped": skipped,
    });
    for note in notes {
        tracing::warn!("{note}");
    }
    let row = |(name, &n): (&String, &u64)| vec![name.clone(), text::count(n)];
    let rows: Vec<_> = classes.iter().zip(counts).map(row).collect();
    let header = [("class", Align::Left), ("images", Align::Right)];
    let mut words = aligned(&header, &rows);
    if !skipped.is_empty() {
        let rows: Vec<_> = skipped
            .iter()
            .map(|skipped| vec![skipped.file.clone(), skipped.reason.clone()])
            .collect();
        let header = [("left out", Align::Left), ("because", Align::Left)];
        words += &format!("\n{}", aligned(&header, &rows));
    }
    words += &format!(
        "\n{} + {} images; use them with --data {}\n",
        text::count(*training),
        text::count(*test),
        text::shell_path(folder),
    );
    output.result(&json, &words)
}

fn ptb(dir: &Path, out: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let to = out.or_else(|| Some(dirs::data_dir()?.join("nas-engine").join("ptb")));
    let to = to.ok_or_else(|| {
        let message = "the user has no folder for data; name one with --out";
        Failure::new(Kind::Usage, message)
    })?;
    let imported = corpus::import_ptb(dir, &to)?;
    let json = json!({
        "corpus": "ptb",
        "folder": to.display().to_string(),
        "files": imported.files,
        "tokens": imported.tokens,
        "vocabulary": imported.vocabulary,
    });
    let [train, valid, test] = imported.tokens.map(|n| text::count(n as u64));
    let words = format!(
        "{}\nwords       {train} + {valid} + {test}\nvocabulary  {}\n\nuse it with --data {}\n",
        text_files(&imported.files),
        text::count(imported.vocabulary as u64),
        to.display(),
    );
    output.result(&json, &words)
}
