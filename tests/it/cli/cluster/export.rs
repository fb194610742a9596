//! Runs of a server as directories, and back.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::super::shared::{differences, facts};
use super::super::{object, program, run, text};
use super::{Place, SETTINGS, children};

/// A run is exported while it goes on and when it is done; both are the journal of the same search in one
/// process, up to where they go. What is left of the first is finished in one process, and on a server.
#[test]
fn an_export_is_the_journal_of_one_process() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let scheme = ["--shards", "3", "--replicas", "2", "--synchronous"];
    let config = path("config.toml");
    std::fs::write(&config, "[search]\nchildren_per_update = 2\n").unwrap();
    let config = text(&config);
    let more = [&scheme[..], &["--config", &config]].concat();
    let ended = place.init("a", &more);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let data = text(place.data.path());
    let export = |run_name: &str, out: &str| {
        let out = text(&path(out));
        let mut command = place.cluster("export", run_name, &["--out", &out, "--data", &data]);
        let ended = run(command.args(["--json", "--quiet"]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        object(&ended)
    };
    assert_eq!(export("a", "empty")["samples"], 0);
    let mut roles = vec![
        place.start("apply", "a", &[]),
        place.start("replica", "a", &[]),
        place.worker("a", "a"),
    ];
    place.wait("a", 4);
    export("a", "part");
    place.wait("a", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    assert_eq!(export("a", "whole")["finished"], true);
    let mut search = program();
    search
        .args(["search", "--quiet", "--no-progress"])
        .args(SETTINGS)
        .args(&more);
    search.args(["--data", &data, "--out", &text(&path("one"))]);
    let ended = run(&mut search);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let one = facts(&path("one"));
    let whole = facts(&path("whole"));
    assert_eq!(differences(&one, &whole), [""; 0]);
    let part = facts(&path("part"));
    assert!(part.len() >= 4 && part.iter().all(|(name, fact)| one[name] == *fact));
    let audit = |name: &str| {
        object(&run(program().args([
            "audit",
            "--json",
            &text(&path(name)),
        ])))
    };
    assert_eq!(audit("whole")["same"], true);
    assert_eq!(audit("part")["same"], true);

    let resumed = run(program().args(["search", "--quiet", "--resume", &text(&path("part"))]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let part = facts(&path("part"));
    assert_eq!(differences(&one, &part), [""; 0]);

    // As it was when the server was lost.
    std::fs::remove_dir_all(path("part")).unwrap();
    let mut cut = std::fs::read_to_string(path("one").join("journal.jsonl")).unwrap();
    let end = cut.match_indices('\n').nth(12).unwrap().0 + 1;
    cut.truncate(end);
    std::fs::create_dir(path("cut")).unwrap();
    std::fs::copy(
        path("one").join("config.toml"),
        path("cut").join("config.toml"),
    )
    .unwrap();
    std::fs::write(path("cut").join("journal.jsonl"), cut).unwrap();
    let import = |name: &str| {
        let run_folder = text(&path("cut"));
        let flags = [&run_folder, "--i-checked-sync", "--lease", "3s"];
        run(&mut place.cluster("import", name, &flags))
    };
    let ended = import("b");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(import("b").code, 0, "the same again is harmless");
    let mut roles = vec![
        place.start("apply", "b", &[]),
        place.start("replica", "b", &[]),
        place.worker("b", "a"),
    ];
    place.wait("b", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    export("b", "again");
    let differ: Vec<_> = facts(&path("again"))
        .into_iter()
        .filter(|(name, fact)| one.get(name) != Some(fact))
        .collect();
    assert_eq!(differ, []);
    // Nothing of a run that has only begun is touched.
    assert_eq!(place.init("fresh", &["--samples", "4"]).code, 0);
    let taken = import("fresh");
    assert_eq!(taken.code, 2, "{}", taken.stderr);
    assert_eq!(place.status("fresh")["samples"], 0);
    let taken = import("a");
    assert_eq!(taken.code, 2, "{}", taken.stderr);
    assert!(
        taken.stderr.contains("choose another name"),
        "{}",
        taken.stderr
    );
}

/// Within a batch: what has ended of it is not trained again.
#[test]
fn a_batch_under_way_is_imported() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = text(place.data.path());
    let mut search = program();
    search.args(["search", "--quiet", "--no-progress", "--data", &data]);
    search.args(SETTINGS).args(["--out", &text(&path("one"))]);
    let ended = run(&mut search);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let journal = std::fs::read_to_string(path("one").join("journal.jsonl")).unwrap();
    let lines = |n: usize| journal.match_indices('\n').nth(n - 1).unwrap().0 + 1;
    // The run, and three children of the first eight; all of these, the update, and one of the last two.
    for (name, n_lines, samples) in [("a", 4, 3), ("b", 11, 9)] {
        let cut = path(name);
        std::fs::create_dir(&cut).unwrap();
        std::fs::copy(path("one").join("config.toml"), cut.join("config.toml")).unwrap();
        std::fs::write(cut.join("journal.jsonl"), &journal[..lines(n_lines)]).unwrap();
        let flags = [&text(&cut), "--i-checked-sync", "--lease", "3s"];
        let ended = run(&mut place.cluster("import", name, &flags));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(place.status(name)["samples"], samples);
        let mut roles = [
            place.start("apply", name, &[]),
            place.start("replica", name, &[]),
            place.worker(name, "a"),
        ];
        place.wait(name, 10);
        for role in &mut roles {
            assert_eq!(role.wait().unwrap().code(), Some(0));
        }
        let out = text(&path(&format!("{name}-whole")));
        let ended = run(&mut place.cluster("export", name, &["--out", &out, "--data", &data]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let (one, whole) = (facts(&path("one")), facts(&path(&format!("{name}-whole"))));
        assert_eq!(differences(&one, &whole), [""; 0]);
    }
}

/// All roles by one command: the same journal as without a server. Stopped, it goes on by the same command.
#[test]
fn a_search_on_a_server_is_one_command() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let url = place.server.url();
    let search = |out: &str, more: &[&str]| {
        let mut search = program();
        search
            .args(["search", "--no-progress", "--threads", "2"])
            .args(SETTINGS);
        search.args([
            "--data",
            &text(place.data.path()),
            "--out",
            &text(&path(out)),
        ]);
        search.args(more);
        run(&mut search)
    };
    let flags = ["--cluster", &url, "--run-name", "one", "--i-checked-sync"];
    let ended = search("run", &flags[..4]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("sync_interval: always"),
        "{}",
        ended.stderr
    );
    let stopped = search("run", &[&flags[..], &["--time-limit", "1s"]].concat());
    assert!([0, 75].contains(&stopped.code), "{}", stopped.stderr);
    if stopped.code == 75 {
        assert!(
            stopped.stderr.contains("--run-name one"),
            "{}",
            stopped.stderr
        );
        let ended = search("run", &flags);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let says = "run on the server: one, which is there already: ";
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let ended = search("alone", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let facts = |name: &str| facts(&path(name));
    let differ = differences(&facts("alone"), &facts("run"));
    assert_eq!(differ, [""; 0]);
    let resumed = run(program().args(["search", "--quiet", "--resume", &text(&path("run"))]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert_eq!(
        std::fs::read_dir(path("run").join("weights"))
            .unwrap()
            .count(),
        3
    );
    let again = search("run", &flags);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );
}

/// While the run is made on a server that does not answer: as Ctrl-C reaches it and all that it has begun, and
/// as `kill` reaches it alone.
#[test]
fn a_search_on_a_server_that_is_stopped_before_it_began_can_be_begun() {
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let mut search = program();
    search
        .args([
            "search",
            "--cluster",
            &place.server.url(),
            "--i-checked-sync",
        ])
        .args(["--run-name", "one", "--data", &text(place.data.path())])
        .args(["--out", &text(&folder.path().join("run"))])
        .args(SETTINGS);
    search.process_group(0).stderr(Stdio::piped());
    let server = Pid::from_raw(place.server.id().cast_signed()).unwrap();
    for is_all in [true, false] {
        kill_process(server, Signal::STOP).unwrap();
        let begun = search.spawn().unwrap();
        let began = Instant::now();
        while children(begun.id()).is_empty() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it begins nothing"
            );
            thread::sleep(Duration::from_millis(10));
        }
        let own = Pid::from_child(&begun);
        match is_all {
            true => kill_process_group(own, Signal::INT).unwrap(),
            false => kill_process(own, Signal::TERM).unwrap(),
        }
        let ended = begun.wait_with_output().unwrap();
        kill_process(server, Signal::CONT).unwrap();
        let words = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(75), "{words}");
        assert!(words.contains("before any child"), "{words}");
    }
    let ended = run(&mut search);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
