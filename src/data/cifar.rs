//! Folders in the CIFAR-10 binary layout: found, mapped and checked.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::description::{self, Description, MAX_CLASSES, small_text};
use super::mmap::{self, FileBytes};
use super::{DataError, Dataset, RECORD_BYTES, known_format};
use crate::text;

/// Name of the file of the test records.
pub(super) const TEST_FILE: &str = "test_batch.bin";
/// Name of the file of the class names.
pub(super) const NAMES_FILE: &str = "batches.meta.txt";

/// CIFAR-10's classes, taken for granted where nothing names them.
const CLASSES: usize = 10;

/// 256 names need not be longer; a larger file is something else and is not read whole.
const MAX_NAMES_BYTES: u64 = 64 * 1024;

/// By these the pickled version of CIFAR-10 is known.
const PYTHON_VERSION: [&str; 3] = [
    "data_batch_1",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
];

/// Name of the `number`-th file of training records, from 1.
pub(super) fn train_file(number: u64) -> String {
    format!("data_batch_{number}.bin")
}

/// The records of one file.
#[derive(Debug)]
pub(super) enum RecordFile {
    Mapped(FileBytes),
    InMemory(Vec<u8>),
}

impl RecordFile {
    /// Records made in memory, whole and with valid labels.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> RecordFile {
        RecordFile::InMemory(bytes)
    }

    /// Maps a file and checks its length and every label, which must be one of `n_classes` that are named
    /// in a file of this name.
    fn open(
        path: &Path,
        n_classes: usize,
        named_in: &'static str,
    ) -> Result<RecordFile, DataError> {
        let file = RecordFile::Mapped(mmap::map(path)?);
        if file.bytes().is_empty() {
            return Err(DataError::Empty {
                path: path.to_path_buf(),
            });
        }
        let (records, rest) = file.bytes().as_chunks::<RECORD_BYTES>();
        if !rest.is_empty() {
            if let Some(format) = known_format::of(file.bytes()) {
                return Err(DataError::OtherFormat {
                    path: path.to_path_buf(),
                    format: format.name(),
                    next: format.next(path),
                });
            }
            return Err(DataError::CutShort {
                path: path.to_path_buf(),
                record: records.len() as u64,
                offset: (records.len() * RECORD_BYTES) as u64,
                left: rest.len() as u64,
            });
        }
        match records
            .iter()
            .position(|record| usize::from(record[0]) >= n_classes)
        {
            None => Ok(file),
            Some(record) => Err(DataError::Label {
                path: path.to_path_buf(),
                record,
                offset: record * RECORD_BYTES,
                label: records[record][0],
                last: n_classes - 1,
                named_in,
            }),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            RecordFile::Mapped(map) => map,
            RecordFile::InMemory(bytes) => bytes,
        }
    }

    pub(super) fn records(&self) -> &[[u8; RECORD_BYTES]] {
        self.bytes().as_chunks().0
    }
}

/// Opens the folder `dir`, which [`Dataset::describe`] calls `name`.
///
/// # Errors
/// See [`Dataset::open`].
pub(super) fn open(dir: &Path, name: String) -> Result<Dataset, DataError> {
    let n_files = count_train_files(dir)?;
    let paths: Vec<_> = (1..=n_files)
        .map(|number| dir.join(train_file(number)))
        .collect();
    let test_path = dir.join(TEST_FILE);
    if !test_path.exists() {
        return Err(DataError::Missing {
            dir: dir.to_path_buf(),
            what: TEST_FILE.to_string(),
            next: "copy it from where the training files came from".to_string(),
        });
    }
    let mut bytes = 0u64;
    for path in paths.iter().chain([&test_path]) {
        let metadata = path.metadata().map_err(|source| DataError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        bytes = bytes.saturating_add(metadata.len());
    }
    check_count(dir, bytes / RECORD_BYTES as u64)?;
    let description = Description::read(dir)?;
    let (classes, named_in) = match &description {
        Some(description) => (description.classes.clone(), description::FILE_NAME),
        None => (read_names(&dir.join(NAMES_FILE))?, NAMES_FILE),
    };
    let open = |path| RecordFile::open(path, classes.len(), named_in);
    let train: Vec<RecordFile> = paths
        .iter()
        .map(|path| open(path))
        .collect::<Result<_, _>>()?;
    let test = open(&test_path)?;
    if let Some(description) = description {
        check_counts(dir, &description, &train, &test)?;
    }
    Ok(Dataset::new(name, classes, train, test))
}

/// That a folder holds as many records as its description says: else a file of it is missing.
fn check_counts(
    dir: &Path,
    description: &Description,
    train: &[RecordFile],
    test: &RecordFile,
) -> Result<(), DataError> {
    let n_train = train.iter().map(|file| file.records().len() as u64).sum();
    let n_test = test.records().len() as u64;
    for (key, said, n) in [
        ("training", description.training, n_train),
        ("test", description.test, n_test),
    ] {
        if let Some(said) = said.filter(|&said| said != n) {
            return Err(DataError::Description {
                path: dir.join(description::FILE_NAME),
                problem: format!("says `{key} = {said}`, but the files hold {n} records"),
            });
        }
    }
    Ok(())
}

/// Whether a folder, or a file by its name, is meant as images: data files, those of the Python
/// version, a folder of data files further down, or an archive of them. What is wrong with it is for
/// [`open`] to say.
pub(super) fn holds_images(path: &Path) -> bool {
    let is_data = |name: &str| train_number(name).is_some() || name == TEST_FILE;
    let Ok(names) = list(path) else {
        let name = path.file_name().and_then(|name| name.to_str());
        return name.is_some_and(is_data) || known_format::next_for_archive(path).is_some();
    };
    names.iter().any(|name| {
        is_data(name)
            || PYTHON_VERSION.contains(&name.as_str())
            || path.join(name).join(train_file(1)).is_file()
    })
}

/// Records are numbered in 32 bits, training and test records together.
fn check_count(dir: &Path, records: u64) -> Result<(), DataError> {
    if records > u64::from(u32::MAX) {
        return Err(DataError::TooManyRecords {
            dir: dir.to_path_buf(),
            records,
        });
    }
    Ok(())
}

/// How many training files the folder holds: 1 to the highest number without a gap.
fn count_train_files(dir: &Path) -> Result<u64, DataError> {
    let names = list(dir)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| train_number(name)).collect();
    numbers.sort_unstable();
    let missing = (1..)
        .zip(&numbers)
        .find(|(expected, number)| expected != *number);
    if let Some((expected, number)) = missing {
        return Err(DataError::Missing {
            dir: dir.to_path_buf(),
            what: train_file(expected),
            next: format!(
                "{} is there, and the numbers must run from 1 without a gap: restore the missing \
                 file or rename the others",
                train_file(*number)
            ),
        });
    }
    if numbers.is_empty() {
        return Err(DataError::Missing {
            dir: dir.to_path_buf(),
            what: train_file(1),
            next: advice(dir, &names),
        });
    }
    Ok(numbers.len() as u64)
}

/// The number in `data_batch_<number>.bin`, as [`train_file`] writes it.
fn train_number(name: &str) -> Option<u64> {
    let number = name
        .strip_prefix("data_batch_")?
        .strip_suffix(".bin")?
        .parse()
        .ok()?;
    (number > 0 && train_file(number) == name).then_some(number)
}

/// Names of the files in a folder; names that are not Unicode are none of ours.
fn list(dir: &Path) -> Result<Vec<String>, DataError> {
    let failed = |source| DataError::Read {
        path: dir.to_path_buf(),
        source,
    };
    let not_a_folder = |next: &str| DataError::NotAFolder {
        path: dir.to_path_buf(),
        next: next.to_string(),
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(not_a_folder(
                "it does not exist: give --data the folder of the .bin files",
            ));
        }
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            let next = "give --data the folder of the .bin files, not one of the files";
            return Err(known_format::refusal(dir).unwrap_or_else(|| {
                not_a_folder(
                    known_format::next_for_archive(dir)
                        .as_deref()
                        .unwrap_or(next),
                )
            }));
        }
        Err(source) => return Err(failed(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// What the usual reason is that a folder holds no data, judged by what it does hold.
fn advice(dir: &Path, names: &[String]) -> String {
    let with_data = |name: &&String| dir.join(name).join(train_file(1)).is_file();
    if let Some(inner) = names.iter().find(with_data) {
        format!(
            "it is one folder further down: give --data {}",
            text::shell_path(&dir.join(inner))
        )
    } else if names
        .iter()
        .any(|name| PYTHON_VERSION.contains(&name.as_str()))
    {
        let path = text::shell_path(dir);
        format!(
            "this is the Python version of CIFAR-10: import it with nas-engine data import cifar10 \
             {path} --out DIR"
        )
    } else if let Some(next) = known_format::next_for_folder(dir) {
        next
    } else {
        "give --data a folder in the CIFAR-10 binary layout (data_batch_1.bin …, test_batch.bin)"
            .to_string()
    }
}

/// Names of the classes, one a line; `0` to `9` where there is no such file.
fn read_names(path: &Path) -> Result<Vec<String>, DataError> {
    let wrong = |problem: String| DataError::Names {
        path: path.to_path_buf(),
        problem,
    };
    let Some(text) = small_text(path, MAX_NAMES_BYTES)? else {
        return Ok((0..CLASSES).map(|class| class.to_string()).collect());
    };
    let text = text.map_err(wrong)?;
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(String::from).collect();
    match names.len() {
        2..=MAX_CLASSES => Ok(names),
        n => Err(wrong(format!("holds {n} names"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_are_training_files() {
        let cases = [
            ("data_batch_1.bin", Some(1)),
            ("data_batch_12.bin", Some(12)),
            ("data_batch_0.bin", None),
            ("data_batch_01.bin", None),
            ("data_batch_+1.bin", None),
            ("data_batch_1.bin.part", None),
            ("data_batch_99999999999999999999.bin", None),
            ("data_batch_.bin", None),
        ];
        for (name, number) in cases {
            assert_eq!(train_number(name), number, "{name}");
        }
    }

    #[test]
    fn records_that_32_bits_cannot_number_are_refused() {
        let dir = Path::new("many");
        assert!(check_count(dir, u64::from(u32::MAX)).is_ok());
        let message = check_count(dir, 1 << 32).unwrap_err().to_string();
        assert!(
            message.starts_with("many holds 4294967296 records"),
            "{message}"
        );
    }
}
