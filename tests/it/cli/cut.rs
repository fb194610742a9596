//! A data file that is cut while a training reads it.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use super::{data_folder, example, program, text};

/// The kernel ends a program that reads what is gone; it is to end with words instead.
#[test]
fn a_file_that_is_cut_in_use_is_named() {
    for with_json in [false, true] {
        let data = data_folder(120, 16);
        let mut command = program();
        let data_path = text(data.path());
        let arch = example("small.json");
        command.args([
            "train",
            "--device",
            "cpu",
            "--threads",
            "2",
            "--epochs",
            "1000",
        ]);
        command.args(["--batch", "16", "--arch", &arch, "--data", &data_path]);
        command.args(with_json.then_some("--json"));
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut training = piped.spawn().unwrap();
        let mut errors = BufReader::new(training.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("epoch 1/") {
            assert!(errors.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        let file = data.path().join("data_batch_1.bin");
        let opened = OpenOptions::new().write(true).open(&file).unwrap();
        opened.set_len(3073).unwrap();
        errors.read_to_string(&mut said).unwrap();
        let ended = training.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(3), "{said}");
        let last = said.lines().last().unwrap();
        let words = format!("error: {}: a part of it is gone", file.display());
        assert!(last.starts_with(&words), "{said}");
        // Both threads read the file, and either may be the first.
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
        let output = String::from_utf8(ended.stdout).unwrap();
        match with_json {
            true => {
                let object: serde_json::Value = serde_json::from_str(&output).unwrap();
                assert_eq!(object["error"]["kind"], "data");
                let message = object["error"]["message"].as_str().unwrap();
                assert_eq!(last, format!("error: {message}"));
            }
            false => assert_eq!(output, ""),
        }
    }
}
