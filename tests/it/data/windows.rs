//! Windows of truncated back-propagation: what is in them, and that nothing is twice or missing.

use std::fs;

use nas_engine::data::corpus::{Corpus, Level, Part, Windows};
use tempfile::TempDir;

/// A corpus whose training tokens are 0, 1, 2 … `n` - 1, each once, and as many to validate on.
fn counting(n: usize) -> (Corpus, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let text: Vec<String> = (0..n).map(|i| format!("w{i}")).collect();
    for name in ["train.txt", "valid.txt", "test.txt"] {
        fs::write(dir.path().join(name), text.join(" ")).unwrap();
    }
    let corpus = Corpus::open(dir.path(), Level::Word, None, &dir.path().join("cache")).unwrap();
    assert!(corpus.tokens(Part::Train).iter().copied().eq(0..n as u32));
    (corpus, dir)
}

/// Worked out by hand: 17 tokens are 2 rows of 8, and 7 targets a row are 2 windows of 3 steps.
#[test]
fn rows_stand_side_by_side() {
    let (corpus, _dir) = counting(17);
    let windows = Windows::rows(&corpus, Part::Train, 2, 3).unwrap();
    assert_eq!((windows.len(), windows.n_predictions()), (2, 12));
    assert_eq!(
        windows.window(0),
        (vec![0, 8, 1, 9, 2, 10], vec![1, 9, 2, 10, 3, 11])
    );
    assert_eq!(
        windows.window(1),
        (vec![3, 11, 4, 12, 5, 13], vec![4, 12, 5, 13, 6, 14])
    );
}

/// Zaremba's number of windows; the text before a window is what came before it in its row.
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
        let windows = Windows::rows(&corpus, Part::Validation, b, steps).unwrap();
        let row_len = n / b;
        assert_eq!(windows.len(), (row_len - 1) / steps, "{n} {b} {steps}");
        assert_eq!(windows.n_predictions(), windows.len() * steps * b);
        let mut seen = vec![vec![]; b];
        for k in 0..windows.len() {
            assert_eq!(windows.n_steps(k), steps);
            let (inputs, targets) = windows.window(k);
            assert_eq!((inputs.len(), targets.len()), (steps * b, steps * b));
            for (i, (&input, &target)) in inputs.iter().zip(&targets).enumerate() {
                assert_eq!(target, input + 1);
                seen[i % b].push(input as usize);
            }
        }
        for (row, seen) in seen.iter().enumerate() {
            let first = row * row_len;
            assert!(
                seen.iter()
                    .copied()
                    .eq(first..first + windows.len() * steps)
            );
        }
    }
}

/// `eval` predicts every token but the first, once.
#[test]
fn a_stream_leaves_nothing_out() {
    for (n, steps) in [(2, 35), (36, 35), (37, 35), (100, 7), (100, 1)] {
        let (corpus, _dir) = counting(n);
        let windows = Windows::stream(&corpus, Part::Test, steps);
        assert_eq!((windows.n_predictions(), windows.n_rows()), (n - 1, 1));
        let mut targets = vec![];
        for k in 0..windows.len() {
            let (input, target) = windows.window(k);
            assert!((1..=steps).contains(&windows.n_steps(k)));
            assert_eq!(input.len(), windows.n_steps(k));
            assert!(
                input
                    .iter()
                    .map(|token| token + 1)
                    .eq(target.iter().copied())
            );
            targets.extend(target);
        }
        assert!(targets.into_iter().eq(1..n as u32), "{n} {steps}");
    }
}

#[test]
fn a_text_shorter_than_a_batch_is_refused() {
    let (corpus, dir) = counting(71);
    for (b, steps, needed) in [(2, 36, "74"), (20, 35, "720"), (100, 1, "200")] {
        let error = Windows::rows(&corpus, Part::Validation, b, steps).unwrap_err();
        let text = error.to_string();
        let file = dir.path().join("valid.txt").display().to_string();
        for words in [&file, "71 tokens", needed, "smaller batch", "fewer steps"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
