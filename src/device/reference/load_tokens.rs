//! The words of a window of text.

use crate::data::windows::END;

/// The `steps` words from each of the `starts` in `tokens`, and the words that follow each: inputs
/// and targets `[t][b]`. From the end of a row ([`END`]) on, words are 0 and targets -1.
pub fn window(tokens: &[u32], starts: &[u32], steps: usize, rows: usize) -> [Vec<f64>; 2] {
    let mut inputs = vec![0.0; steps * rows];
    let mut targets = vec![-1.0; steps * rows];
    for (row, &start) in starts.iter().enumerate() {
        let words = &tokens[start as usize..];
        for (step, pair) in words.windows(2).take(steps).enumerate() {
            if pair[1] == END {
                break;
            }
            inputs[step * rows + row] = f64::from(pair[0]);
            targets[step * rows + row] = f64::from(pair[1]);
        }
    }
    [inputs, targets]
}
