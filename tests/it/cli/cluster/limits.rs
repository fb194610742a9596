//! Limits of a child on real processes, several children at a time, and the test of a device.

use nas_engine::config::Config;
use serde_json::json;

use super::super::{data_folder, file, program, run, text};
use super::{Place, check};

fn end(roles: &mut [std::process::Child]) {
    for role in roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn children_that_take_too_long_are_ended() {
    let place = Place::new();
    let long = [
        "--epochs",
        "100000",
        "--samples",
        "3",
        "--child-time-limit",
        "1s",
    ];
    assert_eq!(place.init("run", &long).code, 0);
    let mut roles = [
        place.start("apply", "run", &[]),
        place.start("replica", "run", &[]),
        place.worker("run", "a"),
    ];
    end(&mut roles);
    let status = place.status("run");
    assert_eq!(status["failures"], json!({"timeout": 3}), "{status}");
    assert_eq!(status["state"], "finished");
    assert_eq!(status["mean_reward"], json!(null));
}

#[test]
fn children_that_take_too_much_memory_are_ended() {
    let mut place = Place::new();
    place.data = data_folder(2000, 16);
    let folder = tempfile::tempdir().unwrap();
    // A step of 1,800 images takes many times what is allowed.
    let settings = file(folder.path(), "settings.toml", "[train]\nbatch = 1800\n");
    let large = ["--config", &settings, "--limit", "2000", "--samples", "2"];
    let ended = place.init("run", &large);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut roles = [
        place.start("apply", "run", &[]),
        place.start("replica", "run", &[]),
    ];
    let data = text(place.data.path());
    let flags = [
        "--data",
        &data,
        "--device",
        "cpu",
        "--threads",
        "1",
        "--child-memory",
        "96M",
    ];
    let worker = run(&mut place.cluster("worker", "run", &flags));
    assert_eq!(worker.code, 0, "{}", worker.stderr);
    let says = "a child may take 100.7 MB of memory, by ";
    assert!(worker.stderr.contains(says), "{}", worker.stderr);
    end(&mut roles);
    let status = place.status("run");
    assert_eq!(
        status["failures"],
        json!({"out_of_memory": 2}),
        "{status} {}",
        worker.stderr
    );
}

#[test]
fn several_children_at_a_time_have_the_same_bits() {
    let place = Place::new();
    assert_eq!(place.init("run", &[]).code, 0);
    let mut roles = [
        place.start("apply", "run", &[]),
        place.start("replica", "run", &[]),
    ];
    let data = text(place.data.path());
    let flags = [
        "--data",
        &data,
        "--device",
        "cpu",
        "--threads",
        "2",
        "--children",
        "3",
    ];
    let worker = run(&mut place.cluster("worker", "run", &flags));
    assert_eq!(worker.code, 0, "{}", worker.stderr);
    assert!(
        worker.stderr.contains("worker on 3 times cpu"),
        "{}",
        worker.stderr
    );
    end(&mut roles);
    check(&place, &place.status("run"), 10);
}

#[test]
fn a_device_passes_its_test_or_does_not() {
    let data = data_folder(120, 16);
    let test = |preset: &str, device: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::preset(preset).unwrap();
        config.device.name = device.into();
        if preset == "sample" {
            config.data.path = Some(data.path().into());
        }
        file(folder.path(), "config.toml", config.to_toml());
        let mut command = program();
        run(command
            .args(["cluster", "child", "--test"])
            .arg(folder.path()))
    };
    for preset in ["sample", "cell-sample"] {
        let passed = test(preset, "cpu");
        assert_eq!(passed.code, 0, "{preset}: {}", passed.stderr);
    }
    // There are not so many GPUs anywhere.
    let failed = test("sample", "cuda:200");
    assert_eq!(failed.code, 4, "{}", failed.stderr);
}
