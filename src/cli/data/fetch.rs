//! `nas-engine data fetch`: a published data set, downloaded, checked and imported.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::import::{images, stop};
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::data::fetch::{DATA_SETS, Event, Patience, Published, downloads_dir, fetch};
use crate::text;

/// Flags of the command.
#[derive(Args)]
pub struct Flags {
    /// Which data set
    name: Name,
    /// New folder for the data; nas-engine/NAME among the user's data by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A mirror: a folder that has the published files, or the published archive itself
    #[arg(long)]
    url: Option<String>,
}

/// The data sets.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// CIFAR-10, 170 MB
    Cifar10,
    /// CIFAR-100, with its 100 fine classes, 169 MB
    Cifar100,
    /// Fashion-MNIST, 31 MB
    FashionMnist,
}

impl Name {
    fn published(self) -> &'static Published {
        let value = self.to_possible_value().expect("no name is hidden");
        let mut sets = DATA_SETS.iter();
        sets.find(|set| set.name == value.get_name())
            .expect("every name is of a published data set")
    }
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let published = flags.name.published();
    let of_user = || Some(dirs::data_dir()?.join("nas-engine").join(published.name));
    let out = flags.out.clone().or_else(of_user).ok_or_else(|| {
        let message = "the user has no folder for data; name one with --out";
        Failure::new(Kind::Usage, message)
    })?;
    // A line for every tenth of a file.
    let mut tenth = 0;
    let mut tell = |event: Event| match event {
        Event::Begun { url, from, total } => {
            tenth = 10 * from / total.max(1);
            let after = match from {
                0 => String::new(),
                _ => format!(", after {} that are there", text::bytes(from)),
            };
            output.note(&format!("fetching {url}: {}{after}", text::bytes(total)));
        }
        Event::Progress { bytes, total, .. } => {
            let now = 10 * bytes / total.max(1);
            if now > tenth {
                tenth = now;
                output.note(&format!(
                    "  {} of {}",
                    text::bytes(bytes),
                    text::bytes(total)
                ));
            }
        }
        Event::Again { url, problem, wait } => {
            let wait = text::duration(wait.as_secs_f64());
            output.note(&format!("{url}: {problem}; trying again in {wait}"));
        }
    };
    let url = flags.url.as_deref();
    let stop = stop()?;
    let imported = fetch(
        published,
        url,
        &out,
        &downloads_dir()?,
        Patience::default(),
        &stop,
        &mut tell,
    )?;
    images(&imported, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_a_data_set() {
        let names = Name::value_variants()
            .iter()
            .map(|name| name.published().name);
        assert!(names.eq(DATA_SETS.iter().map(|set| set.name)));
    }
}
