//! A journal skimmed for a summary says what it says when it is read in full: of searches with repeats,
//! failures, lost devices, stops and second tries, of random lines, cut and damaged anywhere.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nas_engine::config::{self, Config, StrategyKind};
use nas_engine::disk::Real;
use nas_engine::report::Summary;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::entry::{Child, ChildFacts, Entry, Lost, RunTiming, Started, Stop};
use nas_engine::run::entry::{Timing, Update};
use nas_engine::run::history::History;
use nas_engine::run::journal::{FILE_NAME, Journal};
use nas_engine::run::skim::RunBytes;
use nas_engine::run::{self, Status};
use nas_engine::search::End;
use nas_engine::search::evaluator::{Evaluator, Job, News, Stub};
use nas_engine::train::Scores;
use serde_json::json;
use tempfile::TempDir;

use crate::search::{Case, by_architecture};

/// A run without a journal.
fn directory() -> TempDir {
    // In memory where there is such a place: each line of a journal waits for the disk.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let config = Config::preset("sample").unwrap();
    fs::write(folder.path().join(config::FILE_NAME), config.to_toml()).unwrap();
    folder
}

fn append(directory: &Path, entry: &Entry) {
    let path = directory.join(FILE_NAME);
    let mut journal = match path.exists() {
        true => Journal::resume(&Real, &path).unwrap().0,
        false => Journal::create(&Real, &path).unwrap(),
    };
    journal.append(entry).unwrap();
}

/// All that is made of a history, in words.
fn made_of<C: ChildFacts>(history: &History<C>) -> String {
    let mut words = vec![
        serde_json::to_string(&Summary::new(history)).unwrap(),
        Summary::new(history).best_table(),
        format!("{:?}", history.best().map(|child| child.sample())),
        format!("{:?} {:?}", history.stopped, history.lost),
        format!("{:?} {:?}", history.last_at, history.earlier_seconds),
        format!("{:?}", history.samples_per_second()),
        format!("{} {}", history.n_facts(), history.reach()),
        format!("{:?} {:?}", history.runs, history.updates),
    ];
    for strategy in [StrategyKind::Random, StrategyKind::Policy] {
        words.push(format!("{:?}", history.to_try_again(strategy)));
        for samples in [0, history.children.len() as u64, history.reach(), 60] {
            words.push(format!("{}", history.is_finished(samples, strategy)));
        }
    }
    words.extend((0..9).map(|batch| format!("{:?}", history.end_of(batch))));
    words.join("\n")
}

/// Checks that both ways to read a run give the same, or refuse it in the same words; what they give.
fn check_same(directory: &Path) -> Result<String, String> {
    let full = run::read(&Real, directory);
    let full = full.map(|facts| made_of(&facts.history));
    let bytes = RunBytes::read(&Real, directory);
    let skimmed = bytes.and_then(|bytes| Ok(made_of(&bytes.history()?)));
    let words = |error: run::RunError| error.to_string();
    let (full, skimmed) = (full.map_err(words), skimmed.map_err(words));
    assert_eq!(full, skimmed);
    skimmed
}

/// Also loses devices.
struct Losing<F> {
    stub: Stub<F>,
    under_way: BTreeSet<u64>,
    draw: Rng,
}

impl<F: FnMut(&Job) -> (Status, Vec<f64>)> Evaluator for Losing<F> {
    fn submit(&mut self, jobs: Vec<Job>) {
        self.under_way.extend(jobs.iter().map(|job| job.sample));
        self.stub.submit(jobs);
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        if let Some(&sample) = self.under_way.first()
            && self.draw.below(12) == 0
        {
            let words = "it fell off the bus".to_owned();
            return Some(News::Lost { sample, words });
        }
        let news = self.stub.next(patience);
        if let Some(News::Ended(outcome)) = &news {
            self.under_way.remove(&outcome.sample);
        }
        news
    }
}

/// Sessions of a search that ends as chance has it, until it finishes.
fn search(directory: &Path, seed: u64) {
    use Status::*;
    let endings = [
        Diverged,
        TooLarge,
        Invalid,
        OutOfMemory,
        Crash,
        Timeout,
        Poison,
    ];
    let case = Case {
        samples: 40,
        children_per_update: 5,
        learns: !seed.is_multiple_of(3),
        seed,
    };
    let draw = RefCell::new(Rng::new(seed, Purpose::Test, 1));
    for session in 0..40 {
        let (stop, mut left) = (AtomicBool::new(false), draw.borrow_mut().below(30));
        let answer = |job: &Job| {
            left = left.saturating_sub(1);
            stop.store(left == 0, Ordering::Relaxed);
            let mut draw = draw.borrow_mut();
            match draw.below(4) {
                0 => (endings[draw.below(7) as usize], vec![]),
                _ => by_architecture(job),
            }
        };
        let mut evaluator = Losing {
            stub: Stub::new(session, answer),
            under_way: BTreeSet::new(),
            draw: Rng::new(seed, Purpose::Test, 2 + session),
        };
        let begun = Entry::Run(started(&mut draw.borrow_mut()));
        append(directory, &begun);
        match case.run_until(directory, &mut evaluator, &stop).unwrap() {
            End::Finished => return,
            _ => continue,
        }
    }
    panic!("40 sessions of seed {seed} did not end the search");
}

#[test]
fn searches_are_skimmed_as_they_are_read() {
    let mut seen = HashMap::<&str, usize>::new();
    for seed in 0..24 {
        let folder = directory();
        search(folder.path(), seed);
        let journal = folder.path().join(FILE_NAME);
        let bytes = fs::read(&journal).unwrap();
        check_same(folder.path()).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        for word in [
            "duplicate_of",
            "\"lost\"",
            "\"stop\"",
            "\"update\"",
            "\"crash\"",
            "\"timeout\"",
            "\"out_of_memory\"",
            "\"poison\"",
            "\"diverged\"",
            "\"too_large\"",
            "\"invalid\"",
        ] {
            *seen.entry(word).or_default() += text.matches(word).count();
        }
        let samples = text
            .lines()
            .filter(|line| line.contains("\"child\""))
            .count();
        *seen.entry("tried again").or_default() += samples - 40;
        // Cut anywhere, as a reader may find it while it is written.
        let mut draw = Rng::new(seed, Purpose::Test, 0);
        for _ in 0..40 {
            let cut = draw.below(bytes.len() as u32) as usize;
            fs::write(&journal, &bytes[..cut]).unwrap();
            check_same(folder.path()).unwrap();
        }
        // One bit changed anywhere: damage, or a torn last line.
        for _ in 0..40 {
            let mut bad = bytes.clone();
            bad[draw.below(bytes.len() as u32) as usize] ^= 1 << draw.below(8);
            fs::write(&journal, &bad).unwrap();
            let _ = check_same(folder.path());
        }
    }
    assert_eq!(seen.len(), 12);
    assert!(seen.values().all(|&n| n > 5), "{seen:?}");
}

/// A child with whatever a line may hold.
fn child(sample: u64, draw: &mut Rng) -> Child {
    use Status::*;
    let status = [
        Ok,
        Ok,
        Ok,
        Crash,
        OutOfMemory,
        Timeout,
        Poison,
        Invalid,
        TooLarge,
        Diverged,
    ];
    let number = |draw: &mut Rng| f64::from(draw.below(1 << 24)) / f64::from(1 << 20);
    let n_epochs = draw.below(9);
    let values = (0..n_epochs).map(|_| number(draw)).collect();
    let rate = number(draw);
    Child {
        sample,
        batch: sample / 4,
        tokens: vec![],
        architecture: match draw.below(3) {
            0 => json!({"space": "cell", "kind": "lstm"}),
            1 => json!({"space": "conv", "layers": [], "learning_rate": rate}),
            _ => json!({"ö": "a \"word\"\n", "deep": [[{}], null, -1e-7]}),
        },
        status: status[draw.below(10) as usize],
        scores: match draw.below(2) {
            0 => Scores::Accuracies(values),
            _ => Scores::Perplexities(values),
        },
        reward: (draw.below(4) > 0).then(|| number(draw)),
        duplicate_of: (draw.below(5) == 0).then(|| draw.below(9).into()),
        parameters: (draw.below(2) == 0).then(|| draw.below(9999).into()),
        message: (draw.below(3) == 0).then(|| "it said \"ö\", then \\".to_owned()),
        writer: (draw.below(3) == 0).then(|| "00ff".to_owned()),
        attempts: (draw.below(3) == 0).then(|| draw.below(9).into()),
        staleness: (draw.below(3) == 0).then(|| draw.below(9).into()),
        timing: timing(draw),
    }
}

/// A time, now and then before the one of the line before.
fn timing(draw: &mut Rng) -> Timing {
    Timing {
        at: f64::from(draw.below(1000)) + 0.25,
        seconds: 0.5,
        threads: (draw.below(2) == 0).then_some(2),
        ..Timing::default()
    }
}

fn entry(draw: &mut Rng, next: &mut u64) -> Entry {
    let sample = match draw.below(8) {
        0 => u64::from(draw.below(*next as u32 + 1)), // tried again, or damage
        _ => *next,
    };
    match draw.below(12) {
        0 => Entry::Run(started(draw)),
        1 => Entry::Stop(Stop {
            samples: *next,
            timing: timing(draw),
        }),
        2 => Entry::Lost(Lost {
            sample,
            message: "lost".to_owned(),
            timing: timing(draw),
        }),
        3 => Entry::Unknown,
        4 if *next > 0 => Entry::Update(Update {
            batch: (*next - 1) / 4,
            samples: vec![*next - 1],
            baseline: Some(0.1),
            controller_sha256: "00".to_owned(),
            timing: timing(draw),
            ..Update::default()
        }),
        _ => {
            *next = (*next).max(sample + 1);
            Entry::Child(child(sample, draw))
        }
    }
}

fn started(draw: &mut Rng) -> Started {
    Started {
        version: "0".to_owned(),
        config_sha256: "1".to_owned(),
        data_sha256: "2".to_owned(),
        samples: 30,
        timing: RunTiming {
            at: f64::from(draw.below(1000)),
            device: "cpu".to_owned(),
            threads: 2,
        },
    }
}

#[test]
fn random_lines_are_skimmed_as_they_are_read() {
    let mut n_damaged = 0;
    for seed in 0..300 {
        let folder = directory();
        let mut draw = Rng::new(seed, Purpose::Test, 0);
        let mut journal = Journal::create(&Real, &folder.path().join(FILE_NAME)).unwrap();
        journal.append(&Entry::Run(started(&mut draw))).unwrap();
        let mut next = 0;
        for _ in 0..draw.below(40) {
            let entry = entry(&mut draw, &mut next);
            journal.append(&entry).unwrap();
        }
        n_damaged += usize::from(check_same(folder.path()).is_err());
    }
    assert!(
        (20..200).contains(&n_damaged),
        "{n_damaged} of 300 do not fit together"
    );
}

/// Lines of another writer: keys in another order, blanks, more keys, numbers out of range.
#[test]
fn lines_that_the_program_did_not_write_are_skimmed_as_they_are_read() {
    let run = concat!(
        r#"{"event":"run","version":"0","config_sha256":"1","data_sha256":"2","samples":3,"#,
        r#""timing":{"at":1,"device":"cpu","threads":1}"#
    );
    let child = |middle: &str| {
        format!(
            r#"{{"event":"child","sample":0,"batch":0,"tokens":[],"architecture":{{}},{middle},"timing":{{"at":2,"seconds":1}}"#
        )
    };
    let bodies = [
        child(r#""status":"ok","accuracies":[0.5,0.25],"reward":0.125"#),
        child(r#""status": "ok" , "accuracies": [ 0.5 , 0.25 ], "reward": 1"#),
        child(r#""new":{"key":[1]},"status":"ok","accuracies":[ ],"reward":null"#),
        child(r#""status":"ok","perplexities":[1,2,3,4,5,6,7],"reward":1e-3"#),
        child(r#""status":"ok","accuracies":[0.5,1e999],"reward":0.5"#),
        child(r#""status":"ok","accuracies":[0.5,null],"reward":0.5"#),
        child(r#""status":"ok","accuracies":null,"reward":0.5"#),
        child(r#""status":"ok","reward":0.5"#),
        child(r#""status":"melted","accuracies":[],"reward":0.5"#),
        child(r#""status":"ok","status":"ok","accuracies":[],"reward":0.5"#),
        child(r#""status":"ok","accuracies":[],"reward":"much""#),
        child(r#""status":"ok","accuracies":[]"#).replacen(r#""event":"child","#, "", 1)
            + r#","event":"child""#,
        r#"{"event":"update","batch":0"#.to_owned(),
        r#"{"event":"later","sample":"x""#.to_owned(),
        r#"["event""#.to_owned(),
    ];
    let mut n_read = 0;
    for body in bodies {
        let folder = directory();
        let line = |body: &str| {
            let sum = crc32fast::hash(body.as_bytes());
            format!("{body},\"crc32\":\"{sum:08x}\"}}\n")
        };
        let stop = r#"{"event":"stop","samples":1,"timing":{"at":3,"seconds":0}"#;
        let journal = [line(run), line(&body), line(stop)].concat();
        fs::write(folder.path().join(FILE_NAME), journal).unwrap();
        n_read += usize::from(check_same(folder.path()).is_ok());
    }
    assert_eq!(n_read, 6);
}
