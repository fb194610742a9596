//! The bundled text, so that the first search for a cell needs no download.
//!
//! The program carries it compressed (`data/kjv-gospels`) and unpacks it once, in the layout of any
//! other text.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::{CorpusError, Layout};
use crate::disk::{Real, whole};

/// What it is called.
pub(super) const NAME: &str = "bundled King James Gospels";

/// The compressed files, in the order of the parts.
const FILES: [&[u8]; 3] = [
    include_bytes!("../../../data/kjv-gospels/train.txt.gz"),
    include_bytes!("../../../data/kjv-gospels/valid.txt.gz"),
    include_bytes!("../../../data/kjv-gospels/test.txt.gz"),
];

/// Makes sure that a folder below `cache` holds the text, and returns it.
///
/// What is there is compared with what the program carries, and what differs is replaced. Files
/// appear whole, so any number of processes may do this at once.
///
/// # Errors
/// If a file that is needed cannot be written.
pub(super) fn unpack(cache: &Path) -> Result<PathBuf, CorpusError> {
    let dir = cache.join(format!("kjv-gospels-{:08x}", content_hash()));
    let failed = |path: &Path, error: io::Error| CorpusError::Cache {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    fs::create_dir_all(&dir).map_err(|e| failed(&dir, e))?;
    let names = Layout::Parts.files().expect("a folder has three files");
    for (name, compressed) in names.into_iter().zip(FILES) {
        let path = dir.join(name);
        let mut text = Vec::new();
        let unpacked = GzDecoder::new(compressed).read_to_end(&mut text);
        unpacked.map_err(|e| failed(&path, e))?;
        if !fs::read(&path).is_ok_and(|found| found == text) {
            whole::write(&Real, &path, |file| file.write_all(&text))
                .map_err(|e| failed(&path, e))?;
        }
    }
    Ok(dir)
}

/// Tells one edition of the text from another, so that two versions of the program do not keep
/// replacing each other's files.
fn content_hash() -> u32 {
    let mut hash = crc32fast::Hasher::new();
    FILES.iter().for_each(|bytes| hash.update(bytes));
    hash.finalize()
}
