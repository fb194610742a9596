//! A file that is being fetched: what is there, what a server's answer adds to it, and when it is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode};

use super::error::FetchError;
use super::published::RemoteFile;
use crate::text;

/// Why one try ended.
pub(super) enum Trouble {
    /// It may go better.
    Retry(String),
    /// It will not.
    Final(FetchError),
}

/// A file that is not whole yet.
pub(super) struct Partial<'a> {
    pub(super) url: &'a str,
    /// What it may become.
    candidates: &'a [RemoteFile],
    pub(super) path: PathBuf,
    /// Where the server's name for this version of the file is kept.
    pub(super) version: PathBuf,
    file: File,
    pub(super) bytes: u64,
    /// Whether it is made of pieces, or was there before.
    pub(super) joined: bool,
    /// Whether the server did not give the range that was asked for: then the whole is asked for. What
    /// is there stays until that begins.
    pub(super) whole: bool,
}

impl<'a> Partial<'a> {
    pub(super) fn open(
        url: &'a str,
        candidates: &'a [RemoteFile],
        folder: &Path,
    ) -> Result<Partial<'a>, FetchError> {
        let path = folder.join(format!("{}.part", candidates[0].name));
        let failed = |source| FetchError::Write {
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = file.map_err(failed)?;
        // Held until the file is closed. Where the file system has no locks, nobody is kept out.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(FetchError::Busy { path });
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut partial = Partial {
            url,
            candidates,
            version: folder.join(format!("{}.part.version", candidates[0].name)),
            path,
            file,
            bytes,
            joined: bytes > 0,
            whole: false,
        };
        if bytes > partial.longest() {
            partial.restart()?;
        }
        Ok(partial)
    }

    pub(super) fn longest(&self) -> u64 {
        let bytes = self.candidates.iter().map(|file| file.bytes);
        bytes.max().unwrap_or(0)
    }

    /// Whether it is as long as what it may become. Of several lengths, the shorter ones only where the server
    /// ended there.
    pub(super) fn is_whole(&self) -> bool {
        self.candidates.iter().any(|file| file.bytes == self.bytes)
    }

    /// That an answer continues or begins the file. What was there is dropped only where the published
    /// file begins anew: a wrong answer, as of the sign-in page of a network, costs nothing.
    pub(super) fn accept(&mut self, response: &Response<Body>) -> Result<(), Trouble> {
        let headers = response.headers();
        match response.status() {
            StatusCode::OK => {
                self.check_begin(headers)?;
                self.restart().map_err(Trouble::Final)?;
                self.keep_version(headers);
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = header(headers, "content-range").unwrap_or_default();
                let (first, total) = first_and_total(range);
                if first == Some(self.bytes) {
                    self.check_length(total)?;
                    self.joined = true;
                    return Ok(());
                }
                // Whatever it sends is of another place.
                self.whole = true;
                Err(Trouble::Retry(format!(
                    "the server was asked for byte {} on and sends `{range}`",
                    self.bytes
                )))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.whole = true;
                Err(Trouble::Retry("the server has no such range".into()))
            }
            // Asking again helps where it was too often or too slow.
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                Err(Trouble::Retry(format!("the server answers {status}")))
            }
            status if status.is_client_error() => Err(Trouble::Final(FetchError::NotThere {
                url: self.url.into(),
                status: status.as_u16(),
            })),
            status => Err(Trouble::Retry(format!("the server answers {status}"))),
        }
    }

    /// That the whole file that begins may be the published one.
    fn check_begin(&self, headers: &HeaderMap) -> Result<(), Trouble> {
        let length = number(headers, "content-length");
        let kind = header(headers, "content-type").unwrap_or_default();
        // A page says what it is where it does not say how long it is.
        if length.is_none() && kind.to_ascii_lowercase().starts_with("text/html") {
            let problem = format!("is a web page ({kind}), not the file");
            return Err(Trouble::Final(self.other(problem)));
        }
        self.check_length(length)
    }

    /// That the whole file has a length that was published.
    fn check_length(&self, length: Option<u64>) -> Result<(), Trouble> {
        match length {
            Some(length) if self.candidates.iter().all(|file| file.bytes != length) => {
                let wanted = self.candidates.iter().map(|file| text::count(file.bytes));
                let wanted = wanted.collect::<Vec<_>>().join(" or ");
                let problem = format!("has {} bytes, not {wanted}", text::count(length));
                Err(Trouble::Final(self.other(problem)))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the server's name for this version of the file: a strong tag, or when it was changed.
    fn keep_version(&self, headers: &HeaderMap) {
        let tag = header(headers, "etag").filter(|tag| tag.starts_with('"'));
        let version = tag.or_else(|| header(headers, "last-modified"));
        // Without it the digest alone tells whether the pieces belong together.
        let _ = match version {
            Some(version) => fs::write(&self.version, version),
            None => fs::remove_file(&self.version),
        };
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(|source| self.failed(source))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Drops what there is.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|source| self.failed(source))?;
        let _ = fs::remove_file(&self.version);
        self.bytes = 0;
        self.joined = false;
        self.whole = false;
        Ok(())
    }

    /// Leaves no file where there is nothing to go on with.
    pub(super) fn remove_if_empty(&self) {
        if self.bytes == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Gives a whole file its name.
    pub(super) fn finish(self, path: &Path) -> Result<PathBuf, FetchError> {
        let named = fs::rename(&self.path, path);
        named.map_err(|source| self.failed(source))?;
        let _ = fs::remove_file(&self.version);
        Ok(path.into())
    }

    pub(super) fn broke_off(&self, why: &str) -> String {
        format!(
            "broke off after {} of {} bytes ({why})",
            text::count(self.bytes),
            text::count(self.longest())
        )
    }

    pub(super) fn other(&self, problem: String) -> FetchError {
        FetchError::Other {
            url: self.url.into(),
            problem,
            bytes: self.bytes,
        }
    }

    pub(super) fn failed(&self, source: io::Error) -> FetchError {
        FetchError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name)?.trim().parse().ok()
}

/// First byte and length of the whole of `bytes 5-9/10`.
fn first_and_total(range: &str) -> (Option<u64>, Option<u64>) {
    let range = range.trim().strip_prefix("bytes ").unwrap_or_default();
    let (range, total) = range.split_once('/').unwrap_or_default();
    let first = range
        .split_once('-')
        .and_then(|(first, _)| first.parse().ok());
    (first, total.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("bytes 5-9/10", (Some(5), Some(10))),
            ("bytes 5-9/*", (Some(5), None)),
            ("bytes */10", (None, Some(10))),
            ("5-9/10", (None, None)),
            ("bytes x", (None, None)),
            ("", (None, None)),
        ] {
            assert_eq!(first_and_total(range), expected, "{range}");
        }
    }
}
