//! Every bit of a run's files is flipped and every file is cut at every length, one at a time: that is
//! found and said, or it is mended by going on; nothing is taken for what was written.
//!
//! What counts as mended: the search that goes on ends with the facts, weights and `best.json` of one
//! whose files were sound. Two kinds of files are a matter of their own:
//! - `config.toml` has no check sum, since people write it too; the journal knows the digest of all
//!   that decides results. What is left are the user's to set at any time, and a flip there is one
//!   more setting: `search.samples`, `data.path`, `device.name`, `device.threads` and
//!   `train.checkpoint_seconds`.
//! - Weights of a child on record are not needed to go on, so damage is found by whoever reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nas_engine::checkpoint::Slots;
use nas_engine::config::{self, Config, DEFAULT_PRESET};
use nas_engine::disk::Disk;
use nas_engine::run::{BEST_FILE_NAME, WEIGHTS_FOLDER};
use nas_engine::search::End;
use nas_engine::train::TrainConfig;
use nas_engine::train::weights_file::WeightsFile;

use super::case::{Case, Heard, Whole, file};
use super::disk::{TestDisk, Trouble};

/// A run that was stopped by a fault of its disk, with every kind of file.
pub fn stopped(case: &Case, whole: &Whole) -> TestDisk {
    let n_calls = whole.disk.n_calls();
    for call in n_calls / 2..n_calls {
        let disk = TestDisk::new();
        disk.set_trouble(Trouble::Error(call));
        if case.session(&disk, &mut Heard::default()).is_ok() {
            continue;
        }
        let disk = disk.after_kill();
        let files = disk.files(Path::new("/"));
        let has = |folder: &str, letter: fn(char) -> bool| {
            files.keys().any(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                path.starts_with(file(folder)) && name.starts_with(letter)
            })
        };
        let has_child = has("checkpoints", |c| c.is_ascii_digit());
        let has_controller = has("checkpoints", |c| c == 'c');
        let has_weights = has(WEIGHTS_FOLDER, |c| c.is_ascii_digit());
        if has_child && has_controller && has_weights && files.contains_key(&file(BEST_FILE_NAME)) {
            return disk;
        }
    }
    panic!("no call leaves every kind of file");
}

/// The bytes with one bit flipped or cut at a length, for every `step`th of these.
fn damaged(bytes: &[u8], step: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let flips = (0..8 * bytes.len()).step_by(step).map(|bit| {
        let mut bad = bytes.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {} of byte {} flipped", bit % 8, bit / 8), bad)
    });
    let cuts = (0..bytes.len()).step_by(step.div_ceil(8));
    flips.chain(cuts.map(|length| (format!("cut at byte {length}"), bytes[..length].to_vec())))
}

/// What damage came to.
#[derive(Debug, Default)]
struct Found {
    said: usize,
    mended: usize,
    of_the_user: usize,
    /// Taken for what was written.
    accepted: Vec<String>,
}

impl Found {
    /// Goes on with a run of which one file is damaged.
    fn go_on(&mut self, case: &Case, whole: &Whole, disk: &TestDisk, what: String) {
        match case.session(disk, &mut Heard::default()) {
            Err(_) => self.said += 1,
            Ok(End::Finished) if whole.check_end(disk).is_ok() => self.mended += 1,
            Ok(_) if is_of_the_user(case, disk) => self.of_the_user += 1,
            Ok(_) => self.accepted.push(what),
        }
    }
}

/// Whether settings differ from those of a case in what is the user's alone.
fn is_of_the_user(case: &Case, disk: &TestDisk) -> bool {
    let path = file(config::FILE_NAME);
    let text = String::from_utf8(disk.read(&path).unwrap()).unwrap();
    let mut config = Config::resolve_text(&path, text, &[], DEFAULT_PRESET).unwrap();
    if config == case.config {
        return false;
    }
    config.search.samples = case.config.search.samples;
    config.data.path.clone_from(&case.config.data.path);
    config.device.name.clone_from(&case.config.device.name);
    config.device.threads = case.config.device.threads;
    if let TrainConfig::Network(train) = &mut config.train {
        train.checkpoint_seconds = Some(case.config.train.checkpoint_seconds());
    }
    config == case.config
}

/// Damages every file of a run.
fn damage_everything(case: &Case, step: usize) {
    let whole = case.whole();
    let files = stopped(case, &whole).files(Path::new("/"));
    let mut found: BTreeMap<PathBuf, Found> = BTreeMap::new();
    for (path, bytes) in &files {
        let of_file = found.entry(path.clone()).or_default();
        if path.starts_with(file(WEIGHTS_FOLDER)) {
            for (what, bad) in damaged(bytes, step.div_ceil(8)) {
                match WeightsFile::of(path, bad) {
                    Err(_) => of_file.said += 1,
                    Ok(_) => of_file.accepted.push(what),
                }
            }
            continue;
        }
        let is_checkpoint = path.starts_with(file("checkpoints"));
        // The digest of a checkpoint says all; a few are enough to see that its word is heard.
        let step_here = if is_checkpoint { 400 * step } else { step };
        for (what, bad) in damaged(bytes, step_here) {
            let disk = TestDisk::of_files(&files);
            disk.put(path, &bad);
            of_file.go_on(case, &whole, &disk, what);
        }
        if is_checkpoint {
            let disk = TestDisk::of_files(&files);
            let first = path.to_str().unwrap().trim_end_matches(".2");
            for (what, bad) in damaged(bytes, step) {
                disk.put(path, &bad);
                let mut slots = Slots::new(Arc::new(disk.clone()), first.into());
                match slots.read::<serde_json::Value>().1.is_empty() {
                    true => of_file.accepted.push(what),
                    false => of_file.said += 1,
                }
            }
        }
    }
    println!("file, bytes, said, mended, the user's, accepted");
    for (path, found) in &found {
        let Found {
            said,
            mended,
            of_the_user,
            accepted,
        } = found;
        let (n_bytes, n_accepted) = (files[path].len(), accepted.len());
        println!(
            "{}, {n_bytes}, {said}, {mended}, {of_the_user}, {n_accepted}",
            path.display()
        );
    }
    let accepted: Vec<_> = found
        .iter()
        .filter(|(_, found)| !found.accepted.is_empty())
        .collect();
    assert!(
        accepted.is_empty(),
        "taken for what was written: {accepted:#?}"
    );
    let n_mended = found.values().map(|found| found.mended).sum::<usize>();
    let n_said = found.values().map(|found| found.said).sum::<usize>();
    assert!(n_mended > 0 && n_said > 0);
}

#[test]
fn damage_is_said_or_mended() {
    damage_everything(&Case::real(5), 29);
}

/// Minutes: every bit and every length.
#[test]
#[ignore = "takes minutes; run with --ignored"]
fn damage_of_any_bit_is_said_or_mended() {
    damage_everything(&Case::real(5), 1);
}
