//! Files that other programs must unpack first: by what they are compressed, and the command for it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::gz;
use crate::text::shell_path;

/// What a file is, and what unpacks an archive and a single file of its kind.
struct Kind {
    beginning: &'static [u8],
    is: &'static str,
    archive: &'static str,
    single: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        beginning: b"BZh",
        is: "is compressed by bzip2",
        archive: "tar -xf",
        single: "bunzip2",
    },
    Kind {
        beginning: b"\xfd7zXZ\0",
        is: "is compressed by xz",
        archive: "tar -xf",
        single: "unxz",
    },
    Kind {
        beginning: b"\x28\xb5\x2f\xfd",
        is: "is compressed by Zstandard",
        archive: "tar -xf",
        single: "unzstd",
    },
    Kind {
        beginning: b"PK\x03\x04",
        is: "is a zip archive",
        archive: "unzip",
        single: "unzip",
    },
    Kind {
        beginning: b"7z\xbc\xaf\x27\x1c",
        is: "is a 7-Zip archive",
        archive: "7z x",
        single: "7z x",
    },
];

/// Where a tar archive says what it is: one may begin with any name.
const USTAR: std::ops::Range<usize> = 257..262;

/// Why the archive at `path` is not read, and what to do with it; nothing of one that nobody has packed so.
pub(super) fn archive(path: &Path) -> Option<String> {
    let Kind { is, archive, .. } = kind(path)?;
    let path = shell_path(path);
    Some(format!(
        "{is}; unpack it with {archive} {path}, and import the folder that comes of it"
    ))
}

/// As [`archive`], of a file that is no archive of several.
pub(super) fn single(path: &Path) -> Option<String> {
    let Kind { is, single, .. } = kind(path)?;
    let path = shell_path(path);
    Some(format!(
        "{is}; unpack it with {single} {path}, and give what comes of it"
    ))
}

/// Whether a file is a tar archive, compressed by gzip or not.
pub(super) fn is_tar(path: &Path) -> bool {
    let mut bytes = Vec::new();
    // Not whole where it is damaged: enough is enough.
    let _ = gz::open(path).and_then(|opened| opened.file.take(512).read_to_end(&mut bytes));
    bytes.get(USTAR) == Some(b"ustar")
}

/// By the first bytes of a regular file.
fn kind(path: &Path) -> Option<&'static Kind> {
    // Opening a pipe would wait for its other end.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(512).read_to_end(&mut bytes).ok()?;
    if bytes.get(USTAR) == Some(b"ustar") {
        return None;
    }
    KINDS.iter().find(|kind| bytes.starts_with(kind.beginning))
}
