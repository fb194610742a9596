//! What others see of `finish`: `status` and `report` in every state, and what is on record of a stop.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nas_engine::disk::Real;
use nas_engine::run::Status;
use nas_engine::run::entry::Entry;
use nas_engine::run::journal::{FILE_NAME, Journal};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json as value};

use super::super::bad_input::refused;
use super::super::{json, nas, object, program, text};
use super::{EPOCHS, number, searched};

/// What `status` and `report` say of the final training.
#[test]
fn status_and_report_know_of_it() {
    let (place, finish) = searched();
    let run = place.path("run");
    let (path, folder) = (text(&run), run.join("finish"));
    assert_eq!(place.status("run")["finish"], Value::Null);
    let finished = json(&finish);
    let of_status = place.status("run")["finish"].clone();
    let of_report = json(&["report", &path])["runs"][0]["finish"].clone();
    for found in [&of_status, &of_report] {
        let expected = value!(["finished", 8, 8]);
        assert_eq!(
            value!([found["state"], found["tried"], found["trainings"]]),
            expected
        );
        assert_eq!(found["chosen"], finished["chosen"]);
        assert_eq!(found["final"], finished["final"]);
    }
    assert_eq!(of_report["candidates"], finished["candidates"]);
    let test = format!("{:.4}", number(&finished, "/final/test_accuracy"));
    let words = nas(&["status", &path]).stdout;
    let line = format!("final accuracy (test, read once): {test}\n");
    assert!(words.contains(&line), "{words}");
    let page = text(&place.path("page.html"));
    json(&["report", &path, "--out", &page]);
    for words in [
        nas(&["report", &path]).stdout,
        fs::read_to_string(page).unwrap(),
    ] {
        assert!(
            words.contains("Final training") && words.contains(&test),
            "{words}"
        );
        assert_eq!(words.matches("falling after epoch").count(), 8, "{words}");
    }
    // Before its end, and with a folder that is damaged.
    fs::remove_file(folder.join("final.json")).unwrap();
    let found = place.status("run")["finish"].clone();
    assert_ne!(found["state"], "finished");
    assert_eq!(
        value!([found["chosen"], found["final"]]),
        value!([finished["chosen"], null])
    );
    // Its last training has ended, but without weights it is done again.
    json(&finish);
    assert_eq!(place.status("run")["finish"], of_status);
    fs::remove_file(folder.join("final.safetensors")).unwrap();
    let found = place.status("run")["finish"].clone();
    assert_eq!(found["final"], Value::Null);
    let journal = folder.join("journal.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    let lines: String = lines.split_inclusive('\n').take(4).collect();
    fs::write(&journal, lines).unwrap();
    let found = place.status("run")["finish"].clone();
    assert_eq!(value!([found["tried"], found["chosen"]]), value!([3, null]));
    let report = nas(&["report", &path]).stdout;
    assert!(
        report.contains("; 3 of 8 trainings of the grid have ended") && report.contains("not yet"),
        "{report}"
    );
    fs::remove_file(folder.join("grid.json")).unwrap();
    let status = nas(&["status", &path]);
    assert!(
        status.code == 0 && status.stderr.contains("has a journal"),
        "{status:?}"
    );
    fs::write(folder.join("grid.json"), "{").unwrap();
    let status = nas(&["status", &path, "--json"]);
    assert_eq!(
        (status.code, object(&status)["finish"].clone()),
        (0, Value::Null)
    );
    assert!(status.stderr.contains("grid.json"), "{status:?}");
}

#[test]
fn a_training_that_is_tried_again_has_not_ended() {
    let (place, finish) = searched();
    let finished = json(&finish);
    let folder = place.path("run").join("finish");
    let path = folder.join(FILE_NAME);
    let history = nas_engine::run::read(&Real, &folder).unwrap().history;
    fs::remove_file(&path).unwrap();
    let mut journal = Journal::create(&Real, &path).unwrap();
    journal
        .append(&Entry::Run(history.runs[0].clone()))
        .unwrap();
    for mut child in history.children.into_values() {
        if child.sample == 5 {
            (child.status, child.reward) = (Status::Crash, None);
        }
        journal.append(&Entry::Child(child)).unwrap();
    }
    drop(journal);
    let found = place.status("run")["finish"].clone();
    let expected = value!([7, null, null]);
    assert_eq!(
        value!([found["tried"], found["chosen"], found["final"]]),
        expected
    );
    assert_eq!(json(&finish), finished);
    assert_eq!(place.status("run")["finish"]["tried"], 8);
}

/// A stop during the last training is on record, and so is that somebody goes on with it.
#[test]
fn the_last_training_is_stopped_in_good_order() {
    let (place, finish) = searched();
    let mut long: Vec<String> = finish.clone();
    let at = long.iter().position(|flag| flag == EPOCHS).unwrap();
    long[at] = "300".to_owned();
    let at = long.iter().position(|flag| flag == "1e-5,0.01").unwrap();
    long[at] = "1e-5".to_owned();
    let at = long.iter().position(|flag| flag == "2,4").unwrap();
    long[at] = "2".to_owned();
    long[3] = "1".to_owned();
    let mut command = program();
    command
        .args(&long)
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(errors.any(|line| line.unwrap().contains("last training, ")));
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    errors.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let journal = place.path("run").join("finish").join(FILE_NAME);
    let events = || {
        let lines = fs::read_to_string(&journal).unwrap();
        let events = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.map(|line| line["event"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(value!(events()), value!(["run", "child", "stop"]));
    let found = place.status("run")["finish"].clone();
    assert_eq!(
        value!([found["state"], found["final"]]),
        value!(["stopped", null])
    );
    let words = nas(&["status", &text(&place.path("run"))]).stdout;
    assert!(words.contains("its last training has not ended"), "{words}");
    json(&long);
    assert_eq!(value!(events()), value!(["run", "child", "stop", "run"]));
    assert_eq!(place.status("run")["finish"]["state"], "finished");
}

#[test]
fn the_folder_of_a_final_training_is_not_taken_for_a_search() {
    let (place, finish) = searched();
    json(&finish);
    let folder = text(&place.path("run").join("finish"));
    for command in ["status", "report"] {
        let found = nas(&[command, &folder]);
        assert_eq!(found.code, 0, "{found:?}");
        let search = format!("the search is {}", text(&place.path("run")));
        assert!(found.stderr.contains(&search), "{found:?}");
    }
    for command in [
        &["search", "--resume", &folder][..],
        &["finish", &folder],
        &["audit", &folder],
        &["explain", &folder, "0"],
    ] {
        refused(
            command,
            2,
            "usage",
            &["of a final training", "nas-engine finish "],
        );
    }
}
