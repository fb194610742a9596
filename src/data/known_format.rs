//! Formats that people's data come in and that are not read as they are: known by their first bytes or
//! by the names of files, with the command that imports them.

use std::fs::{DirEntry, File};
use std::io::Read;
use std::iter;
use std::path::{Path, PathBuf};

use super::DataError;
use super::import::picture;
use crate::text::shell_path;

/// A format of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownFormat {
    Idx,
    Cifar100,
    Pickle,
    Gzip,
    Tar,
    Picture,
    Numpy,
    Zip,
    Parquet,
    Hdf5,
}

/// Bytes of a record of CIFAR-100: two labels and an image.
const CIFAR_100_RECORD: usize = 3_074;

/// Bytes at the beginning of a file by which its format is known.
const BEGINNINGS: [(&[u8], KnownFormat); 12] = [
    (&[0, 0, 8, 1], KnownFormat::Idx),
    (&[0, 0, 8, 3], KnownFormat::Idx),
    (&[0, 0, 8, 4], KnownFormat::Idx),
    (&[0x80, 2], KnownFormat::Pickle),
    (&[0x80, 3], KnownFormat::Pickle),
    (&[0x80, 4], KnownFormat::Pickle),
    (&[0x80, 5], KnownFormat::Pickle),
    (&[0x1f, 0x8b], KnownFormat::Gzip),
    (b"\x93NUMPY", KnownFormat::Numpy),
    (b"PK\x03\x04", KnownFormat::Zip),
    (b"PAR1", KnownFormat::Parquet),
    (b"\x89HDF", KnownFormat::Hdf5),
];

/// The format of a file that begins with `bytes` (all of them, or the first).
pub(super) fn of(bytes: &[u8]) -> Option<KnownFormat> {
    let by_beginning = BEGINNINGS
        .iter()
        .find(|(first, _)| bytes.starts_with(first));
    if let Some((_, format)) = by_beginning {
        return Some(*format);
    }
    if bytes.get(257..262) == Some(b"ustar".as_slice()) {
        return Some(KnownFormat::Tar);
    }
    if picture::format_of(bytes).is_some() {
        return Some(KnownFormat::Picture);
    }
    is_cifar_100(bytes).then_some(KnownFormat::Cifar100)
}

/// The format of a file, by its first bytes; nothing of one that cannot be read.
pub(super) fn of_file(path: &Path) -> Option<KnownFormat> {
    let mut bytes = Vec::new();
    // Opening a pipe would wait for its other end.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    File::open(path)
        .ok()?
        .take(512)
        .read_to_end(&mut bytes)
        .ok()?;
    of(&bytes).filter(|format| *format != KnownFormat::Cifar100)
}

/// Whole records with a coarse and a fine label each.
fn is_cifar_100(bytes: &[u8]) -> bool {
    let (records, rest) = bytes.as_chunks::<CIFAR_100_RECORD>();
    !records.is_empty()
        && rest.is_empty()
        && records
            .iter()
            .all(|record| record[0] < 20 && record[1] < 100)
}

impl KnownFormat {
    /// What such a file is.
    pub(super) fn name(self) -> &'static str {
        match self {
            KnownFormat::Idx => "an IDX file",
            KnownFormat::Cifar100 => "a file of CIFAR-100",
            KnownFormat::Pickle => "a Python pickle",
            KnownFormat::Gzip => "a gzip archive",
            KnownFormat::Tar => "a tar archive",
            KnownFormat::Picture => "a picture",
            KnownFormat::Numpy => "a NumPy array",
            KnownFormat::Zip => "a zip archive",
            KnownFormat::Parquet => "a Parquet table",
            KnownFormat::Hdf5 => "an HDF5 file",
        }
    }

    /// What to do with the one at `path`.
    pub(super) fn next(self, path: &Path) -> String {
        let import = |what: &str, path: &Path| {
            let path = shell_path(path);
            format!("import it with nas-engine data import {what} {path} --out DIR")
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        match self {
            KnownFormat::Idx => import("idx", folder),
            KnownFormat::Cifar100 => import("cifar100", folder),
            KnownFormat::Pickle => import("cifar10", folder),
            KnownFormat::Gzip | KnownFormat::Tar => format!(
                "{}, or cifar100 or idx, whichever it holds",
                import("cifar10", path)
            ),
            KnownFormat::Picture => import("folder", folder.parent().unwrap_or(folder)),
            KnownFormat::Numpy | KnownFormat::Zip | KnownFormat::Parquet | KnownFormat::Hdf5 => {
                "write its images to a folder for each class, and import that with nas-engine data import \
                 folder DIR --out DIR"
                    .into()
            }
        }
    }
}

/// Why a file of a known format is not read as it is; nothing of any other, and of a folder.
pub(super) fn refusal(path: &Path) -> Option<DataError> {
    let format = of_file(path)?;
    Some(DataError::OtherFormat {
        path: path.to_path_buf(),
        format: format.name(),
        next: match format {
            KnownFormat::Gzip | KnownFormat::Tar => {
                published(&name_of(path)).map(|set| import(set, path))
            }
            _ => None,
        }
        .unwrap_or_else(|| format.next(path)),
    })
}

/// What to do with an archive, judged by its name alone; nothing where it is not called as one.
pub(super) fn next_for_archive(path: &Path) -> Option<String> {
    let name = name_of(path);
    let set = published(&name);
    if ends(&name, &READ) {
        let import = import(set.unwrap_or("cifar10"), path);
        return Some(match set {
            Some(_) => import,
            None => format!("{import}, or cifar100, whichever it holds"),
        });
    }
    ends(&name, &PACKED).then(|| {
        let path = shell_path(path);
        let set = set.unwrap_or("cifar10, cifar100, idx or folder, whichever it is");
        format!("unpack {path}, and import what it holds with nas-engine data import {set}")
    })
}

/// Endings of archives that are imported, and of those that are not.
const READ: [&str; 3] = [".tar.gz", ".tgz", ".tar"];
const PACKED: [&str; 6] = [
    ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".tar.lz",
];

fn ends(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| name.ends_with(ending))
}

/// The data set that a name of a folder or an archive tells.
fn published(name: &str) -> Option<&'static str> {
    let is = |words: [&str; 2]| words.iter().any(|word| name.contains(word));
    match (is(["cifar-100", "cifar100"]), is(["cifar-10", "cifar10"])) {
        (true, _) => Some("cifar100"),
        (_, true) => Some("cifar10"),
        _ => None,
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase()
}

fn import(what: &str, path: &Path) -> String {
    let path = shell_path(path);
    format!("import it with nas-engine data import {what} {path} --out DIR")
}

/// What to do with a folder of a layout that is imported; nothing where its names tell none.
pub(super) fn next_for_folder(folder: &Path) -> Option<String> {
    let mut entries: Vec<_> = folder.read_dir().ok()?.flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    let has = |wanted: &str| entries.iter().any(|entry| entry.file_name() == wanted);
    let is_pickle = |name| of_file(&folder.join(name)) == Some(KnownFormat::Pickle);
    let is_cifar_100 = || ["meta", "test", "train"].into_iter().all(is_pickle);
    let named = [
        "fine_label_names.txt",
        "cifar-100-python",
        "cifar-100-binary",
    ];
    if named.into_iter().any(has) || is_cifar_100() {
        return Some(import("cifar100", folder));
    }
    if has("cifar-10-batches-bin") {
        return Some(import("cifar10", folder));
    }
    let below = two_below(&entries);
    let mut with_idx = iter::once(folder).chain(below.iter().map(PathBuf::as_path));
    if let Some(folder) = with_idx.find(|folder| holds_idx(folder)) {
        return Some(import("idx", folder));
    }
    if below.iter().any(|folder| holds_pictures(folder)) {
        return Some(import("folder", folder));
    }
    let files = entries.iter().map(|entry| entry.path());
    let archives: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    let is_known = |path: &&PathBuf| published(&name_of(path)).is_some();
    let is_read = |path: &&PathBuf| ends(&name_of(path), &READ);
    let known = archives.iter().filter(is_known);
    known
        .chain(archives.iter().filter(is_read))
        .find_map(|path| next_for_archive(path))
}

/// Folders in a folder with these entries, and those in them; the first ones are enough to tell.
fn two_below(entries: &[DirEntry]) -> Vec<PathBuf> {
    let folders = |paths: &mut dyn Iterator<Item = PathBuf>| -> Vec<PathBuf> {
        paths.filter(|path| path.is_dir()).take(64).collect()
    };
    let below = folders(&mut entries.iter().map(|entry| entry.path()));
    let entries = |folder: &PathBuf| folder.read_dir().into_iter().flatten().flatten().take(8);
    let further = folders(&mut below.iter().flat_map(entries).map(|entry| entry.path()));
    [below, further].concat()
}

/// Whether a folder holds files that are called as IDX files are.
fn holds_idx(folder: &Path) -> bool {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| name_of(&entry.path())).any(|name| {
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let kinds = ["idx1-", "idx3-", "idx4-"];
        kinds.iter().any(|kind| name.contains(kind)) || name.ends_with(".idx")
    })
}

/// Whether a folder holds pictures, by a look at the first few files.
fn holds_pictures(folder: &Path) -> bool {
    let files = folder.read_dir().into_iter().flatten().flatten().take(8);
    files
        .map(|file| file.path())
        .any(|file| of_file(&file) == Some(KnownFormat::Picture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_bytes() {
        let mut tar = [0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let mut cifar_100 = vec![0; 2 * CIFAR_100_RECORD];
        cifar_100[CIFAR_100_RECORD] = 19;
        cifar_100[CIFAR_100_RECORD + 1] = 99;
        let cases: [(&[u8], Option<KnownFormat>); 12] = [
            (b"P5 2 2 255\n", Some(KnownFormat::Picture)),
            (b"II*\0\x08\0\0\0", Some(KnownFormat::Picture)),
            (b"P1 is what this text begins with", None),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (&[0, 0, 8, 3, 0, 0, 0, 9], Some(KnownFormat::Idx)),
            (b"\x1f\x8b\x08", Some(KnownFormat::Gzip)),
            (&[0x80, 2, b'}'], Some(KnownFormat::Pickle)),
            (&tar, Some(KnownFormat::Tar)),
            (&cifar_100, Some(KnownFormat::Cifar100)),
            (&cifar_100[1..], None),
            (b"a text of words", None),
            (b"", None),
        ];
        for (bytes, format) in cases {
            assert_eq!(of(bytes), format, "{:?}", &bytes[..bytes.len().min(8)]);
        }
    }
}
