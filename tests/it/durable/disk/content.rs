//! The bytes of a file of the test disk, and what becomes of them in a power cut.

use nas_engine::rng::Rng;

/// Bytes that a disk writes whole or not at all.
const BLOCK: usize = 512;

/// A file's bytes, whatever its name.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub synced: Vec<u8>,
    pub now: Vec<u8>,
    /// Since the last sync; each is also what `now` was after it, in length.
    pub steps: Vec<Step>,
    pub is_locked: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Written(Vec<u8>),
    Cut(usize),
}

impl Content {
    /// Synced bytes.
    pub fn of(bytes: Vec<u8>) -> Content {
        Content {
            synced: bytes.clone(),
            now: bytes,
            ..Content::default()
        }
    }

    pub fn sync(&mut self) {
        self.synced.clone_from(&self.now);
        self.steps.clear();
    }

    /// What a power cut leaves, synced: of the unsynced bytes all or none where `extreme` says so.
    pub fn after_power_cut(&self, rng: &mut Rng, extreme: Option<bool>) -> Content {
        Content::of(self.left(rng, extreme))
    }

    fn left(&self, rng: &mut Rng, extreme: Option<bool>) -> Vec<u8> {
        let n_steps = self.steps.len() as u32;
        match extreme {
            Some(true) => return self.now.clone(),
            Some(false) => return self.synced.clone(),
            None if n_steps == 0 => return self.synced.clone(),
            None => {}
        }
        match rng.below(4) {
            0 => self.synced.clone(),
            1 => self.now.clone(),
            2 => self.first_steps(rng),
            _ => self.torn(rng),
        }
    }

    /// The first steps in order, the last of them partly.
    fn first_steps(&self, rng: &mut Rng) -> Vec<u8> {
        let mut left = self.synced.clone();
        let n_done = rng.below(self.steps.len() as u32) as usize;
        for (n, step) in self.steps[..=n_done].iter().enumerate() {
            match step {
                Step::Cut(length) => left.truncate(*length),
                Step::Written(bytes) if n < n_done => left.extend(bytes),
                Step::Written(bytes) => {
                    let n_bytes = rng.below(bytes.len() as u32 + 1) as usize;
                    left.extend(&bytes[..n_bytes]);
                }
            }
        }
        left
    }

    /// One of the lengths that it had, and of each block the old bytes, the new or, where there
    /// were no old ones, zeros.
    fn torn(&self, rng: &mut Rng) -> Vec<u8> {
        let mut lengths = vec![self.synced.len()];
        let mut length = self.synced.len();
        let mut least = length;
        for step in &self.steps {
            length = match step {
                Step::Written(bytes) => length + bytes.len(),
                Step::Cut(length) => *length,
            };
            least = least.min(length);
            lengths.push(length);
        }
        let length = lengths[rng.below(lengths.len() as u32) as usize];
        let mut left = vec![0; length];
        for (n, block) in left.chunks_mut(BLOCK).enumerate() {
            let from = match rng.below(2) {
                0 => &self.synced,
                _ => &self.now,
            };
            let begin = n * BLOCK;
            let end = (begin + block.len()).min(from.len());
            if begin < end {
                block[..end - begin].copy_from_slice(&from[begin..end]);
            }
        }
        // No write touches what stays of the synced bytes.
        let kept = least.min(length);
        left[..kept].copy_from_slice(&self.synced[..kept]);
        left
    }
}
