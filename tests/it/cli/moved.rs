//! Data that lie elsewhere than when a run or a training began: the advice of an error is what the
//! next command accepts.

use std::fs;
use std::path::Path;

use super::bad_input::{layers, refused};
use super::search::Place;
use super::{file, json, nas, program, run, text, write_data};

/// Where a run keeps that its data lie.
fn data_path(run: &Path) -> String {
    let config: toml::Table = fs::read_to_string(run.join("config.toml"))
        .unwrap()
        .parse()
        .unwrap();
    config["data"]["path"].as_str().unwrap().to_owned()
}

#[test]
fn a_search_goes_on_with_data_that_were_moved() {
    let place = Place::new();
    place.search("whole", &["--samples", "6"]);
    place.search("run", &["--samples", "3"]);
    let (run, moved) = (text(&place.path("run")), place.path("moved"));
    fs::rename(place.data.path(), &moved).unwrap();
    fs::create_dir(place.data.path()).unwrap(); // for the folder to remove itself
    let resume = ["search", "--resume", &run, "--samples", "6"];
    refused(&resume, 3, "data", &["--data"]);
    // Others are refused by their digest, and the run stays what it was.
    let others = place.path("others");
    fs::create_dir(&others).unwrap();
    write_data(&others, 80, 16, 9);
    let before = super::search::snapshot(&place.path("run"));
    let others = text(&others);
    let others = [&resume[..], &["--data", &others]].concat();
    refused(&others, 3, "data", &["not the data", "sha256", "--data"]);
    assert_eq!(super::search::snapshot(&place.path("run")), before);
    let ended = nas(&[&resume[..], &["--data", &text(&moved)]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.facts("run"), place.facts("whole"));
    // Where they lie is kept, and is none of what decides results.
    assert_eq!(data_path(&place.path("run")), text(&moved));
    assert_eq!(nas(&["search", "--resume", &run, "--samples", "7"]).code, 0);
    assert_eq!(
        json(&["audit", &run, "--data", &text(&moved)])["same"],
        true
    );
    let digests: Vec<String> = fs::read_to_string(place.journal("run"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "run")
        .map(|line| line["config_sha256"].to_string())
        .collect();
    assert!(digests.len() >= 3 && digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn a_relative_path_of_a_file_means_the_folder_that_it_began_with() {
    let place = Place::new();
    let (here, elsewhere) = (place.path("here"), place.path("elsewhere"));
    for folder in [&here, &elsewhere] {
        fs::create_dir_all(folder.join("images")).unwrap();
    }
    write_data(&here.join("images"), 80, 16, 1);
    write_data(&elsewhere.join("images"), 80, 16, 2);
    let settings = fs::read_to_string(place.path("settings.toml")).unwrap();
    let config = file(
        &here,
        "c.toml",
        format!("{settings}\n[data]\npath = \"images\"\n"),
    );
    let out = text(&place.path("run"));
    let begin = [
        "search",
        "--config",
        &config,
        "--out",
        &out,
        "--samples",
        "2",
    ];
    let ended = run(program().current_dir(&here).args(begin));
    assert_eq!(ended.code, 0, "{ended:?}");
    let full = here.join("images").canonicalize().unwrap();
    assert_eq!(data_path(&place.path("run")), text(&full));
    let resume = ["search", "--resume", &out, "--samples", "3"];
    let ended = run(program().current_dir(&elsewhere).args(resume));
    assert_eq!(ended.code, 0, "{ended:?}");
    // An older version kept the name as it stood: still gone on with, from the folder of then.
    let kept = place.path("run").join("config.toml");
    let config = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, config.replace(&*text(&full), "images")).unwrap();
    let resume = ["search", "--resume", &out, "--samples", "4"];
    let ended = run(program().current_dir(&elsewhere).args(resume));
    assert_eq!(ended.code, 3, "{ended:?}");
    let ended = run(program().current_dir(&here).args(resume));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(data_path(&place.path("run")), text(&full));
}

/// In the environment it is where the data of new runs lie.
#[test]
fn the_data_of_the_environment_are_not_those_of_a_run_that_goes_on() {
    let place = Place::new();
    place.search("run", &["--samples", "2"]);
    let resume = [
        "search",
        "--resume",
        &text(&place.path("run")),
        "--samples",
        "3",
    ];
    let ended = run(program().env("NAS_ENGINE_DATA", "/absent").args(resume));
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn what_is_said_to_type_next_can_be_typed_whatever_the_names() {
    let place = Place::new();
    let name = "a run's; #1";
    let ended = nas(&place.arguments(name, &["--samples", "2"]));
    assert_eq!(ended.code, 0, "{ended:?}");
    let (_, next) = ended.stdout.split_once("keep its weights:").unwrap();
    let script = next.replace("nas-engine", env!("CARGO_BIN_EXE_nas-engine"));
    let typed = run(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!(typed.code, 0, "{script}: {typed:?}");
    assert!(place.path(name).join("best.safetensors").exists());
}

/// `--checkpoint` of a training that is told to stop at once, and what becomes of it.
#[test]
fn a_training_goes_on_with_data_that_were_moved() {
    let place = Place::new();
    let layer = layers(r#"{"filter":[3,3],"filters":8,"inputs":[0]}"#);
    let arch = file(&place.path(""), "a.json", layer);
    let (data, saved) = (text(place.data.path()), text(&place.path("w")));
    let train = [
        "train",
        "--arch",
        &arch,
        "--data",
        &data,
        "--batch",
        "8",
        "--epochs",
        "3000",
        "--save",
        &saved,
        "--threads",
        "1",
        "--time-limit",
        "1s",
    ];
    assert_eq!(nas(&train).code, 75);
    let moved = place.path("moved");
    fs::rename(place.data.path(), &moved).unwrap();
    fs::create_dir(place.data.path()).unwrap();
    let checkpoint = format!("{saved}.checkpoint");
    let resume = ["train", "--resume", &checkpoint, "--time-limit", "1s"];
    refused(&resume, 3, "data", &["--data"]);
    let others = place.path("others");
    fs::create_dir(&others).unwrap();
    write_data(&others, 80, 16, 9);
    let others = text(&others);
    let other = [&resume[..], &["--data", &others]].concat();
    refused(&other, 3, "checkpoint", &["another data set", "--data"]);
    let ended = nas(&[&resume[..], &["--data", &text(&moved)]].concat());
    assert!(matches!(ended.code, 0 | 75), "{ended:?}");
    assert!(ended.stderr.contains("goes on after"), "{ended:?}");
    // Where they lie is kept with the next checkpoint.
    if ended.code == 75 {
        assert!(matches!(nas(&resume).code, 0 | 75));
    }
}
