//! `data import idx`, `cifar10` and `cifar100`, and `data fetch`: what people have becomes a data folder, and
//! what is wrong with it is told in words, with nothing left behind.

mod archive;
mod cifar;
mod idx;
mod place;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::{nas, program, run, text};

/// Members of these were written by Python (`tests/pickles/make.py`).
const TEN: &[u8] = include_bytes!("../../pickles/cifar-10-python.tar.gz");
const HUNDRED: &[u8] = include_bytes!("../../pickles/cifar-100-python.tar.gz");
const REPICKLED: &[u8] = include_bytes!("../../pickles/repickled.tar.gz");

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The entries of a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A fresh folder for each import: what is in it besides `out` must stay.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn out(&self) -> String {
        text(&self.0.path().join("out"))
    }

    /// An import that must fail, with its words, the exit code and nothing left behind.
    fn fails(&self, arguments: &[&str], code: i32, words: &str) {
        let before = names(self.0.path());
        let ended = nas(&[&["data", "import"], arguments, &["--out", &self.out()]].concat());
        assert_eq!(ended.code, code, "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?} {ended:?}");
        assert_eq!(names(self.0.path()), before, "{arguments:?}");
    }
}

/// Members of an archive by name, without its folder.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let member = |entry: std::io::Result<tar::Entry<_>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().into_owned();
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes,
        )
    };
    archive.entries().unwrap().map(member).collect()
}

/// What the command does where no server helps; the rest is in `data/fetch`.
#[test]
fn fetch_ends_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(&folder.path().join("out"));
    let fetch = |more: &[&str]| {
        let mut command = program();
        command.env("NAS_ENGINE_CACHE_DIR", folder.path().join("cache"));
        command.env("NO_PROXY", "*");
        run(command
            .args(["data", "fetch"])
            .args(more)
            .args(["--out", &out]))
    };
    let ended = fetch(&["cifar10", "--url", "ftp://host/file"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("ftp://host/file cannot be fetched from"),
        "{ended:?}"
    );
    assert!(names(folder.path()).is_empty(), "no folder is left");
    let ended = fetch(&["mnist"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("fashion-mnist"), "{ended:?}");
    // An archive where the data set is four files.
    let ended = fetch(&["fashion-mnist", "--url", "http://127.0.0.1:1/all.tar.gz"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    fs::create_dir(&out).unwrap();
    fs::write(Path::new(&out).join("mine"), "x").unwrap();
    let ended = fetch(&["cifar10"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("is there already"), "{ended:?}");
}
