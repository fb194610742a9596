//! The journal of a run: an append-only file, one line a fact, each with its own check sum.
//!
//! What a line says is in `run::entry`, what the lines add up to in `run::history`; here is
//! only how a line is written and read back.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::entry::{Child, Entry};
use crate::disk::{Disk, DiskFile, Found, folder, input};

mod error;

pub use error::{Damage, JournalError};

/// Name of the journal within a run's directory.
pub const FILE_NAME: &str = "journal.jsonl";

/// A line as it stands in the file.
#[derive(Clone, Debug)]
pub struct Line<C = Child> {
    /// From 1.
    pub number: usize,
    /// Byte at which the line begins.
    pub offset: u64,
    /// What it says.
    pub entry: Entry<C>,
}

/// A journal as read.
#[derive(Debug)]
pub struct Contents {
    /// The whole lines.
    pub lines: Vec<Line>,
    /// Byte at which the last whole line ends.
    pub end: u64,
    /// Bytes after `end`: a line that was being written when the program was stopped.
    pub torn: u64,
}

/// The one writer of a journal; holds the file's lock.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Bytes of the whole lines.
    length: u64,
    /// Whether a torn line follows them.
    is_torn: bool,
}

impl Journal {
    /// Creates the journal of a new run, or takes over one that holds nothing yet: of a run that
    /// was stopped before its first line.
    ///
    /// # Errors
    /// [`JournalError::Begun`] where the file holds lines, and where it cannot be made or locked.
    pub fn create(disk: &dyn Disk, path: &Path) -> Result<Journal, JournalError> {
        let io = |source| JournalError::io(path, source);
        if disk.found(path).map_err(io)?.is_some() {
            check_file(disk, path)?;
        }
        let file = open(disk, path)?;
        if file.length().map_err(io)? > 0 {
            return Err(JournalError::Begun { path: path.into() });
        }
        // The name of the file must survive a power cut as well as its lines.
        disk.sync_folder(folder(path)).map_err(io)?;
        Ok(Journal {
            path: path.into(),
            file,
            length: 0,
            is_torn: false,
        })
    }

    /// Opens the journal of an earlier run to go on with it. Nothing is changed before the first
    /// [`append`](Journal::append), which also cuts off a torn last line.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read or locked, or is damaged.
    pub fn resume(disk: &dyn Disk, path: &Path) -> Result<(Journal, Contents), JournalError> {
        check_file(disk, path)?;
        let file = open(disk, path)?;
        let contents = read(disk, path)?;
        let journal = Journal {
            path: path.into(),
            file,
            length: contents.end,
            is_torn: contents.torn > 0,
        };
        Ok((journal, contents))
    }

    /// Appends a line; when this returns it is on disk.
    ///
    /// # Errors
    /// Where it cannot be written. The journal is then as it was before, as soon as it can be
    /// written again.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let written = self.write(entry);
        written.map_err(|source| JournalError::io(&self.path, source))
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        if self.is_torn {
            self.file.cut(self.length)?;
            // Else a power cut may leave the end of the torn line behind a part of the new one: a
            // damaged line that is not the last.
            self.file.sync()?;
        }
        let line = line(entry)?;
        self.is_torn = true; // until all of it is on disk
        self.file.write_all(line.as_bytes())?;
        self.file.sync()?;
        self.is_torn = false;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Bytes of its lines.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Drop for Journal {
    /// Closing the file is not enough: a process that is being started by another thread holds
    /// copies of all open files for an instant, and with them the lock.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Opens a journal to write at its end, and takes its lock.
fn open(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>, JournalError> {
    let io = |source| JournalError::io(path, source);
    let file = disk.append(path).map_err(io)?;
    match file.try_lock().map_err(io)? {
        true => Ok(file),
        false => Err(JournalError::Locked { path: path.into() }),
    }
}

/// Whether there is a file to open; opening a pipe would wait for its other end.
fn check_file(disk: &dyn Disk, path: &Path) -> Result<(), JournalError> {
    match disk.found(path) {
        Ok(Some(Found::File(_))) => Ok(()),
        Ok(Some(_)) => Err(JournalError::NoFile { path: path.into() }),
        Ok(None) => Err(JournalError::Missing { path: path.into() }),
        Err(source) => Err(JournalError::Read {
            path: path.into(),
            source,
        }),
    }
}

/// The line of an entry, with its check sum and newline.
pub(super) fn line(entry: &Entry) -> Result<String, io::Error> {
    let mut text = serde_json::to_string(entry)?;
    text.pop(); // the closing brace
    let sum = crc32fast::hash(text.as_bytes());
    text.push_str(&format!(",\"crc32\":\"{sum:08x}\"}}\n"));
    Ok(text)
}

/// Reads a journal without locking it, so that a run under way can be watched. A last line
/// without newline or with a wrong check sum is torn, not damaged.
///
/// # Errors
/// Where there is none, or it cannot be read or is damaged.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Contents, JournalError> {
    match read_to_damage(disk, path)? {
        (contents, None) => Ok(contents),
        (_, Some(damage)) => Err(damage.of(path)),
    }
}

/// As [`read`], but where the journal is damaged what stands before that, and the damage.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub fn read_to_damage(
    disk: &dyn Disk,
    path: &Path,
) -> Result<(Contents, Option<Damage>), JournalError> {
    let bytes = bytes_of(disk, path)?;
    let lines = split(&bytes);
    let mut whole = Vec::with_capacity(lines.len());
    let parsed = lines.iter().map(|line| parse(line));
    let read = each(&lines, parsed, |line| {
        whole.push(line);
        Ok(())
    })?;
    let contents = Contents {
        lines: whole,
        end: read.end,
        torn: read.torn,
    };
    Ok((contents, read.damage))
}

/// All bytes of a journal.
pub(super) fn bytes_of(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, JournalError> {
    check_file(disk, path)?;
    let read = |source| JournalError::Read {
        path: path.into(),
        source,
    };
    let no_journal = |reason: String| JournalError::NoJournal {
        path: path.into(),
        reason,
    };
    if let Some(Found::File(length)) = disk.found(path).map_err(read)?
        && length > LARGE
    {
        input::check_length(length, MOST_BYTES).map_err(|error| no_journal(error.to_string()))?;
        let start = disk.read_start(path, BEGIN.len() as u64).map_err(read)?;
        if start != BEGIN {
            return Err(no_journal("it does not begin as one".to_owned()));
        }
    }
    disk.read(path).map_err(read)
}

/// What every line begins with.
const BEGIN: &[u8] = b"{\"event\":";

/// Bytes from which on a file is looked at before it is read: it may be anything.
const LARGE: u64 = 64 << 20;

/// Bytes of a journal: those of some millions of samples.
const MOST_BYTES: u64 = 8 << 30;

/// The lines of a journal, each with its newline, which the last one may lack.
pub(super) fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let before = bytes;
        // Of a slice it cannot fail.
        let length = bytes.skip_until(b'\n').unwrap_or(before.len());
        lines.push(&before[..length]);
    }
    lines
}

/// How far a journal was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Byte at which the last whole line ends.
    pub(super) end: u64,
    /// Bytes of a torn line after it.
    pub(super) torn: u64,
    /// The line that ends the reading.
    pub(super) damage: Option<Damage>,
}

/// Hands on what the lines of a journal say, `parsed` one by one, up to the first that is damaged.
pub(super) fn each<C>(
    lines: &[&[u8]],
    parsed: impl Iterator<Item = Result<Entry<C>, String>>,
    mut then: impl FnMut(Line<C>) -> Result<(), JournalError>,
) -> Result<Read, JournalError> {
    let mut read = Read::default();
    for ((number, line), parsed) in (1..).zip(lines).zip(parsed) {
        let offset = read.end;
        match parsed {
            Ok(entry) => then(Line {
                number,
                offset,
                entry,
            })?,
            Err(_) if number == lines.len() => {
                read.torn = line.len() as u64;
                break;
            }
            Err(reason) => {
                read.damage = Some(Damage {
                    line: number,
                    offset,
                    reason,
                });
                break;
            }
        }
        read.end += line.len() as u64;
    }
    Ok(read)
}

/// Bytes of `,"crc32":"01234567"}`.
const SUM_LENGTH: usize = 20;

/// A line without its newline, or what is wrong with it: no newline, or another check sum.
pub(super) fn checked(line: &[u8]) -> Result<&[u8], String> {
    let line = line.strip_suffix(b"\n").ok_or("the line has no end")?;
    let (body, sum) = line
        .split_at_checked(line.len().saturating_sub(SUM_LENGTH))
        .filter(|(body, _)| !body.is_empty())
        .ok_or("too short to be a line of a journal")?;
    if format!(",\"crc32\":\"{:08x}\"}}", crc32fast::hash(body)).as_bytes() != sum {
        return Err("the line does not match its crc32".into());
    }
    Ok(line)
}

/// The entry on a line, or what is wrong with the line.
pub(super) fn parse(line: &[u8]) -> Result<Entry, String> {
    serde_json::from_slice(checked(line)?)
        .map_err(|error| format!("not a line of a journal: {error}"))
}

/// The facts of a journal without what measures time: two journals are of the same search when
/// these are equal. The bytes of the child and update lines, sorted by kind and number.
///
/// # Errors
/// As [`read`].
pub fn facts(disk: &dyn Disk, path: &Path) -> Result<Vec<String>, JournalError> {
    let lines = read(disk, path)?.lines;
    let bytes = disk
        .read(path)
        .map_err(|source| JournalError::io(path, source))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut facts = BTreeMap::new();
    for (line, text) in lines.iter().zip(text.lines()) {
        let key = match &line.entry {
            Entry::Child(child) => ("child", child.sample, None),
            Entry::Round(round) => ("round", round.round, None),
            Entry::Update(update) => ("update", update.batch, update.shard),
            _ => continue,
        };
        // `timing` stands last but for the check sum, and no string can hold a bare quote.
        let end = text.rfind(",\"timing\":").unwrap_or(text.len());
        // Of a sample that was tried again, the last line counts.
        facts.insert(key, text[..end].to_owned());
    }
    Ok(facts.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Real;
    use crate::run::entry::{RunTiming, Started, Timing, Update};

    #[test]
    fn a_line_starts_with_its_event_and_ends_with_its_sum() {
        let entry = Entry::Update(Update {
            batch: 2,
            samples: vec![16, 17],
            baseline: Some(0.25),
            controller_sha256: "00".into(),
            counted: vec![17],
            timing: Timing {
                at: 1.5,
                seconds: 0.5,
                ..Timing::default()
            },
            ..Update::default()
        });
        let text = line(&entry).unwrap();
        // The sum is zlib's crc32 of the bytes before it, computed elsewhere.
        assert_eq!(
            text,
            "{\"event\":\"update\",\"batch\":2,\"samples\":[16,17],\"baseline\":0.25,\
             \"controller_sha256\":\"00\",\"counted\":[17],\
             \"timing\":{\"at\":1.5,\"seconds\":0.5},\"crc32\":\"f813f5e0\"}\n"
        );
        assert_eq!(parse(text.as_bytes()), Ok(entry));
    }

    /// A journal that holds nothing is taken over, one with a line is not; it knows its length, and its
    /// facts are its children and updates without what measures time.
    #[test]
    fn a_journal_is_begun_once_and_knows_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let update = |batch, at| {
            Entry::Update(Update {
                batch,
                baseline: Some(0.25),
                controller_sha256: "00".into(),
                timing: Timing {
                    at,
                    ..Timing::default()
                },
                ..Update::default()
            })
        };
        drop(Journal::create(&Real, &path).unwrap());
        let mut journal = Journal::create(&Real, &path).unwrap();
        assert_eq!(journal.length(), 0);
        let on_disk = || std::fs::metadata(&path).unwrap().len();
        for batch in 0..2 {
            journal.append(&update(batch, 1.0)).unwrap();
            assert_eq!(journal.length(), on_disk());
        }
        drop(journal);
        let again = Journal::create(&Real, &path).unwrap_err();
        assert!(matches!(again, JournalError::Begun { .. }), "{again}");
        assert_eq!(Journal::resume(&Real, &path).unwrap().0.length(), on_disk());
        let facts = facts(&Real, &path).unwrap();
        assert_eq!(facts.len(), 2);
        for (batch, fact) in facts.iter().enumerate() {
            let later = line(&update(batch as u64, 2.0)).unwrap();
            let timing = later.find(",\"timing\":").unwrap();
            assert_eq!(*fact, later[..timing]);
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let run = Entry::Run(Started {
            version: "0".into(),
            config_sha256: "1".into(),
            data_sha256: "2".into(),
            samples: 3,
            timing: RunTiming {
                at: 0.0,
                device: "cpu".into(),
                threads: 1,
            },
        });
        let good = line(&run).unwrap().into_bytes();
        assert_eq!(parse(&good), Ok(run));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(parse(&bad).is_err(), "byte {at} changed unnoticed");
            assert!(parse(&good[..at]).is_err(), "cut at byte {at} unnoticed");
            let cut = [&good[..at], b"\n"].concat();
            assert!(
                cut == good || parse(&cut).is_err(),
                "cut at byte {at} unnoticed"
            );
        }
    }
}
