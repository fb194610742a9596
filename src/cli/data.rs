//! `nas-engine data`: what images or a text are, whether they are a known data set, import and fetch.

mod fetch;
mod import;

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use image::ImageFormat;
use serde_json::{Map, Value, json};

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, DataFlags, Settings};
use super::output::Output;
use crate::config::{DEFAULT_PRESET, DataConfig};
use crate::data::corpus::{self, Corpus, KnownBy, TextFileFacts, TextPart};
use crate::data::{self, Augment, Dataset};
use crate::disk::{Real, whole};
use crate::report::sheet::{self, Training};
use crate::report::table::{Align, aligned};
use crate::text;
use crate::train::TrainConfig;

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Show what images or a text are: classes, or lines, words and vocabulary
    Show(ShowFlags),
    /// Check every file, and whether it is that of a known data set
    Verify(Flags),
    /// Bring data that you have into a folder that searches are run on
    #[command(subcommand)]
    Import(import::Command),
    /// Download a published data set, check it, and import it
    Fetch(fetch::Flags),
}

/// Flags of `show` and `verify`.
#[derive(Args)]
pub struct Flags {
    /// Folder of images, folder of a text, or text file; also by --data
    path: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlags,
    /// Which bundled sample, where no path is given: images (conv) or the text (cell)
    #[arg(long, default_value = "conv")]
    space: Space,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Flags of `show`.
#[derive(Args)]
pub struct ShowFlags {
    #[command(flatten)]
    flags: Flags,
    /// Write a contact sheet: images of every class, a PNG
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// On the sheet of --sheet, images as the first epoch of a training sees them
    #[arg(long)]
    augmented: bool,
}

/// A contact sheet that is asked for.
struct Sheet<'a> {
    path: &'a Path,
    training: Option<Training>,
}

/// Kinds of architectures, by which their data are known.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Space {
    /// Images.
    Conv,
    /// A text.
    Cell,
}

/// Runs the command. `typed` are the names of the flags on the command line.
pub fn run(command: &Command, typed: &[String], output: &Output) -> Result<(), Failure> {
    let is_typed = |name: &str| typed.iter().any(|flag| flag == name);
    if is_typed("path") && is_typed("data") {
        let message = "a path and --data name the same thing; give one of them";
        return Err(Failure::new(Kind::Usage, message));
    }
    // A variable that is set for all commands means nothing where there is no sheet.
    if let Command::Show(ShowFlags { sheet: None, .. }) = command
        && is_typed("augmented")
    {
        let message =
            "--augmented is of a contact sheet; name its file with --sheet, or leave it out";
        return Err(Failure::new(Kind::Usage, message));
    }
    match command {
        Command::Show(flags) => show(&flags.flags, false, Some(flags), output),
        Command::Verify(flags) => show(flags, true, None, output),
        Command::Import(command) => import::run(command, output),
        Command::Fetch(flags) => fetch::run(flags, output),
    }
}

fn show(
    flags: &Flags,
    verify: bool,
    sheet: Option<&ShowFlags>,
    output: &Output,
) -> Result<(), Failure> {
    let mut settings = Settings::default();
    let path = flags.path.clone().or(flags.data.data.clone());
    settings.data(&DataFlags {
        data: path,
        level: flags.data.level.clone(),
        ..flags.data
    })?;
    let config = settings.resolve(&flags.config, DEFAULT_PRESET)?;
    let training = Training {
        augment: match &config.train {
            TrainConfig::Network(train) => train.augment,
            _ => Augment::default(),
        },
        seed: config.search.seed,
    };
    let sheet = sheet.and_then(|flags| {
        Some(Sheet {
            path: flags.sheet.as_deref()?,
            training: flags.augmented.then_some(training),
        })
    });
    let config = config.data;
    let kind = match (&config.path, flags.space) {
        (Some(path), _) => data::DataKind::of(path)?,
        (None, Space::Conv) => data::DataKind::Images,
        (None, Space::Cell) => data::DataKind::Text,
    };
    match kind {
        data::DataKind::Images => images(&config, verify, sheet, output),
        data::DataKind::Text => {
            flags::refuse(&[("--sheet", sheet.is_some())], "images", "a text")?;
            a_text(&config, verify, output)
        }
    }
}

fn images(
    config: &DataConfig,
    verify: bool,
    sheet: Option<Sheet>,
    output: &Output,
) -> Result<(), Failure> {
    if let Some(sheet) = &sheet {
        flags::check_writable("--sheet", sheet.path)?;
    }
    let dataset: &Dataset = &*flags::open_data(config, output)?;
    let counts = dataset.class_counts();
    let classes = dataset.classes().iter().zip(&counts);
    let by_name = classes.clone().map(|(name, &n)| (name.clone(), json!(n)));
    let mut json = json!({
        "kind": "images",
        "training": dataset.n_train(),
        "test": dataset.n_test(),
        "classes": by_name.collect::<Map<String, Value>>(),
        "class_counts": class_counts(dataset.classes(), &counts),
    });
    let mut words = format!("images  {}\n", text::one_line(&dataset.describe()));
    if verify {
        let mut files = dataset.file_facts();
        if config.path.is_none() {
            // Named as CIFAR-10's are, but not meant as them.
            files.iter_mut().for_each(|file| file.official = None);
        }
        let rows = files.iter().map(|file| {
            file_row(
                &file.name,
                file.bytes,
                file.records,
                &file.sha256,
                file.official,
            )
        });
        words += &format!("\n{}", file_table("images", "CIFAR-10's", rows.collect()));
        json["files"] = json!(files);
    }
    let rows: Vec<_> = classes
        .map(|(name, &n)| vec![name.clone(), text::count(n)])
        .collect();
    let header = [("class", Align::Left), ("images", Align::Right)];
    words += &format!("\n{}", aligned(&header, &rows));
    if let Some(sheet) = sheet {
        let replaced = sheet.path.exists();
        sheet.write(dataset)?;
        flags::note_written(sheet.path, replaced, output);
        json["sheet"] = json!(sheet.path.display().to_string());
        let path = sheet.path.display().to_string();
        words += &format!("\nsheet   {}\n", text::one_line(&path));
    }
    output.result(&json, &words)
}

impl Sheet<'_> {
    fn write(&self, dataset: &Dataset) -> Result<(), Failure> {
        let sheet = sheet::sheet(dataset, self.training);
        let cannot = |reason: String| {
            let message = format!(
                "cannot write --sheet {}: {reason}; choose another place, or make room",
                self.path.display()
            );
            Failure::new(Kind::Usage, message)
        };
        let mut png = Cursor::new(Vec::new());
        sheet
            .write_to(&mut png, ImageFormat::Png)
            .map_err(|error| cannot(error.to_string()))?;
        whole::write(&Real, self.path, |file| file.write_all(png.get_ref()))
            .map_err(|error| cannot(error.to_string()))
    }
}

/// Images of each class, also where two have one name.
fn class_counts(classes: &[String], counts: &[u64]) -> Vec<Value> {
    let classes = classes.iter().zip(counts).enumerate();
    classes
        .map(|(label, (name, count))| json!({"label": label, "name": name, "count": count}))
        .collect()
}

fn a_text(config: &DataConfig, verify: bool, output: &Output) -> Result<(), Failure> {
    let corpus: &Corpus = &*flags::open_corpus(config, output)?;
    let vocabulary = corpus.vocabulary();
    let noun = corpus.level().noun();
    let parts = TextPart::ALL.map(|part| PartFacts::new(corpus, part));
    let by_name = parts
        .iter()
        .map(|part| (part.name.to_string(), part.json()));
    let mut json = json!({
        "kind": "text",
        "name": corpus.name(),
        "layout": corpus.layout(),
        "level": corpus.level(),
        "vocabulary": vocabulary.len(),
        "vocabulary_sha256": vocabulary.sha256(),
        "parts": by_name.collect::<Map<String, Value>>(),
    });
    let mut words = format!(
        "text        {}\nlayout      {}\nvocabulary  {} {noun}s\n",
        text::one_line(corpus.name()),
        corpus.layout().describe(),
        text::count(vocabulary.len() as u64),
    );
    if verify {
        let files = corpus.file_facts()?;
        let known = corpus.known(&files);
        json["files"] = json!(files);
        json["corpus"] = json!(known.map(|(known, _)| known.name));
        json["known_by"] = json!(known.map(|(_, by)| by));
        words += &match known {
            Some((known, KnownBy::Md5)) => format!("corpus      {}\n", known.name),
            Some((known, KnownBy::Lines)) => format!(
                "corpus      {}, by its numbers of lines (no digests of its files are published)\n",
                known.name
            ),
            None if config.path.is_none() => String::new(),
            None => "corpus      none that is known\n".to_string(),
        };
        words += &format!("\n{}", text_files(&files));
    }
    let header = [
        ("part", Align::Left),
        ("lines", Align::Right),
        (&format!("{noun}s"), Align::Right),
        ("<unk>", Align::Right),
    ];
    let rows = parts.map(|part| part.row());
    words += &format!("\n{}", aligned(&header, &rows));
    output.result(&json, &words)
}

/// A part of a text in numbers.
struct PartFacts {
    name: &'static str,
    /// Nothing where one file was split.
    lines: Option<u64>,
    tokens: u64,
    unknown: u64,
}

impl PartFacts {
    fn new(corpus: &Corpus, part: TextPart) -> PartFacts {
        let has_lines = corpus.layout() != corpus::Layout::File;
        PartFacts {
            name: part.name(),
            lines: has_lines.then_some(corpus.n_lines(part) as u64),
            tokens: corpus.tokens(part).len() as u64,
            unknown: corpus.n_unknown(part) as u64,
        }
    }

    fn unknown_share(&self) -> f64 {
        self.unknown as f64 / self.tokens as f64
    }

    fn json(&self) -> Value {
        json!({
            "lines": self.lines,
            "tokens": self.tokens,
            "unknown": self.unknown,
            "unknown_share": self.unknown_share(),
        })
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.lines.map_or("-".to_string(), text::count),
            text::count(self.tokens),
            format!("{:.2} %", 100.0 * self.unknown_share()),
        ]
    }
}

fn text_files(files: &[TextFileFacts]) -> String {
    let row = |file: &TextFileFacts| {
        file_row(
            &file.name,
            file.bytes,
            file.records,
            &file.sha256,
            file.official,
        )
    };
    file_table("lines", "original", files.iter().map(row).collect())
}

fn file_table(records: &str, official: &str, rows: Vec<Vec<String>>) -> String {
    let header = [
        ("file", Align::Left),
        ("bytes", Align::Right),
        (records, Align::Right),
        (official, Align::Left),
        ("sha256", Align::Left),
    ];
    aligned(&header, &rows)
}

fn file_row(
    name: &str,
    bytes: u64,
    records: u64,
    sha256: &str,
    official: Option<bool>,
) -> Vec<String> {
    let official = match official {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let [bytes, records] = [bytes, records].map(text::count);
    vec![name.into(), bytes, records, official.into(), sha256.into()]
}
