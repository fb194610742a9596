//! `nas-engine data import`: pictures and published data sets into a data folder, a text to where it
//! stays.

mod folder;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{class_counts, text_files};
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags;
use crate::cli::output::Output;
use crate::cli::stop::{self, TimeFlags};
use crate::config;
use crate::data::corpus;
use crate::data::import::{Cifar, Fit, IdxOptions, Imported, Labels, import_cifar, import_idx};
use crate::report::table::{Align, aligned};
use crate::text;

/// What is imported.
#[derive(Subcommand)]
pub enum Command {
    /// IDX files, as of MNIST and its relatives: a folder of them, or the files one by one
    Idx {
        /// Folder, or files of images and labels; may be compressed by gzip
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// New folder for the data
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        split: SplitFlags,
        /// How images become 32x32; pad where neither side is above 32, else resize by default
        #[arg(long)]
        fit: Option<FitName>,
    },
    /// CIFAR-10, binary or Python version: the folder or the .tar.gz, or the folder that holds them
    Cifar10 {
        /// Folder or archive
        path: PathBuf,
        /// New folder for the data
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// CIFAR-100, binary or Python version: the folder or the .tar.gz, or the folder that holds them
    Cifar100 {
        /// Folder or archive
        path: PathBuf,
        /// New folder for the data
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Which classes: the hundred fine ones, or the twenty coarse ones
        #[arg(long, default_value = "fine")]
        labels: LabelsName,
    },
    /// Pictures (JPEG, PNG, GIF, BMP, WebP, TIFF, PNM) in a folder for each class
    Folder(folder::Flags),
    /// The Penn Treebank in Mikolov's preparation, checked
    Ptb {
        /// The folder that holds ptb.{train,valid,test}.txt, or simple-examples/data with them
        dir: PathBuf,
        /// Folder to copy to; nas-engine/ptb among the user's data by default
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Which images test where nothing says it.
#[derive(Args)]
pub struct SplitFlags {
    /// Share of each class that tests, where there is no test part [default: 0.1]
    #[arg(long, allow_negative_numbers = true, value_name = "X", value_parser = share)]
    test_share: Option<f64>,
    /// Seed of their draw
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "S",
        default_value_t = 0,
        value_parser = flags::whole(config::SEED)
    )]
    split_seed: i64,
}

impl SplitFlags {
    fn seed(&self) -> Result<u64, Failure> {
        let seed = flags::in_range("--split-seed", self.split_seed, &config::SEED)?;
        Ok(seed as u64)
    }
}

/// [`Fit`] by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FitName {
    /// Zeros around it, where neither side is above 32
    Pad,
    /// The shorter side becomes 32, then the centre is cut
    Resize,
    /// The centre, padded where it is smaller
    Crop,
}

impl From<FitName> for Fit {
    fn from(name: FitName) -> Fit {
        match name {
            FitName::Pad => Fit::Pad,
            FitName::Resize => Fit::Resize,
            FitName::Crop => Fit::Crop,
        }
    }
}

/// Which classes of CIFAR-100.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LabelsName {
    /// A hundred.
    Fine,
    /// Twenty.
    Coarse,
}

/// A share that leaves images for both parts.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err(format!(
            "`{text}` is no share; give a number above 0 and below 1, such as 0.1"
        )),
    }
}

/// A flag that signals set: an import that is stopped leaves nothing.
pub(super) fn stop() -> Result<Arc<AtomicBool>, Failure> {
    stop::flag(&TimeFlags { time_limit: None })
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Idx {
            paths,
            out,
            split,
            fit,
        } => {
            let options = IdxOptions {
                fit: fit.map(Fit::from),
                test_share: split.test_share,
                split_seed: split.seed()?,
                name: None,
                classes: None,
            };
            let stop = stop()?;
            images(&import_idx(paths, out, &options, &stop)?, output)
        }
        Command::Cifar10 { path, out } => {
            let stop = stop()?;
            images(&import_cifar(Cifar::Ten, path, out, &stop)?, output)
        }
        Command::Cifar100 { path, out, labels } => {
            let labels = match labels {
                LabelsName::Fine => Labels::Fine,
                LabelsName::Coarse => Labels::Coarse,
            };
            let (cifar, stop) = (Cifar::Hundred(labels), stop()?);
            images(&import_cifar(cifar, path, out, &stop)?, output)
        }
        Command::Folder(flags) => images(&folder::run(flags)?, output),
        Command::Ptb { dir, out } => ptb(dir, out.clone(), output),
    }
}

/// Shows what was imported.
pub(super) fn images(imported: &Imported, output: &Output) -> Result<(), Failure> {
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
        text::shell_path(&to),
    );
    output.result(&json, &words)
}
