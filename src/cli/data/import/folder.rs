//! `nas-engine data import folder`: pictures in a folder for each class.

use std::path::PathBuf;

use clap::Args;

use super::{FitName, SplitFlags, stop};
use crate::cli::failure::{Failure, Kind};
use crate::cli::{flags, machine};
use crate::config;
use crate::data::import::{self, Fit, FolderOptions, Imported};

/// Flags of `data import folder`.
#[derive(Args)]
pub struct Flags {
    /// The folder that holds a folder of pictures for each class, or train and test with such folders
    dir: PathBuf,
    /// Data folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How a picture becomes 32x32; pad where neither side is above 32, else resize by default
    #[arg(long)]
    fit: Option<FitName>,
    #[command(flatten)]
    split: SplitFlags,
    /// Leave files out that cannot be used
    #[arg(long)]
    skip_bad: bool,
    /// Turn pictures by their EXIF tag
    #[arg(long)]
    upright: bool,
    /// Threads; every core by default
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "N",
        value_parser = flags::whole(config::THREADS)
    )]
    threads: Option<i64>,
}

/// Imports the folder.
pub fn run(flags: &Flags) -> Result<Imported, Failure> {
    let threads = match flags.threads {
        Some(threads) => flags::in_range("--threads", threads, &config::THREADS)?,
        None => machine::cores(),
    };
    let options = FolderOptions {
        fit: flags.fit.map(Fit::from),
        test_share: flags.split.test_share,
        split_seed: flags.split.seed()?,
        skip_bad: flags.skip_bad,
        upright: flags.upright,
    };
    let stop = stop()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| {
        Failure::new(
            Kind::Run,
            format!("cannot start {threads} threads: {error}"),
        )
    })?;
    Ok(pool.install(|| import::folder(&flags.dir, &flags.out, &options, &stop))?)
}
