//! Files that a user names as input, read within a limit: what has no end, or may never begin, is
//! refused in words.
//!
//! A pipe is read where the process was handed its end (`/dev/stdin`, `--arch <(command)`), until it
//! ends or passes the limit. A pipe by a name of its own is not: opening it waits for a writer.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::text;

/// How long a pipe may be silent before somebody is told that it is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// An input, opened.
#[derive(Debug)]
pub struct Input {
    /// To be read once, from its beginning.
    pub file: File,
    /// Its bytes; nothing of a pipe.
    pub length: Option<u64>,
}

/// Opens a file, or an end of a pipe that this process was handed.
///
/// # Errors
/// Where there is none, it cannot be read, or it is a folder, a device, a socket, or a pipe by a name
/// of its own.
pub fn open(path: &Path) -> io::Result<Input> {
    // Asked before it is opened: that may wait, or do something.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        let of_this_process = is_of_this_process(path) && !found.is_dir();
        if !of_this_process {
            return Err(refused(found.file_type()));
        }
        let file = File::open(path)?;
        return Ok(Input { file, length: None });
    }
    Ok(Input {
        file: File::open(path)?,
        length: Some(found.len()),
    })
}

/// All bytes of an input, `most` of them.
///
/// # Errors
/// As [`open`], and where it has more bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    match open(path)? {
        Input {
            file,
            length: Some(length),
        } => {
            check_length(length, most)?;
            at_most(file, most)
        }
        Input { file, length: None } => wait_for(path, file, most),
    }
}

/// As [`read`], of a file alone: what is read more than once.
///
/// # Errors
/// As [`read`], and where it is a pipe.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(refused(found.file_type()));
    }
    read(path, most)
}

/// As [`read`], of a text in UTF-8; a byte order mark is left out.
///
/// # Errors
/// As [`read`], and where it is no such text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text_of(read(path, most)?)
}

/// Bytes as a text; a byte order mark is left out.
///
/// # Errors
/// Names the first byte that is not UTF-8.
pub fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("byte {at} is not UTF-8"))
    })?;
    Ok(text::strip_bom(&text).to_owned())
}

/// That a file of so many bytes may be read.
///
/// # Errors
/// Says how many it has and how many it may have.
pub fn check_length(length: u64, most: u64) -> io::Result<()> {
    match length <= most {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "it has {}, and what it should hold has {} at most",
            text::bytes(length),
            text::bytes(most)
        ))),
    }
}

/// Whether a path names what this process has open, such as `/dev/stdin` and `/dev/fd/63`, or nothing
/// at all, `/dev/null`.
fn is_of_this_process(path: &Path) -> bool {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        })
        .collect();
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    path.is_absolute()
        && (matches!(parts[..], ["dev", "stdin" | "null"] | ["dev", "fd", _])
            || matches!(parts[..], ["proc", "self", "fd", _]))
}

fn refused(kind: FileType) -> io::Error {
    io::Error::other(match kind {
        _ if kind.is_dir() => "it is a folder, not a file",
        _ if kind.is_fifo() => {
            "it is a named pipe, which may wait for ever; name a file, or hand the pipe on as /dev/stdin"
        }
        _ if kind.is_socket() => "it is a socket, not a file",
        _ => "it is a device, not a file",
    })
}

/// What a pipe gives until its end. After a while without that somebody is told.
fn wait_for(path: &Path, file: File, most: u64) -> io::Result<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        // Nobody hears of it where the program is ending.
        let _ = sender.send(at_most(file, most));
    })?;
    let told = match receiver.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => {
            tracing::warn!("waiting for the end of {}", path.display());
            receiver.recv().ok()
        }
        told => told.ok(),
    };
    told.unwrap_or_else(|| Err(io::Error::other("it was not read to its end")))
}

fn at_most(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        false => Ok(bytes),
        true => Err(io::Error::other(format!(
            "it goes on after {}, the most that is read of it",
            text::bytes(most)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_no_file_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "\u{feff}four").unwrap();
        assert_eq!(read(&file, 7).unwrap().len(), 7);
        assert_eq!(read_file(&file, 7).unwrap().len(), 7);
        assert_eq!(read_text(&file, 7).unwrap(), "four");
        fs::write(&file, b"ab\xff").unwrap();
        let words = |read: io::Result<String>| read.unwrap_err().to_string();
        assert_eq!(words(read_text(&file, 7)), "byte 2 is not UTF-8");
        assert!(words(read_text(&file, 2)).contains("3 B"));
        for (path, what) in [
            (folder.path(), "folder"),
            (Path::new("/dev/zero"), "device"),
            (Path::new("/dev/full"), "device"),
        ] {
            assert!(words(read_text(path, 7)).contains(what), "{what}");
            assert!(read_file(path, 7).unwrap_err().to_string().contains(what));
        }
        assert_eq!(read_text(Path::new("/dev/null"), 7).unwrap(), "");
        // Of no length that is told, and so not known to be too long.
        let endless = Path::new("/proc/self/maps");
        assert!(words(read_text(endless, 7)).contains("goes on after 7 B"));
    }

    /// 100 GB that take no room on the disk.
    #[test]
    fn what_is_too_long_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(100 << 30).unwrap();
        let words = read(file.path(), 1 << 30).unwrap_err().to_string();
        assert!(words.contains("107.37 GB"), "{words}");
    }

    #[test]
    fn a_pipe_that_was_handed_on_is_read_to_its_end_or_to_the_limit() {
        let through = |bytes: usize| {
            let (reader, mut writer) = io::pipe().unwrap();
            let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
            let written = thread::spawn(move || writer.write_all(&vec![b'a'; bytes]));
            let read = read(Path::new(&path), 100);
            drop(reader);
            let _ = written.join();
            read
        };
        assert_eq!(through(100).unwrap(), vec![b'a'; 100]);
        let words = through(1 << 20).unwrap_err().to_string();
        assert!(words.contains("goes on after 100 B"), "{words}");
    }
}
