//! One file over HTTP, resumed where it broke off, and checked.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use ureq::Agent;

use super::error::FetchError;
use super::partial::{Partial, Trouble};
use super::published::RemoteFile;
use crate::text;

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte.
    pub stall: Duration,
    /// Tries that get no further, beyond the first.
    pub retries: u32,
    /// Before the first of these; each further one waits twice as long.
    pub delay: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            retries: 4,
            delay: Duration::from_secs(1),
        }
    }
}

/// What people may be told while a file is fetched.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Bytes come, after `from` that are there.
    Begun {
        /// The address.
        url: &'a str,
        /// Bytes that are there.
        from: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// So many bytes are there.
    Progress {
        /// The address.
        url: &'a str,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// It failed, and is tried again.
    Again {
        /// The address.
        url: &'a str,
        /// How it failed.
        problem: &'a str,
        /// How long is waited.
        wait: Duration,
    },
}

/// Fetches files.
pub(super) struct Client<'a> {
    agent: Agent,
    patience: Patience,
    stop: &'a AtomicBool,
}

impl Client<'_> {
    pub(super) fn new(patience: Patience, stop: &AtomicBool) -> Client<'_> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .user_agent(concat!("nas-engine/", env!("CARGO_PKG_VERSION")))
            .build();
        Client {
            agent: config.into(),
            patience,
            stop,
        }
    }

    /// Fetches what must be one of `candidates` into `folder`, where it then lies by its published name.
    pub(super) fn download(
        &self,
        url: &str,
        candidates: &[RemoteFile],
        folder: &Path,
        tell: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, FetchError> {
        for file in candidates {
            let path = folder.join(file.name);
            if path.is_file() && digest(&path).is_ok_and(|digest| digest == file.sha256) {
                return Ok(path);
            }
        }
        let mut partial = Partial::open(url, candidates, folder)?;
        let mut began_anew = false;
        loop {
            if let Err(error) = self.fill(&mut partial, tell) {
                partial.remove_if_empty();
                return Err(error);
            }
            let digest = digest(&partial.path).map_err(|source| partial.failed(source))?;
            if let Some(file) = candidates.iter().find(|file| file.sha256 == digest) {
                return partial.finish(&folder.join(file.name));
            }
            // Pieces of two answers may be of two files.
            let joined = partial.joined;
            partial.restart()?;
            if !joined || began_anew {
                partial.remove_if_empty();
                let wanted = candidates.iter().map(|file| file.sha256);
                let wanted = wanted.collect::<Vec<_>>().join(" or ");
                return Err(partial.other(format!("has the sha256 {digest}, not {wanted}")));
            }
            began_anew = true;
        }
    }

    /// Tries until the file is as long as it should be.
    fn fill(&self, partial: &mut Partial, tell: &mut dyn FnMut(Event)) -> Result<(), FetchError> {
        let mut failures = 0;
        // A server that knows no ranges begins anew each time: only what no try has reached is further.
        let mut most = partial.bytes;
        while !partial.is_whole() {
            self.check_stop(partial)?;
            let problem = match self.attempt(partial, tell) {
                Ok(()) => continue,
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Retry(problem)) => problem,
            };
            failures = if partial.bytes > most {
                1
            } else {
                failures + 1
            };
            most = most.max(partial.bytes);
            if failures > self.patience.retries {
                return Err(FetchError::Network {
                    url: partial.url.into(),
                    problem,
                    bytes: partial.bytes,
                });
            }
            let wait = self.patience.delay * 2u32.pow(failures - 1);
            tell(Event::Again {
                url: partial.url,
                problem: &problem,
                wait,
            });
            let until = Instant::now() + wait;
            while Instant::now() < until {
                self.check_stop(partial)?;
                thread::sleep(wait.min(Duration::from_millis(50)));
            }
        }
        Ok(())
    }

    /// An error where it is to stop.
    fn check_stop(&self, partial: &Partial) -> Result<(), FetchError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(FetchError::Stopped {
                url: partial.url.into(),
                bytes: partial.bytes,
            }),
            false => Ok(()),
        }
    }

    /// One request, for what is missing.
    fn attempt(&self, partial: &mut Partial, tell: &mut dyn FnMut(Event)) -> Result<(), Trouble> {
        // Compressed on its way it would have another length.
        let mut request = self
            .agent
            .get(partial.url)
            .header("Accept-Encoding", "identity");
        if partial.bytes > 0 && !partial.whole {
            request = request.header("Range", format!("bytes={}-", partial.bytes));
            if let Ok(version) = fs::read_to_string(&partial.version) {
                request = request.header("If-Range", version);
            }
        }
        let response = request
            .call()
            .map_err(|error| in_words(&error, partial.url))?;
        partial.accept(&response)?;
        let total = partial.longest();
        tell(Event::Begun {
            url: partial.url,
            from: partial.bytes,
            total,
        });
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            self.check_stop(partial).map_err(Trouble::Final)?;
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::Retry(partial.broke_off(&error.to_string()))),
            };
            if partial.bytes + n as u64 > total {
                let _ = partial.restart();
                let problem = format!(
                    "goes on after the {} bytes that it should have",
                    text::count(total)
                );
                return Err(Trouble::Final(partial.other(problem)));
            }
            partial.append(&buffer[..n]).map_err(Trouble::Final)?;
            tell(Event::Progress {
                url: partial.url,
                bytes: partial.bytes,
                total,
            });
        }
        match partial.is_whole() {
            true => Ok(()),
            false => Err(Trouble::Retry(partial.broke_off("it ended early"))),
        }
    }
}

/// An error of the client, which may go away where it is not one of the address.
fn in_words(error: &ureq::Error, url: &str) -> Trouble {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Trouble::Final(FetchError::Url { url: url.into() })
        }
        ureq::Error::Timeout(_) => Trouble::Retry(format!("the server does not answer ({error})")),
        _ => Trouble::Retry(error.to_string()),
    }
}

/// SHA-256 of a file, in hexadecimal.
fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(text::hex(&sha.finalize())),
            n => sha.update(&buffer[..n]),
        }
    }
}
