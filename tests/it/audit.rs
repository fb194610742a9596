//! `audit` and `explain` on small runs of the stub evaluator: an honest run passes, and whatever is
//! edited in a line is found there.

pub mod edits;
mod explain;
pub mod made;

use std::fs;
use std::sync::Arc;

use nas_engine::data::Dataset;
use nas_engine::run::entry::Entry;
use nas_engine::train::{Course, TrainConfig};
use serde_json::json;

use made::{Made, cells, evolution, networks, random};

/// What the networks of a run are trained on.
fn course(made: &Made) -> Option<Course> {
    let TrainConfig::Network(train) = &made.config.train else {
        return None;
    };
    let dataset = Arc::new(Dataset::synthetic(100, 10, 10, 1));
    Some(Course::Images(dataset, train.clone()))
}

#[test]
fn an_honest_run_is_the_same_whatever_ended_in_it() {
    for made in [networks(), random(), evolution(), cells()] {
        for data in [None, course(&made)] {
            let audit = made.audit(data.as_ref());
            assert_eq!(audit.difference, None, "{}", made.text());
            assert_eq!(audit.not_compared, None);
            let learns = !audit.history.updates.is_empty();
            assert_eq!(audit.controller_sha256.is_some(), learns);
            let last = audit.history.updates.values().next_back();
            let last = last.map(|update| update.controller_sha256.clone());
            assert_eq!(audit.controller_sha256, last);
        }
    }
    let text = networks().text() + &random().text();
    for words in [
        "duplicate_of",
        "crash",
        "out_of_memory",
        "timeout",
        "poison",
        "diverged",
        "too_large",
        "invalid",
        "lost",
        "stop",
    ] {
        let words = format!("\"{words}\"");
        assert!(text.contains(&words), "no {words} tests nothing\n{text}");
    }
}

/// At every moment a run is honest: whatever it had written by then.
#[test]
fn every_beginning_of_an_honest_journal_is_the_same() {
    for made in [networks(), random(), evolution()] {
        let text = made.text();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for n_lines in 0..=lines.len() {
            let audit = made.audit_of(&lines[..n_lines].concat(), None);
            assert_eq!(audit.difference, None, "the first {n_lines} lines");
        }
        // Within a line, too: what follows the last newline is no line yet.
        for cut in (0..text.len()).step_by(97) {
            let audit = made.audit_of(&text[..cut], None);
            assert_eq!(audit.difference, None, "cut at byte {cut}");
        }
    }
}

#[test]
fn other_settings_and_other_data_are_a_difference_on_the_first_line() {
    let mut made = networks();
    let other = Arc::new(Dataset::synthetic(100, 10, 10, 2));
    let Some(Course::Images(_, train)) = course(&made) else {
        panic!("networks are trained on images");
    };
    let audit = made.audit(Some(&Course::Images(other, train)));
    let difference = audit.difference.unwrap();
    assert_eq!(
        (difference.line, difference.what.as_str()),
        (1, "data_sha256")
    );
    made.config.controller.learning_rate *= 2.0;
    made.write_config();
    let difference = made.audit(None).difference.unwrap();
    assert_eq!(
        (difference.line, difference.what.as_str()),
        (1, "config_sha256")
    );
    assert_eq!(difference.recomputed, json!(made.config.sha256()));
}

/// Bits are promised on one device model: elsewhere the controller's are told, not judged.
#[test]
fn bits_of_another_device_are_told_and_not_judged() {
    let made = networks();
    let edited = |device: &str, sha256: &str| {
        let lines = made.entries().into_iter().map(|mut entry| {
            match &mut entry {
                Entry::Run(run) => run.timing.device = device.to_owned(),
                Entry::Update(update) if !sha256.is_empty() => {
                    update.controller_sha256 = sha256.to_owned();
                }
                _ => {}
            }
            edits::line(&serde_json::to_value(&entry).unwrap())
        });
        made.audit_of(&lines.collect::<String>(), None)
    };
    let n_updates = made.audit(None).history.updates.len() as u64;
    // The same bits there: nothing to tell.
    let same = edited("NVIDIA H200", "");
    assert_eq!((same.difference, same.not_compared), (None, None));
    let other = edited("NVIDIA H200", "00");
    assert_eq!(other.difference, None);
    let not = other.not_compared.unwrap();
    assert_eq!(
        (not.updates, not.recorded_device.as_str()),
        (n_updates, "NVIDIA H200")
    );
    let here = edited(&made::processor(), "00");
    assert_eq!(here.difference.unwrap().what, "controller_sha256");
}

#[test]
fn damage_within_the_journal_is_a_difference_where_it_is() {
    let made = networks();
    let text = made.text();
    let second = 1 + text.find('\n').unwrap();
    let mut bytes = text.clone().into_bytes();
    bytes[second + 20] ^= 1;
    let audit = made.audit_of(&String::from_utf8(bytes).unwrap(), None);
    let difference = audit.difference.unwrap();
    assert_eq!((difference.line, difference.what.as_str()), (2, "line"));
    fs::write(made.journal(), "").unwrap();
    assert_eq!(
        made.audit(None).difference,
        None,
        "nothing was recorded yet"
    );
}
