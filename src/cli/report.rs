//! `nas-engine report`: what a search was and what it came to, as a page, as numbers or in words.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, Kind};
use super::output::Output;
use super::runs;
use crate::report::chart;
use crate::report::overview;
use crate::report::page::{self, Page};
use crate::report::record::Record;
use crate::report::written::{self, Report};
use crate::text;

/// Flags of `report`.
#[derive(Args)]
pub struct Flags {
    /// Directories of runs: the one to report on, and others to show beside it, such as a random control
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write the report to this file: .html, .csv, .json or .md
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What to write: a page, every child as CSV, all as JSON, or words; by the name of --out, else words
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Also write the charts of the page as SVG files into this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One page that needs no network.
    Html,
    /// A line a child.
    Csv,
    /// All of it, for programs.
    Json,
    /// Words and tables.
    Md,
}

impl Format {
    /// The one that a file's name ends with.
    fn of(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match &*ending {
            "html" | "htm" => Some(Format::Html),
            "csv" => Some(Format::Csv),
            "json" => Some(Format::Json),
            "md" => Some(Format::Md),
            _ => None,
        }
    }
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    if let Some(out) = &flags.out {
        runs::check_out("--out", out, flags.force)?;
    }
    let format = format(flags, output)?;
    runs::read(&flags.runs, |records| {
        for (record, path) in records.iter_mut().zip(&flags.runs) {
            record.finish = runs::finish(path);
        }
        let records = &*records;
        let notices = records.iter().filter_map(overview::notice);
        for words in notices.chain(overview::not_comparable(records)) {
            tracing::warn!("{words}");
        }
        let page = match format == Format::Html || flags.plots.is_some() {
            true => {
                Some(page::page(records).map_err(|error| Failure::from_error(Kind::Run, &error))?)
            }
            false => None,
        };
        let plots = match (&flags.plots, &page) {
            (Some(folder), Some(page)) => plots(folder, page, flags.force)?,
            _ => vec![],
        };
        let html = page.map(|page| page.html);
        match &flags.out {
            Some(out) => to_file(records, format, html, out, &plots, output),
            None => to_stdout(records, format, html, output),
        }
    })
}

fn format(flags: &Flags, output: &Output) -> Result<Format, Failure> {
    match (flags.format, &flags.out) {
        (Some(format), None) if output.json && format != Format::Json => {
            let message =
                "--json prints JSON; leave it or --format out, or give --out FILE for the report";
            Err(Failure::new(Kind::Usage, message))
        }
        (Some(format), _) => Ok(format),
        (None, None) if output.json => Ok(Format::Json),
        (None, None) => Ok(Format::Md),
        (None, Some(out)) => Format::of(out).ok_or_else(|| {
            let message = format!(
                "--out {} ends with none of .html, .csv, .json, .md; end it so, or give --format",
                out.display()
            );
            Failure::new(Kind::Usage, message)
        }),
    }
}

fn to_stdout(
    records: &[Record],
    format: Format,
    html: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    match format {
        Format::Html => output.text(&html.unwrap_or_default()),
        Format::Csv => output.text(&written::csv(records)),
        Format::Md => output.text(&written::markdown(records)),
        Format::Json => {
            let json = Output {
                json: true,
                ..output.clone()
            };
            json.result(&Report::new(records), "")
        }
    }
}

fn to_file(
    records: &[Record],
    format: Format,
    html: Option<String>,
    out: &Path,
    plots: &[PathBuf],
    output: &Output,
) -> Result<(), Failure> {
    let content = match format {
        Format::Html => html.unwrap_or_default(),
        Format::Csv => written::csv(records),
        Format::Md => written::markdown(records),
        Format::Json => {
            let json = serde_json::to_string(&Report::new(records));
            json.map_err(|error| Failure::from_error(Kind::Run, &error))? + "\n"
        }
    };
    runs::write("--out", out, content.as_bytes())?;
    let of = |record: &Record| {
        json!({
            "run": record.name,
            "state": record.state.word(),
            "samples": record.summary.samples,
            "total": record.config.search.samples,
        })
    };
    let json = json!({
        "out": out.display().to_string(),
        "bytes": content.len(),
        "runs": records.iter().map(of).collect::<Vec<_>>(),
        "plots": plots.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    });
    let n_samples: u64 = records.iter().map(|record| record.summary.samples).sum();
    let words = format!(
        "{}: {} children, {}\n",
        out.display(),
        text::count(n_samples),
        text::bytes(content.len() as u64)
    );
    output.result(&json, &words)
}

/// Writes the charts of a page; their files.
fn plots(folder: &Path, page: &Page, force: bool) -> Result<Vec<PathBuf>, Failure> {
    fs::create_dir_all(folder).map_err(|error| {
        let message = format!(
            "cannot make --plots {}: {error}; choose another folder",
            folder.display()
        );
        Failure::new(Kind::Usage, message)
    })?;
    let file = |(name, _): &(String, String)| folder.join(format!("{name}.svg"));
    let files: Vec<PathBuf> = page.pictures.iter().map(file).collect();
    for file in &files {
        runs::check_out("--plots", file, force)?;
    }
    for (file, (_, svg)) in files.iter().zip(&page.pictures) {
        runs::write("--plots", file, chart::standalone(svg).as_bytes())?;
    }
    Ok(files)
}
