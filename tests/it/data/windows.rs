//! Windows over the parts of a corpus: nothing is twice or missing, and what is too short is said.

use std::fs;

use nas_engine::data::corpus::{Corpus, CorpusError, Level, TextPart};
use nas_engine::data::windows::{END, Windows};
use tempfile::TempDir;

/// A corpus whose training tokens are 0, 1, 2 … `n` - 1, each once, and as many to validate on.
fn counting(n: usize) -> (Corpus, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let text: Vec<String> = (0..n).map(|i| format!("w{i}")).collect();
    for name in ["train.txt", "valid.txt", "test.txt"] {
        fs::write(dir.path().join(name), text.join(" ")).unwrap();
    }
    let corpus = Corpus::open(dir.path(), Level::Word, None, &dir.path().join("cache")).unwrap();
    assert!(
        corpus
            .tokens(TextPart::Train)
            .iter()
            .copied()
            .eq(0..n as u32)
    );
    (corpus, dir)
}

/// Zaremba's number of windows; what follows a window in its row is the next one.
#[test]
fn windows_follow_one_another() {
    for (n, b, steps) in [
        (72, 2, 35),
        (720, 20, 35),
        (1_000, 7, 10),
        (50, 1, 49),
        (9, 3, 2),
    ] {
        let (corpus, _dir) = counting(n);
        let mut windows = Windows::default();
        let rows = windows
            .add_part(&corpus, TextPart::Train, b, steps)
            .unwrap();
        let row_len = n / b;
        let starts = rows.starts(steps, true);
        assert_eq!(starts.len() / b, (row_len - 1) / steps, "{n} {b} {steps}");
        let mut next: Vec<u32> = (0..b).map(|row| (row * row_len) as u32).collect();
        for batch in starts.chunks_exact(b) {
            for (row, &start) in batch.iter().enumerate() {
                let window = &windows.tokens()[start as usize..][..=steps];
                assert!(
                    window
                        .iter()
                        .copied()
                        .eq(next[row]..=next[row] + steps as u32)
                );
                next[row] += steps as u32;
            }
        }
        let ends = windows.tokens().iter().filter(|&&token| token == END);
        assert_eq!(ends.count(), b);
    }
}

#[test]
fn a_part_without_a_window_says_what_it_needs() {
    let (corpus, _dir) = counting(71);
    let mut windows = Windows::default();
    assert!(windows.add_part(&corpus, TextPart::Train, 1, 70).is_ok());
    let error = windows
        .add_part(&corpus, TextPart::Validation, 2, 35)
        .unwrap_err();
    let CorpusError::ShorterThanBatch {
        tokens: 71,
        rows: 2,
        steps: 35,
        ..
    } = error
    else {
        panic!("{error}");
    };
    let message = error.to_string();
    assert!(message.contains("valid.txt"), "{message}");
    assert!(message.contains("2 rows of 35 steps need 72"), "{message}");
}
