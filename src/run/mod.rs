//! A run: the directory that a search keeps, its settings, its journal and what that says, its best
//! weights and its checkpoints. One process writes it, which holds the journal's lock; anybody reads.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub mod best_weights;
pub mod checkpoints;
pub mod entry;
mod error;
pub mod history;
pub mod journal;
pub mod skim;
pub mod state;
mod status;
pub mod under_way;

pub use error::RunError;
pub use status::Status;

use crate::config::{self, Config, DEFAULT_PRESET, Setting};
use crate::disk::{Disk, Found, input, whole};
use crate::train::Course;
use best_weights::BestWeights;
use checkpoints::Checkpoints;
use entry::Entry;
use history::History;
use journal::{Contents, Damage, Journal, JournalError, Line};

/// Name of the best architecture within a run's directory.
pub const BEST_FILE_NAME: &str = "best.json";

/// Name of the folder of the best children's weights within a run's directory.
pub const WEIGHTS_FOLDER: &str = "weights";

/// A run's directory, with the right to write to it.
#[derive(Debug)]
pub struct Run {
    /// Where its files are kept.
    pub disk: Arc<dyn Disk>,
    /// Its directory.
    pub path: PathBuf,
    /// Its journal, locked.
    pub journal: Journal,
    /// What the journal says.
    pub history: History,
    /// Bytes of a last line of the journal that was being written when the run was stopped.
    pub torn: u64,
}

impl Run {
    /// Makes the directory of a new run and writes its settings. The journal comes first, and its
    /// lock decides who may begin: stopped at any instant, there are settings only where there is a
    /// journal.
    ///
    /// # Errors
    /// A directory that holds a run, or that cannot be written.
    pub fn create(disk: Arc<dyn Disk>, path: PathBuf, config: &Config) -> Result<Run, RunError> {
        whole::create_folders(&*disk, &path).map_err(|error| RunError::write(&path, error))?;
        let file = path.join(config::FILE_NAME);
        // Both before the journal is opened, so that none is made beside an earlier run's settings,
        // and after, when the lock is held.
        let check_new = || match disk.found(&file) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(RunError::Begun { path: path.clone() }),
            Err(error) => Err(RunError::write(&file, error)),
        };
        check_new()?;
        let journal = match Journal::create(&*disk, &path.join(journal::FILE_NAME)) {
            Err(JournalError::Begun { .. } | JournalError::Locked { .. }) => {
                return Err(RunError::Begun { path });
            }
            Err(JournalError::Io { path, source }) => return Err(RunError::write(&path, source)),
            other => other?,
        };
        check_new()?;
        let run = Run {
            disk,
            path,
            journal,
            history: History::default(),
            torn: 0,
        };
        run.remove_unfinished()?; // of one that was killed before it had begun
        match run.write(config::FILE_NAME, &config.to_toml()) {
            // Without settings there is no run to go on with.
            Err(RunError::Keep { path, source }) => Err(RunError::Write { path, source }),
            other => other.map(|()| run),
        }
    }

    /// As [`Run::create`], in `runs/<date>-<time>-<preset>`, in universal time, with a number where
    /// that holds a run.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create_by_time(disk: &Arc<dyn Disk>, config: &Config) -> Result<Run, RunError> {
        let first = format!("{}-{}", timestamp(now() as u64), config.search.preset);
        let mut n = 1;
        loop {
            let path = Path::new("runs").join(match n {
                1 => first.clone(),
                _ => format!("{first}-{n}"),
            });
            match Run::create(Arc::clone(disk), path, config) {
                Err(RunError::Begun { .. }) => n += 1,
                other => return other,
            }
        }
    }

    /// Opens the directory of an earlier run to go on with it: its settings with `settings` over
    /// them, its journal and what that says. Nothing is changed but that files which a killed
    /// program left half-written are removed.
    ///
    /// # Errors
    /// Where there is no run, another process works on it, or it is damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        settings: &[Setting],
    ) -> Result<(Config, Run), RunError> {
        let config = settings_of(&*disk, &path, settings)?;
        let file = path.join(journal::FILE_NAME);
        let (journal, contents) = Journal::resume(&*disk, &file)?;
        let torn = contents.torn;
        let history = history_of(&*disk, &path, contents)?;
        let run = Run {
            disk,
            path,
            journal,
            history,
            torn,
        };
        run.remove_unfinished()?;
        Ok((config, run))
    }

    /// Removes what a killed program left half-written in the directory itself.
    fn remove_unfinished(&self) -> Result<(), RunError> {
        let is_ours = |name: &str| [config::FILE_NAME, BEST_FILE_NAME].contains(&name);
        whole::remove_unfinished(&*self.disk, &self.path, is_ours)
            .map_err(|error| RunError::keep(&self.path, error))
    }

    /// Checks that settings and data are those that the run began with.
    ///
    /// # Errors
    /// Where they are not.
    pub fn check_same(&self, config: &Config, course: &Course) -> Result<(), RunError> {
        let Some(begun) = self.history.runs.first() else {
            return Ok(());
        };
        if begun.config_sha256 != config.sha256() {
            return Err(RunError::OtherSettings {
                path: self.path.join(config::FILE_NAME),
            });
        }
        let sha256 = course.data_sha256();
        if begun.data_sha256 != sha256 {
            return Err(RunError::OtherData {
                data: course.describe_data(),
                sha256,
                begun: begun.data_sha256.clone(),
            });
        }
        Ok(())
    }

    /// Writes settings over those in the directory, where they differ.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), RunError> {
        let mut kept = config.clone();
        let before = settings_of(&*self.disk, &self.path, &[])?;
        // Device and threads are of a session, not of the run.
        kept.device = before.device.clone();
        if kept == before {
            return Ok(());
        }
        self.write(config::FILE_NAME, &kept.to_toml())
    }

    /// Mends what a kill or a power cut left of a run that has ended: `best.json`, checkpoints and
    /// weights of no more use. The samples whose weights should be there and are not.
    ///
    /// # Errors
    /// Where a file cannot be written or removed.
    pub fn tidy(&self) -> Result<Vec<u64>, RunError> {
        let (_, best_weights) = self.folders()?;
        self.write_best()?;
        Ok(best_weights.missing(&self.history))
    }

    /// Opens the folders of checkpoints and of the best children's weights.
    ///
    /// # Errors
    /// Where one cannot be made, read or written.
    pub fn folders(&self) -> Result<(Checkpoints, BestWeights), RunError> {
        let open = |folder| (Arc::clone(&self.disk), self.path.join(folder));
        let (disk, folder) = open(WEIGHTS_FOLDER);
        let best_weights = BestWeights::open(disk, folder, &self.history)?;
        // What is trained again goes on from its checkpoint, too.
        let missing = best_weights.missing(&self.history);
        let (disk, folder) = open(checkpoints::FOLDER);
        let checkpoints = Checkpoints::open_for(disk, folder, &self.history, &missing)?;
        Ok((checkpoints, best_weights))
    }

    /// Writes the best architecture, where there is one and the file does not say it already.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_best(&self) -> Result<(), RunError> {
        let Some(best) = self.history.best() else {
            return Ok(());
        };
        let text = format!("{}\n", best.architecture);
        match self.disk.read(&self.path.join(BEST_FILE_NAME)) {
            Ok(before) if before == text.as_bytes() => Ok(()),
            _ => self.write(BEST_FILE_NAME, &text),
        }
    }

    /// Writes a file of the run, whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), RunError> {
        let path = self.path.join(name);
        whole::write(&*self.disk, &path, |file| file.write_all(text.as_bytes()))
            .map_err(|error| RunError::keep(&path, error))
    }
}

/// What there is to know of a run, for those who only look.
#[derive(Debug)]
pub struct Facts {
    /// Its settings.
    pub config: Config,
    /// What its journal says.
    pub history: History,
}

/// Reads a run without disturbing whoever works on it.
///
/// # Errors
/// Where there is none, or it is damaged.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Facts, RunError> {
    let config = settings_of(disk, path, &[])?;
    let contents = journal::read(disk, &path.join(journal::FILE_NAME))?;
    let history = history_of(disk, path, contents)?;
    Ok(Facts { config, history })
}

/// A run as it is written down, whether its lines fit together or not.
#[derive(Debug)]
pub struct Record {
    /// Its settings.
    pub config: Config,
    /// The lines of its journal, up to where it is damaged.
    pub contents: Contents,
    /// Where it is.
    pub damage: Option<Damage>,
}

/// Reads a run without asking whether its lines fit together, and without disturbing whoever works
/// on it; `settings` go over its own.
///
/// # Errors
/// Where there is none, its files cannot be read, or its journal has lost all lines.
pub fn record(disk: &dyn Disk, path: &Path, settings: &[Setting]) -> Result<Record, RunError> {
    let config = settings_of(disk, path, settings)?;
    let file = path.join(journal::FILE_NAME);
    let (contents, damage) = journal::read_to_damage(disk, &file)?;
    if contents.lines.is_empty() && damage.is_none() {
        check_not_emptied(disk, path)?;
    }
    Ok(Record {
        config,
        contents,
        damage,
    })
}

/// That a journal without a line is of a run that has found nothing.
fn check_not_emptied(disk: &dyn Disk, path: &Path) -> Result<(), RunError> {
    let best = path.join(BEST_FILE_NAME);
    match disk.found(&best) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(RunError::Emptied {
            path: path.join(journal::FILE_NAME),
        }),
        Err(source) => Err(RunError::Read { path: best, source }),
    }
}

/// The settings of a run, with `settings` over them.
///
/// # Errors
/// Where there is no run, or its settings cannot be read.
pub fn settings_of(disk: &dyn Disk, path: &Path, settings: &[Setting]) -> Result<Config, RunError> {
    let file = path.join(config::FILE_NAME);
    let found = |path: &Path| match disk.found(path) {
        Ok(found) => Ok(matches!(found, Some(Found::File(_)))),
        // A part of the path is a file.
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(source) => Err(RunError::Read {
            path: path.into(),
            source,
        }),
    };
    if !found(&file)? {
        let path = path.to_path_buf();
        return Err(match found(&path.join(journal::FILE_NAME))? {
            true => RunError::NoSettings { path },
            false => RunError::Absent { path },
        });
    }
    let bytes = disk.read_start(&file, config::MOST_BYTES + 1);
    let text = bytes.and_then(|bytes| {
        input::check_length(bytes.len() as u64, config::MOST_BYTES)?;
        input::text_of(bytes)
    });
    let text = text.map_err(|source| RunError::Read {
        path: file.clone(),
        source,
    })?;
    Ok(Config::resolve_text(&file, text, settings, DEFAULT_PRESET)?)
}

/// What the journal of a run says, checked to be of one.
fn history_of(disk: &dyn Disk, path: &Path, contents: Contents) -> Result<History, RunError> {
    let file = path.join(journal::FILE_NAME);
    match contents.lines.first() {
        Some(first) => check_begins(&file, first)?,
        None => check_not_emptied(disk, path)?,
    }
    Ok(History::new(&file, contents)?)
}

/// Whether the first line of a journal is that of a run that begins.
fn check_begins<C>(journal: &Path, first: &Line<C>) -> Result<(), JournalError> {
    match first.entry {
        Entry::Run(_) => Ok(()),
        _ => Err(JournalError::Damaged {
            path: journal.into(),
            line: 1,
            offset: first.offset,
            reason: "not the line of a run that begins: what the run began with is lost".into(),
        }),
    }
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Seconds since 1970 as `20261124-113000`.
pub fn timestamp(seconds: u64) -> String {
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
            (1_000_000_000, "20010909-014640"),
            (1_709_251_199, "20240229-235959"),
            (4_107_542_400, "21000301-000000"),
        ];
        for (seconds, text) in cases {
            assert_eq!(timestamp(seconds), text, "{seconds}");
        }
    }
}
