//! Formats that people's data come in and that are not read as they are: known by their first bytes or
//! by the names of files, with the command that imports them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

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

/// What to do with a folder of a layout that is imported; nothing where its names tell none.
pub(super) fn next_for_folder(folder: &Path) -> Option<String> {
    let import = |what: &str| {
        let path = shell_path(folder);
        Some(format!(
            "import it with nas-engine data import {what} {path} --out DIR"
        ))
    };
    let mut entries: Vec<_> = folder.read_dir().ok()?.flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    let has = |wanted: &str| entries.iter().any(|entry| entry.file_name() == wanted);
    if has("fine_label_names.txt") || has("cifar-100-python") || has("cifar-100-binary") {
        return import("cifar100");
    }
    if has("cifar-10-batches-bin") {
        return import("cifar10");
    }
    let is_idx = |name: &str| name.contains("-idx1-ubyte") || name.contains("-idx3-ubyte");
    if entries
        .iter()
        .any(|entry| is_idx(&entry.file_name().to_string_lossy()))
    {
        return import("idx");
    }
    // A folder for each class, perhaps below one for each part; a look at the first few files is enough.
    let holds_pictures = |folder: &Path| {
        let files = folder.read_dir().into_iter().flatten().flatten().take(8);
        files
            .map(|file| file.path())
            .any(|file| of_file(&file) == Some(KnownFormat::Picture))
    };
    let below = entries
        .iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let two_below = below
        .clone()
        .flat_map(|path| path.read_dir().into_iter().flatten().flatten().take(8));
    let two_below = two_below
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let mut folders = below.chain(two_below).take(64);
    folders
        .any(|folder| holds_pictures(&folder))
        .then(|| import("folder"))?
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
