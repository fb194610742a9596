//! Windows of truncated back-propagation: a part of a text as rows side by side, cut into pieces.

use super::{Corpus, CorpusError, Part};

/// A part of T tokens as b rows of floor(T / b) tokens that follow one another in the text, cut into
/// windows of a number of steps. The state of a row is carried from one window to the next and is
/// zero at the start of an epoch; the last T mod b tokens are left out.
///
/// Each token of a row but the first is a target, and the one before it its input. [`rows`] has whole
/// windows only, floor((floor(T / b) - 1) / steps) of them, as the reader of Zaremba et al. (2014)
/// has: what is left of a row is not trained on. [`stream`] leaves nothing out.
///
/// [`rows`]: Windows::rows
/// [`stream`]: Windows::stream
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    tokens: &'a [u32],
    n_rows: usize,
    row_len: usize,
    steps: usize,
    n_targets: usize,
}

impl<'a> Windows<'a> {
    /// The windows of an epoch of training, or of the validation after it.
    ///
    /// # Errors
    /// If a row is too short for one window.
    ///
    /// # Panics
    /// If `n_rows` or `steps` is 0.
    pub fn rows(
        corpus: &'a Corpus,
        part: Part,
        n_rows: usize,
        steps: usize,
    ) -> Result<Windows<'a>, CorpusError> {
        let tokens = corpus.tokens(part);
        let windows = Windows::new(tokens, n_rows, steps);
        let n_whole = windows.n_targets / steps;
        if n_whole == 0 {
            return Err(CorpusError::ShorterThanBatch {
                path: corpus.file(part).to_path_buf(),
                part: part.name(),
                tokens: tokens.len(),
                rows: n_rows,
                steps,
            });
        }
        Ok(Windows {
            n_targets: n_whole * steps,
            ..windows
        })
    }

    /// The whole part as one row, T - 1 targets; the last window may have fewer steps.
    ///
    /// # Panics
    /// If `steps` is 0.
    pub fn stream(corpus: &'a Corpus, part: Part, steps: usize) -> Windows<'a> {
        Windows::new(corpus.tokens(part), 1, steps)
    }

    /// Every target of every row.
    fn new(tokens: &'a [u32], n_rows: usize, steps: usize) -> Windows<'a> {
        assert!(n_rows > 0 && steps > 0, "a window has rows and steps");
        let row_len = tokens.len() / n_rows;
        Windows {
            tokens,
            n_rows,
            row_len,
            steps,
            n_targets: row_len.saturating_sub(1),
        }
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.n_targets.div_ceil(self.steps)
    }

    /// Whether there is no window: never of an opened corpus, whose parts have two tokens.
    pub fn is_empty(&self) -> bool {
        self.n_targets == 0
    }

    /// Rows side by side, b.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Predictions of all windows together.
    pub fn n_predictions(&self) -> usize {
        self.n_targets * self.n_rows
    }

    /// Steps t of a window.
    pub fn n_steps(&self, window: usize) -> usize {
        let left = self.n_targets.saturating_sub(window * self.steps);
        left.min(self.steps)
    }

    /// Inputs and targets of a window, both `[t][b]`.
    ///
    /// # Panics
    /// If there is no such window.
    pub fn window(&self, window: usize) -> (Vec<u32>, Vec<u32>) {
        assert!(
            window < self.len(),
            "window {window} of {} windows",
            self.len()
        );
        let first = window * self.steps;
        let at = |offset: usize| {
            let steps = first + offset..first + offset + self.n_steps(window);
            let step = |t| (0..self.n_rows).map(move |b| self.tokens[b * self.row_len + t]);
            steps.flat_map(step).collect()
        };
        (at(0), at(1))
    }
}
