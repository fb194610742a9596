//! `tb/` of a run, read by TensorBoard's own data server: what the journal says, each sample once, however often
//! the search was stopped.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nas_engine::disk::Real;
use nas_engine::run;
use nas_engine::run::Status;
use nas_engine::run::entry::{Child, Entry};
use nas_engine::run::journal::{FILE_NAME, Journal};
use nas_engine::train::Scores;
use serde_json::Value;

use super::report::bench;
use super::shared::Place;
use super::{nas, program, text};

/// Steps and values of each scalar.
type Scalars = BTreeMap<String, Vec<(u64, f32)>>;

/// What TensorBoard shows of a run, but its entropy.
fn shown(run: &Path) -> Scalars {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join(".venv/bin/python"));
    command.arg(root.join("tests/tensorboard/read.py")).arg(run);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "scripts/test sets TensorBoard up");
    let runs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (name, scalars) = runs.as_object().unwrap().iter().next().unwrap();
    assert_eq!((runs.as_object().unwrap().len(), &**name), (1, "tb"));
    let of = |points: &Value| {
        let points = points.as_array().unwrap().iter();
        let wall = |point: &Value| point[1].as_f64().unwrap();
        assert!(points.clone().map(wall).is_sorted(), "time goes on");
        points
            .map(|point| {
                let value = point[2].as_f64().unwrap() as f32;
                (point[0].as_u64().unwrap(), value)
            })
            .collect()
    };
    let scalars = scalars.as_object().unwrap().iter();
    let mut scalars: Scalars = scalars
        .map(|(tag, points)| (tag.clone(), of(points)))
        .collect();
    let entropy = scalars.remove("entropy").unwrap_or_default();
    for (i, (step, entropy)) in entropy.iter().enumerate() {
        assert_eq!(*step, i as u64 + 19, "from the twentieth sample on");
        assert!((0.0..=1.0).contains(entropy), "{step}: {entropy}");
    }
    let n_samples = run::read(&Real, run).unwrap().history.children.len();
    assert_eq!(entropy.len(), n_samples.saturating_sub(19));
    scalars
}

/// The same by the journal.
fn by_journal(run: &Path) -> Scalars {
    let history = run::read(&Real, run).unwrap().history;
    let children: Vec<&Child> = history.children.values().collect();
    let mut scalars = Scalars::new();
    let mut add = |tag: &str, step: u64, value: f64| {
        let points = scalars.entry(tag.to_owned()).or_default();
        points.push((step, value as f32));
    };
    for (i, child) in children.iter().enumerate() {
        assert_eq!(child.sample, i as u64, "none is missing");
        let rewards = |from: usize| children[from..=i].iter().filter_map(|child| child.reward);
        if let Some(reward) = child.reward {
            add("reward", child.sample, reward);
            let last: Vec<f64> = rewards((i + 1).saturating_sub(100)).collect();
            let mean = last.iter().sum::<f64>() / last.len() as f64;
            add("reward/mean_of_100", child.sample, mean);
        }
        let well = children[..=i]
            .iter()
            .filter(|child| child.status == Status::Ok);
        if let Some(best) = well.filter_map(|child| child.reward).reduce(f64::max) {
            add("reward/best", child.sample, best);
        }
        if let Some(parameters) = child.parameters {
            add("child/parameters", child.sample, parameters as f64);
        }
    }
    for update in history.updates.values() {
        if let Some(baseline) = update.baseline {
            add("baseline", *update.samples.last().unwrap(), baseline);
        }
    }
    scalars
}

fn check(run: &Path) {
    let (shown, expected) = (shown(run), by_journal(run));
    let tags = |scalars: &Scalars| scalars.keys().cloned().collect::<Vec<_>>();
    assert_eq!(tags(&shown), tags(&expected));
    for (tag, points) in &shown {
        assert_eq!(points.len(), expected[tag].len(), "{tag}");
        for (found, expected) in points.iter().zip(&expected[tag]) {
            // The mean is of the same numbers in another order.
            let is_near = (found.1 - expected.1).abs() <= 1e-6 * expected.1.abs();
            assert!(
                found.0 == expected.0 && is_near,
                "{tag}: {found:?}, {expected:?}"
            );
        }
    }
}

fn event_file(run: &Path) -> PathBuf {
    run.join("tb/events.out.tfevents.nas-engine")
}

fn resume(run: &Path, more: &[&str]) -> String {
    let ended = nas(&[&["search", "--resume", &text(run)], more].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stderr
}

#[test]
fn tensorboard_shows_every_sample_once() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["policy", "evolution", "random"] {
        let run = folder.path().join(strategy);
        bench(&run, strategy, 1, 150, &[]);
        check(&run);
        assert_eq!(
            by_journal(&run).contains_key("baseline"),
            strategy == "policy"
        );
        // A part that was there stays as it is; more samples follow it.
        let before = fs::read(event_file(&run)).unwrap();
        resume(&run, &[]);
        assert_eq!(fs::read(event_file(&run)).unwrap(), before);
        resume(&run, &["--samples", "230"]);
        let after = fs::read(event_file(&run)).unwrap();
        assert_eq!(after[..before.len()], before, "{strategy}");
        check(&run);
    }
}

/// By a path that is relative, and by one through a link to the folder of runs.
#[test]
fn a_run_is_shown_whatever_its_path_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    fs::create_dir(&runs).unwrap();
    bench(&runs.join("a"), "policy", 4, 40, &[]);
    symlink(&runs, folder.path().join("link")).unwrap();
    for (path, samples) in [
        ("runs/a", "60"),
        ("link/a", "80"),
        ("./runs/../link/a", "100"),
    ] {
        let mut command = program();
        command.current_dir(folder.path());
        let resumed = super::run(command.args(["search", "--resume", path, "--samples", samples]));
        assert_eq!(resumed.code, 0, "{resumed:?}");
        assert!(!resumed.stderr.contains("TensorBoard"), "{resumed:?}");
        check(&runs.join("a"));
    }
}

/// What a kill, a power cut, a user or another run may have left.
#[test]
fn a_file_that_is_torn_changed_or_gone_is_mended_when_the_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    bench(&run, "policy", 2, 60, &[]);
    let path = event_file(&run);
    let whole = fs::read(&path).unwrap();
    let other = folder.path().join("other");
    bench(&other, "policy", 3, 80, &[]);
    let open = || OpenOptions::new().append(true).open(&path).unwrap();
    let faults: [(&str, &dyn Fn()); 9] = [
        ("a stranger's, larger than memory", &|| {
            open().set_len(1 << 40).unwrap();
        }),
        ("cut within a record", &|| {
            open().set_len(whole.len() as u64 - 5).unwrap();
        }),
        ("cut to nothing", &|| open().set_len(0).unwrap()),
        ("zeros at its end", &|| {
            open().set_len(whole.len() as u64 - 700).unwrap();
            open().set_len(whole.len() as u64).unwrap();
        }),
        ("a bit", &|| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let half = whole.len() / 2;
            file.write_all_at(&[whole[half] ^ 1], half as u64).unwrap();
        }),
        ("another run's", &|| {
            fs::copy(event_file(&other), &path).map(|_| ()).unwrap();
        }),
        ("twice", &|| open().write_all(&whole).unwrap()),
        ("no event file", &|| fs::write(&path, "never").unwrap()),
        ("gone", &|| fs::remove_dir_all(run.join("tb")).unwrap()),
    ];
    for (n, (fault, make)) in (1..).zip(faults) {
        let length = || fs::metadata(&path).unwrap().len();
        let before = length();
        make();
        resume(&run, &[]);
        check(&run);
        assert_eq!(length(), before, "{fault}: as if nothing had been");
        make();
        resume(&run, &["--samples", &(60 + 5 * n).to_string()]);
        check(&run);
    }
}

/// A child that a fault of the machine ended has no reward, until it is tried again: also where nothing learns, and
/// where a kill came while the file was replaced.
#[test]
fn a_child_that_is_tried_again_is_shown_as_it_ended_then() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["policy", "evolution", "random"] {
        let run = folder.path().join(strategy);
        bench(&run, strategy, 5, 25, &[]);
        let lines = run::record(&Real, &run, &[]).unwrap().contents.lines;
        let journal = run.join(FILE_NAME);
        fs::remove_file(&journal).unwrap();
        let mut journal = Journal::create(&Real, &journal).unwrap();
        for line in lines {
            match line.entry {
                Entry::Child(mut child) => {
                    if child.sample == 22 {
                        child.status = Status::Crash;
                        child.reward = None;
                        child.scores = Scores::TableAccuracies(vec![]);
                        child.message = Some("a fault of the machine".to_owned());
                    }
                    journal.append(&Entry::Child(child)).unwrap();
                }
                // Nothing has learned from it.
                Entry::Update(update) if update.samples.contains(&22) => {}
                entry => journal.append(&entry).unwrap(),
            }
        }
        drop(journal);
        let left = run.join("tb/.events.out.tfevents.nas-engine.abcdefghij.unfinished");
        fs::copy(event_file(&run), &left).unwrap();
        resume(&run, &[]);
        check(&run);
        let rewards = by_journal(&run)["reward"].len();
        assert_eq!((rewards, left.exists()), (25, false), "{strategy}");
    }
}

/// Children of several replicas end in any order, and a kill comes at any time.
#[test]
fn replicas_and_kills_leave_the_samples_in_their_order() {
    let place = Place::new();
    let run = place.path("killed");
    let mut command = place.command("killed", &["--replicas", "3", "--shards", "2"]);
    let mut child = command
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let has_some = || fs::metadata(event_file(&run)).is_ok_and(|file| file.len() > 400);
    while !has_some() && child.try_wait().unwrap().is_none() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "nothing is shown"
        );
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    resume(&run, &[]);
    let shown = shown(&run);
    for (tag, points) in &shown {
        assert!(points.is_sorted_by_key(|(step, _)| *step), "{tag}");
    }
    check(&run);
}

/// A search goes on without what cannot be written, and says so once.
#[test]
fn a_folder_that_cannot_be_written_stops_no_search() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    bench(&run, "policy", 4, 20, &[]);
    fs::remove_dir_all(run.join("tb")).unwrap();
    fs::write(run.join("tb"), "a file").unwrap();
    let said = resume(&run, &["--samples", "40"]);
    assert_eq!(
        said.matches("TensorBoard sees no more").count(),
        1,
        "{said}"
    );
    assert!(said.contains(&text(&event_file(&run))), "{said}");
    assert_eq!(fs::read(run.join("tb")).unwrap(), b"a file");

    // What a link leads to is not ours.
    let other = folder.path().join("other");
    fs::write(&other, "not ours").unwrap();
    fs::remove_file(run.join("tb")).unwrap();
    fs::create_dir(run.join("tb")).unwrap();
    std::os::unix::fs::symlink(&other, event_file(&run)).unwrap();
    let said = resume(&run, &["--samples", "45"]);
    assert_eq!(said.matches("it is a link").count(), 1, "{said}");
    assert_eq!(fs::read(&other).unwrap(), b"not ours");
    let audit = super::run(program().args(["audit", &text(&run)]));
    assert_eq!(audit.code, 0, "{audit:?}");
}
