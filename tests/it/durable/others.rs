//! What others have done to a run that was stopped: another process has it, another version wrote it,
//! its checkpoints are of something else, the clock was set back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nas_engine::checkpoint::NUMERICS;
use nas_engine::disk::Disk;
use nas_engine::run::journal::{FILE_NAME, JournalError};
use nas_engine::run::{self, BEST_FILE_NAME, Run, RunError};
use nas_engine::search::End;
use nas_engine::train::TrainConfig;
use sha2::{Digest, Sha256};

use super::case::{Case, Heard, Whole, file, path};
use super::damage::stopped;
use super::disk::TestDisk;

type Files = BTreeMap<PathBuf, Vec<u8>>;
type Edit<'a> = &'a dyn Fn(&str) -> String;

/// Goes on with a run of these files; epochs trained until its end, which is that of any other.
fn go_on(case: &Case, whole: &Whole, files: &Files) -> usize {
    let (disk, mut heard) = (TestDisk::of_files(files), Heard::default());
    assert_eq!(case.session(&disk, &mut heard), Ok(End::Finished));
    whole.check_end(&disk).unwrap();
    heard.n_epochs
}

/// A journal with other lines in the place of each: all without the end that holds their check sum.
fn edited(journal: &[u8], edit: impl Fn(&str) -> Vec<String>) -> Vec<u8> {
    let text = std::str::from_utf8(journal).unwrap();
    let lines = text
        .lines()
        .flat_map(|line| edit(&line[..line.rfind(",\"crc32\"").unwrap()]));
    let summed = lines.map(|body| {
        let sum = crc32fast::hash(body.as_bytes());
        format!("{body},\"crc32\":\"{sum:08x}\"}}\n")
    });
    summed.collect::<String>().into_bytes()
}

/// A checkpoint with another header and the digest of that.
fn with_header(checkpoint: &[u8], edit: impl Fn(&str) -> String) -> Vec<u8> {
    let mut lines = checkpoint.splitn(3, |&byte| byte == b'\n');
    let mut next = || lines.next().unwrap();
    let (magic, header, rest) = (next(), next(), next());
    let header = edit(std::str::from_utf8(header).unwrap());
    let numbers = &rest[..rest.len() - 32];
    let mut whole = [magic, b"\n", header.as_bytes(), b"\n", numbers].concat();
    let digest = Sha256::digest(&whole);
    whole.extend(&digest[..]);
    whole
}

#[test]
fn a_run_has_one_process_and_readers_do_not_wait() {
    let case = Case::real(5);
    let disk = stopped(&case, &case.whole());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = || Run::open(Arc::clone(&shared), path().into(), &[]);
    let first = open().unwrap();
    let second = open().unwrap_err();
    let is_locked = matches!(second, RunError::Journal(JournalError::Locked { .. }));
    assert!(is_locked, "{second}");
    let again = Run::create(Arc::clone(&shared), path().into(), &case.config).unwrap_err();
    assert!(matches!(again, RunError::Begun { .. }), "{again}");
    run::read(&disk, path()).unwrap();
    drop(first);
    open().unwrap();
}

#[test]
fn a_checkpoint_of_something_else_is_not_gone_on_with() {
    let case = Case::real(5);
    let whole = case.whole();
    let files = stopped(&case, &whole).files(Path::new("/"));
    let is_child = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        path.starts_with(file("checkpoints")) && name.starts_with(|c: char| c.is_ascii_digit())
    };
    let without = |files: &Files| -> Files {
        let left = files.iter().filter(|(path, _)| !is_child(path));
        left.map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect()
    };
    let with_headers = |edit: Edit| -> Files {
        let mut files = files.clone();
        let checkpoints = files.iter_mut().filter(|(path, _)| is_child(path));
        checkpoints.for_each(|(_, bytes)| *bytes = with_header(bytes, edit));
        files
    };
    let with = go_on(&case, &whole, &files);
    let anew = go_on(&case, &whole, &without(&files));
    assert!(
        with < anew,
        "the checkpoints save nothing: {with} epochs, {anew} without"
    );
    let as_it_is = with_headers(&|header| header.to_owned());
    assert_eq!(as_it_is, files, "the edit itself changes something");

    let numerics = format!("\"numerics\":{NUMERICS}");
    let others: [(&str, Edit); 4] = [
        ("version", &|header| {
            header.replace(&numerics, "\"numerics\":0")
        }),
        ("seed", &|header| header.replace("\"seed\":0", "\"seed\":7")),
        ("data", &|header| {
            header.replace("\"data_sha256\":\"", "\"data_sha256\":\"0")
        }),
        ("child", &|header| {
            header.replace("\"sample\":", "\"sample\":1")
        }),
    ];
    for (what, edit) in others {
        let files_of_other = with_headers(edit);
        assert_ne!(files_of_other, files, "{what}");
        assert_eq!(
            go_on(&case, &whole, &files_of_other),
            anew,
            "another {what}"
        );
    }
    // The state of a child by the name of another.
    let mut moved = without(&files);
    let (_, state) = files.iter().find(|(path, _)| is_child(path)).unwrap();
    for sample in 0..5 {
        moved.insert(file(&format!("checkpoints/{sample}")), state.clone());
    }
    assert!(go_on(&case, &whole, &moved) <= anew);
    // Allowed, and warned of: the bits of another device may differ, not those of this one.
    let device = with_headers(&|header| header.replace("\"device\":\"", "\"device\":\"another "));
    assert_eq!(go_on(&case, &whole, &device), with);
}

#[test]
fn a_journal_of_another_version_is_gone_on_with() {
    let case = Case::real(5);
    let whole = case.whole();
    let mut files = stopped(&case, &whole).files(Path::new("/"));
    let journal = files.get_mut(&file(FILE_NAME)).unwrap();
    // A later one has more keys, among those of `timing` too, and more events.
    let later = edited(journal, |line| {
        let event = "{\"event\":\"later\",\"of\":{\"what\":1}";
        let more = line.replacen("\"timing\":{", "\"timing\":{\"later\":[1],", 1);
        match line.starts_with("{\"event\":\"run\"") {
            true => vec![more],
            false => vec![event.to_owned(), more],
        }
    });
    // An older one had fewer: no pace.
    let older = edited(journal, |line| {
        let pace = line.find(",\"images_per_second\":");
        vec![pace.map_or_else(|| line.to_owned(), |at| format!("{}}}", &line[..at]))]
    });
    assert!(later.len() > journal.len() && older.len() < journal.len());
    for other in [later, older] {
        files.insert(file(FILE_NAME), other);
        go_on(&case, &whole, &files);
    }
}

#[test]
fn a_clock_that_was_set_back_changes_nothing() {
    let case = Case::real(5);
    let whole = case.whole();
    let mut files = stopped(&case, &whole).files(Path::new("/"));
    let journal = files.get_mut(&file(FILE_NAME)).unwrap();
    // What was written by a clock decades ahead of today's.
    *journal = edited(journal, |line| {
        vec![line.replacen("\"at\":1", "\"at\":31", 1)]
    });
    let disk = TestDisk::of_files(&files);
    let before = run::read(&disk, path()).unwrap().history;
    assert!(before.last_at > 2.0 * run::now());
    assert_eq!(
        case.session(&disk, &mut Heard::default()),
        Ok(End::Finished)
    );
    whole.check_end(&disk).unwrap();
    let history = run::read(&disk, path()).unwrap().history;
    assert!(
        (0.0..1e6).contains(&history.seconds()),
        "{}",
        history.seconds()
    );
    assert!(history.samples_per_second().is_none_or(|pace| pace > 0.0));
}

/// Opening a run removes what the program left half-written, and nothing else; tidying one that has
/// ended makes it what it was at its end.
#[test]
fn what_was_left_lying_is_removed_and_what_is_missing_made() {
    let case = Case::real(5);
    let whole = case.whole();
    let mut files = whole.disk.files(Path::new("/"));
    let unfinished = [".best.json.a.unfinished", ".config.toml.b.unfinished"].map(file);
    for path in &unfinished {
        files.insert(path.clone(), b"half".to_vec());
    }
    let stranger = file(".notes.c.unfinished");
    files.insert(stranger.clone(), b"another's".to_vec());
    let [of_child, of_none] = ["checkpoints/0", "weights/77.safetensors"].map(file);
    files.insert(of_child.clone(), b"of a child that ended".to_vec());
    files.insert(of_none.clone(), b"of no child".to_vec());
    files.remove(&file(BEST_FILE_NAME)).unwrap();

    let disk = TestDisk::of_files(&files);
    let (_, run) = Run::open(Arc::new(disk.clone()), path().into(), &[]).unwrap();
    let has = |path: &PathBuf| disk.found(path).unwrap().is_some();
    assert_eq!(unfinished.each_ref().map(has), [false; 2]);
    assert!(has(&stranger) && has(&of_child) && has(&of_none));
    run.tidy().unwrap();
    assert_eq!([&of_child, &of_none].map(has), [false; 2]);
    assert!(has(&stranger));
    let n_calls = disk.n_calls();
    run.tidy().unwrap();
    assert_eq!(disk.n_calls(), n_calls, "nothing is left to mend");
    disk.remove(&stranger).unwrap();
    whole.check_end(&disk).unwrap();
}

/// Where the time is taken as a name, a number follows it, from 2 on.
#[test]
fn runs_that_begin_in_one_second_have_names_of_their_own() {
    let config = Case::stub().config;
    for _ in 0..10 {
        let disk: Arc<dyn Disk> = Arc::new(TestDisk::new());
        let run = || Run::create_by_time(&disk, &config).unwrap();
        let names: Vec<_> = [run(), run(), run()]
            .map(|run| run.path.to_str().unwrap().to_owned())
            .into();
        let first = &names[0];
        assert!(first.ends_with("-sample") && first.starts_with("runs/2"));
        assert_eq!(first.len(), "runs/20261130-013000-sample".len());
        if names[2].starts_with(first) {
            assert_eq!(names[1..], [format!("{first}-2"), format!("{first}-3")]);
            return;
        }
    }
    panic!("three runs never begin in one second");
}

#[test]
fn children_keep_checkpoints_no_more_often_than_asked() {
    for (seconds, some) in [(0, true), (3600, false)] {
        let mut case = Case::real(3);
        let TrainConfig::Network(train) = &mut case.config.train else {
            panic!("the run is one of networks");
        };
        train.checkpoint_seconds = Some(seconds);
        let syncs = case.whole().disk.syncs();
        let is_of_child = |(_, kind): &(usize, String)| kind.contains("checkpoints/N");
        assert_eq!(syncs.iter().any(is_of_child), some, "{seconds} s");
    }
}
