//! Why a data set could not be fetched.

use std::io;
use std::path::PathBuf;

use crate::data::CACHE_DIR_VARIABLE;
use crate::data::import::ImportError;
use crate::text;

/// Why a data set could not be fetched. The message names the address or the file, and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// An address that is none: a usage error.
    #[error(
        "{url} cannot be fetched from; give --url the https:// or http:// address of a folder with the \
         published files, or of the archive itself where the data set is one"
    )]
    Url {
        /// The address.
        url: String,
    },
    /// The network or the server failed; the same command goes on with what there is.
    #[error("{url}: {problem}; {}give the same command again, or another --url", kept(*bytes))]
    Network {
        /// The address.
        url: String,
        /// How.
        problem: String,
        /// Bytes that are kept.
        bytes: u64,
    },
    /// It was told to stop; the same command goes on with what there is.
    #[error("the download of {url} was stopped; {}give the same command again", kept(*bytes))]
    Stopped {
        /// The address.
        url: String,
        /// Bytes that are kept.
        bytes: u64,
    },
    /// The server does not have the file.
    #[error("{url}: the server does not give the file ({status}); give another --url")]
    NotThere {
        /// The address.
        url: String,
        /// What it answered.
        status: u16,
    },
    /// What the server gives is not what was published.
    #[error("{url} {problem}; nothing of it is kept, {}", before(*bytes))]
    Other {
        /// The address.
        url: String,
        /// How it differs.
        problem: String,
        /// Bytes that are kept from before.
        bytes: u64,
    },
    /// Another process fetches the same file.
    #[error("{} is being fetched by another process; wait for it, or end it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The user has no folder for downloads: a usage error.
    #[error(
        "no cache folder to download to; set {CACHE_DIR_VARIABLE} to a folder that can be written"
    )]
    NoCacheFolder,
    /// A download cannot be written: a usage error.
    #[error(
        "cannot write {}; make room, or set {CACHE_DIR_VARIABLE} to another folder",
        path.display()
    )]
    Write {
        /// File or folder.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// What was fetched could not be imported.
    #[error(transparent)]
    Import(ImportError),
}

fn kept(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        _ => format!("{} bytes are kept; to go on, ", text::count(bytes)),
    }
}

fn before(bytes: u64) -> String {
    match bytes {
        0 => "give another --url".into(),
        _ => format!(
            "but {} bytes from before are; to go on, give the same command again later, or another --url",
            text::count(bytes)
        ),
    }
}
