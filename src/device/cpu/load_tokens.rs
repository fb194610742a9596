//! The words of a window of text.

use crate::data::windows::END;

/// The words from each of `starts` in `tokens`, and the words that follow each: `inputs` and
/// `targets` `[t][b]`. From the end of a row on, words are 0 and targets -1.
pub fn load(tokens: &[u32], starts: &[u32], inputs: &mut [f32], targets: &mut [f32]) {
    let rows = starts.len();
    inputs.fill(0.0);
    targets.fill(-1.0);
    for (row, &start) in starts.iter().enumerate() {
        let words = &tokens[start as usize..];
        let places = (inputs.chunks_exact_mut(rows)).zip(targets.chunks_exact_mut(rows));
        for (pair, (inputs, targets)) in words.windows(2).zip(places) {
            if pair[1] == END {
                break;
            }
            inputs[row] = pair[0] as f32;
            targets[row] = pair[1] as f32;
        }
    }
}
