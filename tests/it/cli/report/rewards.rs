//! Rewards that no child can have, in a journal whose check sums are right: nothing is made of them.

use std::fs;
use std::path::Path;

use nas_engine::run::Status;
use nas_engine::run::journal::FILE_NAME;

use super::by_hand::ByHand;
use crate::cli::bad_input::refused;
use crate::cli::{json, text};

/// Writes a run whose sample 2 has another reward on record.
fn forged(by_hand: &ByHand, folder: &Path, reward: &str) -> String {
    by_hand.write(folder);
    let path = folder.join(FILE_NAME);
    let forge = |line: &str| {
        if !line.contains("\"sample\":2,") {
            return format!("{line}\n");
        }
        let (line, _) = line.rsplit_once(",\"crc32\"").unwrap();
        let (before, rest) = line.split_once("\"reward\":").unwrap();
        let (_, after) = rest.split_once(',').unwrap();
        let line = format!("{before}\"reward\":{reward},{after}");
        let sum = crc32fast::hash(line.as_bytes());
        format!("{line},\"crc32\":\"{sum:08x}\"}}\n")
    };
    let lines = fs::read_to_string(&path).unwrap();
    fs::write(&path, lines.lines().map(forge).collect::<String>()).unwrap();
    text(folder)
}

#[test]
fn rewards_that_no_child_can_have_are_named() {
    let here = tempfile::tempdir().unwrap();
    let mut by_hand = ByHand::new("sample", 9, 1, "2");
    (0..4).for_each(|sample| by_hand.child(sample, Status::Ok, vec![0.5]));
    let mut other = ByHand::new("sample", 9, 2, "2");
    other.child(0, Status::Ok, vec![0.5]);
    let whole = here.path().join("whole");
    other.write(&whole);
    let whole = text(&whole);
    let run = here.path().join("run");
    for (reward, words) in [
        ("1.7e308", "sample 2 has a reward of 1.7e308"),
        ("-0.5", "sample 2 has a reward of -5e-1"),
        ("null", "sample 2 ended `ok` without a reward"),
    ] {
        let run = forged(&by_hand, &run, reward);
        for command in [
            &["status", &run][..],
            &["report", &run],
            &["report", &whole, &run],
            &["compare", &whole, &run],
        ] {
            refused(command, 3, "journal", &[&run, words, "nas-engine audit"]);
        }
    }
    let run = forged(&by_hand, &run, "0.25");
    assert_eq!(json(&["status", &run])["mean_reward"], 0.15625);
    assert_eq!(json(&["report", &run])["runs"][0]["samples"], 4);
}
