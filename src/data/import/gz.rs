//! Files that may be compressed: gzip of any number of members, then zeros.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::ImportError;

/// The first bytes of a gzip file.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that one compressed byte can stand for at most, by the rules of the format.
pub(super) const MOST_PER_BYTE: u64 = 1032;

/// What a gzip file holds: the bytes of all members, one after another. Zeros after the last one, as tapes
/// and some downloads add, are passed over; anything else is an error.
#[derive(Debug)]
pub(super) struct Gz<R> {
    /// Nothing after the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gz<R> {
    /// The file is read when this is.
    pub(super) fn new(file: R) -> Gz<R> {
        Gz {
            member: Some(GzDecoder::new(file)),
        }
    }

    /// What follows a member: another one, or the end.
    fn next_member(&mut self, mut file: R) -> io::Result<()> {
        let mut zeros = 0;
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            match bytes.iter().position(|&byte| byte != 0) {
                None => {
                    let n = bytes.len();
                    zeros += n;
                    file.consume(n);
                }
                Some(0) if zeros == 0 && bytes[0] == MAGIC[0] => {
                    self.member = Some(GzDecoder::new(file));
                    return Ok(());
                }
                Some(_) => {
                    let problem = "after a gzip member there is neither another one nor the end; copy or \
                                   download it again";
                    return Err(io::Error::new(ErrorKind::InvalidData, problem));
                }
            }
        }
    }
}

impl<R: BufRead> Read for Gz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            match member.read(buffer)? {
                0 => {
                    let file = self.member.take().expect("it was there").into_inner();
                    self.next_member(file)?;
                }
                n => return Ok(n),
            }
        }
        Ok(0)
    }
}

/// A file that is open, unpacked where it is a gzip file.
pub(super) struct Opened {
    /// Its bytes.
    pub file: Box<dyn Read + Send>,
    /// Most bytes that it can hold: its length, or what as much gzip can stand for.
    pub most_bytes: u64,
}

/// That something is a folder, a pipe or a device.
#[derive(Debug, thiserror::Error)]
#[error("it is no regular file")]
struct NoRegularFile;

/// Opens a regular file.
pub(super) fn open(path: &Path) -> io::Result<Opened> {
    // Asked by path first: opening a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, NoRegularFile));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::with_capacity(1 << 18, file);
    Ok(match file.fill_buf()?.starts_with(&MAGIC) {
        true => Opened {
            file: Box::new(Gz::new(file)),
            most_bytes: length.saturating_mul(MOST_PER_BYTE),
        },
        false => Opened {
            file: Box::new(file),
            most_bytes: length,
        },
    })
}

/// What went wrong in reading a file: the system, or the file itself, in words; `otherwise` where the error
/// has none for people.
pub(super) fn failed(path: &Path, error: &io::Error, otherwise: &str) -> ImportError {
    match error.raw_os_error() {
        Some(code) => ImportError::Read {
            path: path.into(),
            source: io::Error::from_raw_os_error(code),
        },
        None => {
            let problem = problem(error);
            ImportError::unusable(path, problem.unwrap_or_else(|| otherwise.into()))
        }
    }
}

/// What an error in reading a file says of the file itself, in words.
fn problem(error: &io::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::UnexpectedEof => Some("ends early; copy or download it again".into()),
        _ if error
            .get_ref()
            .is_some_and(|error| error.is::<NoRegularFile>()) =>
        {
            Some("is no regular file; name the file itself".into())
        }
        ErrorKind::InvalidInput => Some(format!("is damaged ({error}); copy or download it again")),
        ErrorKind::InvalidData => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
        let mut unpacked = Vec::new();
        let file = BufReader::with_capacity(capacity, bytes);
        Gz::new(file).read_to_end(&mut unpacked).map(|_| unpacked)
    }

    #[test]
    fn several_members_then_zeros() {
        let members = [gz(b"one "), gz(b""), gz(b"two"), vec![0; 1000]];
        for capacity in [1, 7, 4096] {
            assert_eq!(unpacked(&members.concat(), capacity).unwrap(), b"one two");
            assert_eq!(unpacked(&members[0], capacity).unwrap(), b"one ");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        let member = gz(b"some words that are packed");
        for cut in 1..member.len() {
            let error = unpacked(&member[..cut], 4096).unwrap_err();
            assert!(problem(&error).is_some(), "{cut}: {error}");
        }
        for end in [&b"x"[..], b"\0\0x", b"\0\x1f\x8b", b"\x1f"] {
            let error = unpacked(&[&member[..], end].concat(), 4096).unwrap_err();
            assert!(problem(&error).is_some(), "{end:?}: {error}");
        }
        let mut flipped = member.clone();
        let crc = member.len() - 8;
        flipped[crc] ^= 1;
        assert!(unpacked(&flipped, 4096).is_err());
    }
}
