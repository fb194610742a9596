//! The user's own copy of a licensed text, checked and put where it is found again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::known::{self, Known, PTB, TextFileFacts};
use super::layout::{Layout, read_bytes};
use super::vocabulary::{UNKNOWN, words};
use super::{CorpusError, Level};
use crate::disk::{Real, whole};

/// Where people have the three files, below the folder that they name: in it, or where the archives
/// of Mikolov (`simple-examples.tgz`) and of others unpack to.
const FOLDERS: [&str; 6] = [
    "",
    "data",
    "simple-examples/data",
    "ptb",
    "penn",
    "data/penn",
];

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The files as they lie now.
    pub files: Vec<TextFileFacts>,
    /// Words of each file, the ends of lines counted.
    pub tokens: [usize; 3],
    /// Different words of the training file, with the end of a line and `<unk>`.
    pub vocabulary: usize,
}

/// Copies the Penn Treebank in Mikolov's preparation from `from`, or a folder below it where people
/// have it, to `to`, as `ptb.{train,valid,test}.txt`. All three files are checked by their published
/// MD5 before any is written.
///
/// # Errors
/// Names the file that is missing or another than the published one, and how it differs.
pub fn import_ptb(from: &Path, to: &Path) -> Result<Imported, CorpusError> {
    import(&PTB, from, to)
}

fn import(corpus: &Known, from: &Path, to: &Path) -> Result<Imported, CorpusError> {
    let sources = find(from)?;
    let names = Layout::Ptb.files().expect("a folder has three files");
    let mut contents = Vec::new();
    for (index, (path, name)) in sources.iter().zip(names).enumerate() {
        let bytes = read_bytes(path)?;
        let facts = TextFileFacts::new(name.to_string(), &bytes, Layout::Ptb, index);
        check(corpus, path, &facts, &bytes, index)?;
        contents.push((facts, bytes));
    }
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        |source| CorpusError::Write { path, source }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for (facts, bytes) in &contents {
        let path = to.join(&facts.name);
        whole::write(&Real, &path, |file| file.write_all(bytes)).map_err(failed(&path))?;
    }
    let texts: Vec<_> = contents
        .iter()
        .map(|(_, bytes)| String::from_utf8_lossy(bytes))
        .collect();
    let mut different: Vec<&str> = words(&texts[0], Level::Word).chain([UNKNOWN]).collect();
    different.sort_unstable();
    different.dedup();
    Ok(Imported {
        tokens: std::array::from_fn(|i| words(&texts[i], Level::Word).count()),
        vocabulary: different.len(),
        files: contents.iter().map(|(facts, _)| facts.clone()).collect(),
    })
}

/// The three files.
fn find(from: &Path) -> Result<[PathBuf; 3], CorpusError> {
    let layouts = [Layout::Ptb, Layout::Parts];
    let all = FOLDERS.iter().flat_map(|folder| {
        let names = layouts.iter().filter_map(|layout| layout.files());
        names.map(move |names| names.map(|name| from.join(folder).join(name)))
    });
    let found = |files: &[PathBuf; 3]| files.iter().any(|file| file.exists());
    let files = all
        .into_iter()
        .find(found)
        .ok_or_else(|| CorpusError::NothingToImport {
            path: from.to_path_buf(),
        })?;
    match files.iter().find(|file| !file.exists()) {
        Some(missing) => Err(CorpusError::MissingPart {
            path: missing.clone(),
        }),
        None => Ok(files),
    }
}

/// That a file is the published one.
fn check(
    corpus: &Known,
    path: &Path,
    facts: &TextFileFacts,
    bytes: &[u8],
    index: usize,
) -> Result<(), CorpusError> {
    let published = corpus.md5.unwrap_or_default();
    if facts.md5 == published[index] {
        return Ok(());
    }
    let n_lines = known::n_lines(bytes);
    let expected = corpus.n_lines[index];
    let difference = if bytes.windows(2).any(|pair| pair == b"\r\n") {
        "its lines end as on Windows, with a carriage return".to_string()
    } else if n_lines != expected {
        format!("it has {n_lines} lines, not {expected}")
    } else {
        format!("it has {expected} lines, as it should")
    };
    Err(CorpusError::NotOfficial {
        path: path.to_path_buf(),
        corpus: corpus.name,
        name: Layout::Ptb.files().expect("a folder has three files")[index],
        found: facts.md5.clone(),
        expected: published[index],
        difference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: &str = " a b <unk> \n c a \n";
    const VALID: &str = " a \n";
    const TEST: &str = " b b \n\n";

    /// A corpus of three small files; their digests are those that `md5sum` gives.
    const SMALL: Known = Known {
        n_lines: [2, 1, 2],
        md5: Some([
            "777547761208fc94c5b2689ac2c6fe7b",
            "b0098affe8655bc7022a63ba83579638",
            "6d4a4bda23867c8b47d075fa2e2348ac",
        ]),
        ..PTB
    };

    fn folder(names: [&str; 3]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in names.iter().zip([TRAIN, VALID, TEST]) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_files_are_found_where_people_have_them() {
        for (folder_name, prefix) in [
            ("", "ptb."),
            ("data/", "ptb."),
            ("simple-examples/data/", "ptb."),
            ("", ""),
            ("penn/", ""),
        ] {
            let names =
                ["train", "valid", "test"].map(|part| format!("{folder_name}{prefix}{part}.txt"));
            let from = folder([&names[0], &names[1], &names[2]]);
            let to = tempfile::tempdir().unwrap();
            let to = to.path().join("new/ptb");
            for _ in 0..2 {
                let imported = import(&SMALL, from.path(), &to).unwrap();
                assert_eq!(imported.tokens, [7, 2, 4]);
                assert_eq!(imported.vocabulary, 5, "a b <unk> <eos> c");
            }
            assert_eq!(fs::read_to_string(to.join("ptb.train.txt")).unwrap(), TRAIN);
            assert_eq!(fs::read_to_string(to.join("ptb.valid.txt")).unwrap(), VALID);
            assert_eq!(fs::read_to_string(to.join("ptb.test.txt")).unwrap(), TEST);
        }
    }

    #[test]
    fn another_file_is_refused_and_nothing_written() {
        let cases = [
            ("ptb.test.txt", " b b \r\n", "carriage return"),
            ("ptb.valid.txt", " a \n a \n", "2 lines, not 1"),
            ("ptb.valid.txt", " b \n", "1 lines, as it should"),
        ];
        for (name, text, words) in cases {
            let from = folder(["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]);
            fs::write(from.path().join(name), text).unwrap();
            let to = from.path().join("to");
            let error = import(&SMALL, from.path(), &to).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(words), "{error}");
            assert!(!to.exists());
        }
        let from = folder(["ptb.train.txt", "ptb.valid.txt", "other"]);
        let error = import_ptb(from.path(), from.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("ptb.test.txt is missing"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = import_ptb(empty.path(), empty.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("ptb.train.txt"), "{error}");
    }
}
