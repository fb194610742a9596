//! The directory of a run: made, or opened again, with its journal locked.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::finish::BEST_FILE_NAME;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Output;
use crate::config::{self, Config, DEFAULT_PRESET, Setting};
use crate::search::entry::Entry;
use crate::search::history::History;
use crate::search::journal::{self, Journal, JournalError, Line};
use crate::search::now;
use crate::train::Course;
use crate::whole_file;

/// A run's directory, with the right to write to it.
pub struct RunDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// Its journal, locked.
    pub journal: Journal,
    /// What the journal says.
    pub history: History,
}

impl RunDirectory {
    /// Makes the directory of a new run, `out` or one named after the time, and writes its
    /// settings. The journal comes first, and its lock decides who may begin: stopped at any
    /// instant, there are settings only where there is a journal.
    pub fn create(out: Option<PathBuf>, config: &Config) -> Result<RunDirectory, Failure> {
        let path = match out {
            Some(path) => {
                fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))?;
                path
            }
            None => default_directory(&config.search.preset)?,
        };
        let holds_a_run = || {
            let message = format!(
                "--out {path} holds a run already; go on with it with: nas-engine search --resume \
                 {path}; or choose another directory",
                path = path.display()
            );
            Failure::new(Kind::Usage, message)
        };
        // Both before the journal is opened, so that none is made beside an earlier run's settings,
        // and after, when the lock is held.
        let has_settings = || path.join(config::FILE_NAME).exists();
        if has_settings() {
            return Err(holds_a_run());
        }
        let journal = match Journal::create(&path.join(journal::FILE_NAME)) {
            Err(JournalError::Begun { .. } | JournalError::Locked { .. }) => {
                return Err(holds_a_run());
            }
            Err(JournalError::Io { path, source }) => return Err(cannot_write(&path, &source)),
            other => other?,
        };
        if has_settings() {
            return Err(holds_a_run());
        }
        write(&path, config::FILE_NAME, &config.to_toml())?;
        Ok(RunDirectory {
            path,
            journal,
            history: History::default(),
        })
    }

    /// Opens the directory of an earlier run: its settings with `settings` over them, its journal
    /// and what that says.
    pub fn open(
        path: PathBuf,
        settings: &[Setting],
        output: &Output,
    ) -> Result<(Config, RunDirectory), Failure> {
        let file = path.join(config::FILE_NAME);
        if !file.exists() {
            let next = match path.join(journal::FILE_NAME).exists() {
                true => "its config.toml is missing; restore it, or start a new run with --out",
                false => "there is no run; give the directory that holds its config.toml",
            };
            let message = format!("--resume {}: {next}", path.display());
            return Err(Failure::new(Kind::Usage, message));
        }
        let config = Config::resolve(Some(&file), settings, DEFAULT_PRESET)?;
        let file = path.join(journal::FILE_NAME);
        let (journal, contents) = Journal::resume(&file)?;
        if contents.torn > 0 {
            output.note(&format!(
                "{}: the last line, {} bytes, was being written when the run was stopped; it is \
                 dropped",
                file.display(),
                contents.torn
            ));
        }
        if let Some(Line { offset, entry, .. }) = contents.lines.first()
            && !matches!(entry, Entry::Run(_))
        {
            return Err(JournalError::Damaged {
                path: file,
                line: 1,
                offset: *offset,
                reason: "not the line of a run that begins: what the run began with is lost".into(),
            }
            .into());
        }
        if contents.lines.is_empty() && path.join(BEST_FILE_NAME).exists() {
            let message = format!(
                "{} is empty, but the run had found something: what it recorded is lost; restore \
                 it, or start a new run with --out",
                file.display()
            );
            return Err(Failure::new(Kind::Journal, message));
        }
        let history = History::new(&file, contents)?;
        whole_file::remove_unfinished(&path, |name| {
            [config::FILE_NAME, BEST_FILE_NAME].contains(&name)
        })
        .map_err(|error| cannot_write(&path, &error))?;
        Ok((
            config,
            RunDirectory {
                path,
                journal,
                history,
            },
        ))
    }

    /// Checks that settings and data are those that the run began with.
    pub fn check_same(&self, config: &Config, course: &Course) -> Result<(), Failure> {
        let Some(begun) = self.history.runs.first() else {
            return Ok(());
        };
        if begun.config_sha256 != config.sha256() {
            let message = format!(
                "{} is not what this run began with: settings that decide its results were \
                 changed; change them back, or start a new run with --config and --out",
                self.path.join(config::FILE_NAME).display()
            );
            return Err(Failure::new(Kind::Config, message));
        }
        if begun.data_sha256 != course.data_sha256() {
            let message = format!(
                "{} is not the data that this run began with (sha256 {}, then {}); put the same \
                 files there, or start a new run",
                course.describe_data(),
                course.data_sha256(),
                begun.data_sha256
            );
            return Err(Failure::new(Kind::Data, message));
        }
        Ok(())
    }

    /// Writes settings over those in the directory, where they differ.
    pub fn write_config(&self, config: &Config) -> Result<(), Failure> {
        let mut kept = config.clone();
        let file = self.path.join(config::FILE_NAME);
        let before = Config::resolve(Some(&file), &[], DEFAULT_PRESET)?;
        // Device and threads are of a session, not of the run.
        kept.device = before.device.clone();
        if kept == before {
            return Ok(());
        }
        write(&self.path, config::FILE_NAME, &kept.to_toml())
    }
}

/// Writes a file of a run, whole or not at all.
pub fn write(directory: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = directory.join(name);
    whole_file::write(&path, |file| file.write_all(text.as_bytes()))
        .map_err(|error| cannot_write(&path, &error))
}

/// Why a run cannot be kept where asked.
pub fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!(
        "cannot write {}: {error}; check the right to it and the room on its disk, or choose another \
         --out for a new run",
        path.display()
    );
    Failure::new(Kind::Usage, message)
}

/// Makes `runs/<date>-<time>-<preset>`, in universal time, with a number where that exists.
fn default_directory(preset: &str) -> Result<PathBuf, Failure> {
    let runs = Path::new("runs");
    fs::create_dir_all(runs).map_err(|error| cannot_write(runs, &error))?;
    let first = format!("{}-{preset}", timestamp(now() as u64));
    for n in 1u32.. {
        let path = match n {
            1 => runs.join(&first),
            _ => runs.join(format!("{first}-{n}")),
        };
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_write(&path, &error)),
        }
    }
    unreachable!("some number is free")
}

/// Seconds since 1970 as `20261124-113000`.
fn timestamp(seconds: u64) -> String {
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Howard Hinnant's civil_from_days: years begin in March, eras of 400 years have 146,097 days.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + 400 * era + u64::from(month <= 2);
    format!("{year}{month:02}{day_of_month:02}-{hours:02}{minutes:02}{seconds:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_date() {
        let cases = [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_199, "20240229-235959"),
            (4_107_542_400, "21000301-000000"),
        ];
        for (seconds, text) in cases {
            assert_eq!(timestamp(seconds), text, "{seconds}");
        }
    }
}
