//! The bundled text, so that the first search for a cell needs no download.
//!
//! The program carries it compressed (`data/kjv-gospels`) and unpacks it once, in the layout of any
//! other text; where it cannot be, it is in memory.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::super::cache;
use super::Layout;
use super::layout::TextFiles;
use crate::disk::{Real, input, whole};

/// What it is called.
const NAME: &str = "bundled King James Gospels";

/// The compressed files, in the order of the parts.
const FILES: [&[u8]; 3] = [
    include_bytes!("../../../data/kjv-gospels/train.txt.gz"),
    include_bytes!("../../../data/kjv-gospels/valid.txt.gz"),
    include_bytes!("../../../data/kjv-gospels/test.txt.gz"),
];

/// The files of the text, below `cache` where they are there or can be written.
///
/// What is there is compared with what the program carries, and what differs is replaced. Files
/// appear whole, so any number of processes may do this at once.
pub(super) fn open(cache: Option<&Path>) -> TextFiles {
    let names = Layout::Parts.files().expect("a folder has three files");
    let held = FILES.map(|compressed| {
        let mut text = Vec::new();
        let unpacked = GzDecoder::new(compressed).read_to_end(&mut text);
        unpacked.expect("the program carries whole files");
        text
    });
    let dir = cache.map(|cache| cache.join(format!("kjv-gospels-{:08x}", content_hash())));
    let kept = dir.filter(|dir| {
        keep(dir, names, &held)
            .inspect_err(|error| cache::note_not_kept("the bundled text", error))
            .is_ok()
    });
    TextFiles {
        name: NAME.to_string(),
        layout: Layout::Parts,
        files: match &kept {
            Some(dir) => names.map(|name| dir.join(name)).into(),
            None => names.map(PathBuf::from).into(),
        },
        held: Some(held.into()),
    }
}

/// Makes sure that a folder holds the text.
fn keep(dir: &Path, names: [&str; 3], texts: &[Vec<u8>; 3]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, text) in names.into_iter().zip(texts) {
        let path = dir.join(name);
        if !input::read_file(&path, text.len() as u64).is_ok_and(|found| found == *text) {
            whole::write(&Real, &path, |file| file.write_all(text))?;
        }
    }
    Ok(())
}

/// Tells one edition of the text from another, so that two versions of the program do not keep
/// replacing each other's files.
fn content_hash() -> u32 {
    let mut hash = crc32fast::Hasher::new();
    FILES.iter().for_each(|bytes| hash.update(bytes));
    hash.finalize()
}
