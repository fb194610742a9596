//! A text as rows that are read side by side, a window of steps at a time.

use super::corpus::{Corpus, CorpusError, TextPart};

/// Follows the last token of a row: no token has this number.
pub const END: u32 = u32::MAX;

/// The rows of one or more texts, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    tokens: Vec<u32>,
}

/// A text among [`Windows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Where the first row begins.
    first: usize,
    /// Rows that are read side by side.
    rows: usize,
    /// Tokens of a row; what is left of the text is not read.
    len: usize,
}

impl Windows {
    /// Appends a text as `rows` rows of floor(tokens / rows) tokens; `None` where a row would have
    /// no token to predict, or all of it more than 2^32 - 1 tokens.
    pub fn add(&mut self, tokens: &[u32], rows: usize) -> Option<Rows> {
        let len = tokens.len() / rows;
        let first = self.tokens.len();
        let whole = first + rows * (len + 1);
        if len < 2 || u32::try_from(whole).is_err() {
            return None;
        }
        for row in tokens.chunks_exact(len).take(rows) {
            self.tokens.extend_from_slice(row);
            self.tokens.push(END);
        }
        Some(Rows { first, rows, len })
    }

    /// As [`Windows::add`], of a part of a corpus, whose rows must have `steps` tokens to predict.
    ///
    /// # Errors
    /// Where the part is too short for that, or too long to be numbered.
    pub fn add_part(
        &mut self,
        corpus: &Corpus,
        part: TextPart,
        rows: usize,
        steps: usize,
    ) -> Result<Rows, CorpusError> {
        self.add_parts(corpus, &[part], rows, steps)
    }

    /// As [`Windows::add_part`], of parts that follow one another; a message names the first.
    ///
    /// # Errors
    /// As [`Windows::add_part`].
    ///
    /// # Panics
    /// Without a part.
    pub fn add_parts(
        &mut self,
        corpus: &Corpus,
        parts: &[TextPart],
        rows: usize,
        steps: usize,
    ) -> Result<Rows, CorpusError> {
        let tokens = parts
            .iter()
            .map(|&part| corpus.tokens(part))
            .collect::<Vec<_>>();
        let tokens = tokens.concat();
        let path = corpus.file(parts[0]).to_path_buf();
        if tokens.len() / rows <= steps {
            return Err(CorpusError::ShorterThanBatch {
                path,
                part: parts[0].name(),
                tokens: tokens.len(),
                rows,
                steps,
            });
        }
        let rows = self.add(&tokens, rows);
        rows.ok_or(CorpusError::TooLong { path })
    }

    /// All rows, each followed by [`END`].
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

impl Rows {
    /// Rows that are read side by side.
    pub fn n_rows(&self) -> usize {
        self.rows
    }

    /// Tokens that are predicted: all but the first of each row.
    pub fn n_predictions(&self) -> usize {
        self.rows * (self.len - 1)
    }

    /// Where the windows of `steps` tokens begin, those of a batch side by side; `whole` leaves a
    /// shorter one at the end out.
    pub fn starts(&self, steps: usize, whole: bool) -> Vec<u32> {
        let predictions = self.len - 1;
        let n = match whole {
            true => predictions / steps,
            false => predictions.div_ceil(steps),
        };
        let batch = |window| {
            let row = move |row| (self.first + row * (self.len + 1) + window * steps) as u32;
            (0..self.rows).map(row)
        };
        (0..n).flat_map(batch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_and_what_is_left_is_not_read() {
        let mut windows = Windows::default();
        let text: Vec<u32> = (0..11).collect();
        let rows = windows.add(&text, 2).unwrap();
        assert_eq!(windows.tokens(), [0, 1, 2, 3, 4, END, 5, 6, 7, 8, 9, END]);
        assert_eq!(rows.n_predictions(), 8);
        assert_eq!(rows.starts(3, true), [0, 6]);
        assert_eq!(rows.starts(3, false), [0, 6, 3, 9]);
        let second = windows.add(&text, 1).unwrap();
        assert_eq!(second.starts(5, true), [12, 17]);
        assert_eq!(windows.add(&text, 6), None);
    }
}
