//! `examples/search.sbatch`, run as Slurm runs it, with a `scontrol` that writes down what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::search::Place;
use super::text;

/// Starts the job, with flags of a search.
fn start(place: &Place, tools: &Path, flags: &[String]) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_nas-engine"))
        .parent()
        .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/search.sbatch");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", text(tools), text(program));
    Command::new("bash")
        .arg(script)
        .args(flags)
        .env("PATH", path)
        .env("SLURM_JOB_ID", "41")
        .env("SLURM_SUBMIT_DIR", place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_job_requeues_itself_until_its_search_has_ended() {
    let place = Place::new();
    let many = ["--samples", "40", "--epochs", "3"];
    place.search("whole", &many);
    let tools = tempfile::tempdir().unwrap();
    let (told, scontrol) = (tools.path().join("told"), tools.path().join("scontrol"));
    fs::write(
        &scontrol,
        format!("#!/bin/sh\necho \"$@\" >>'{}'\n", text(&told)),
    )
    .unwrap();
    fs::set_permissions(&scontrol, fs::Permissions::from_mode(0o755)).unwrap();
    // All but `search` and `--out RUN`, which the script adds.
    let mut flags = place.arguments("unused", &many);
    let out = flags.iter().position(|flag| flag == "--out").unwrap();
    flags.drain(out..out + 2);
    flags.remove(0);

    let run = "runs/slurm-41";
    let n_lines = || fs::read_to_string(place.journal(run)).map_or(0, |text| text.lines().count());
    let mut n_stopped = 0;
    // Two come together where a job is preempted as its time ends.
    for signals in [["-USR1", "-TERM"], ["-TERM", "-TERM"], ["-USR1", "-USR1"]] {
        let (mut job, before, began) = (
            start(&place, tools.path(), &flags),
            n_lines(),
            Instant::now(),
        );
        // The line of a session, and a child: signals are heard from before these.
        while n_lines() < before + 2 && job.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is done");
            sleep(Duration::from_millis(2));
        }
        let id = job.id().to_string();
        for signal in signals {
            Command::new("kill").args([signal, &id]).output().unwrap();
        }
        match job.wait().unwrap().code() {
            Some(75) => n_stopped += 1,
            Some(0) => break, // it had ended before the signal came
            other => panic!("exit {other:?}"),
        }
        let requeued = fs::read_to_string(&told).unwrap();
        assert_eq!(requeued, "requeue 41\n".repeat(n_stopped));
    }
    assert!(n_stopped > 0, "no signal came in time");
    assert_eq!(
        start(&place, tools.path(), &flags).wait().unwrap().code(),
        Some(0)
    );
    assert_eq!(
        fs::read_to_string(&told).unwrap(),
        "requeue 41\n".repeat(n_stopped)
    );
    assert_eq!(place.facts(run), place.facts("whole"));
}
