//! Counter-based random numbers addressed by (seed, purpose, index), the same on host and device.
//!
//! Nothing in the engine draws "the next" number of a shared stream: a value is a function of its
//! address alone, so results do not depend on the number of threads, workers or neighbours. The
//! generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011): ten rounds of two 32-bit multiplications, cheap on a CPU and on a GPU.

use std::convert::Infallible;

use rand::TryRng;

/// What a random number is for. The number of a purpose is part of every result: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights of a child; index = position of the parameter tensor.
    Init = 1,
    /// Order of the training records in an epoch; index = epoch.
    Shuffle = 2,
    /// Crop and flip of a training record; index = [`pair`] of (epoch, record).
    Augment = 3,
    /// Which records are held out for validation; index = 0, seed = the split seed.
    Split = 4,
    /// Initial weights of the controller; index = position of the parameter tensor.
    ControllerInit = 5,
    /// Decisions of an architecture; index = number of the sample.
    Sample = 6,
    /// Noise and data of tests, benches and rigged problems.
    Test = 7,
    /// Which values dropout keeps: see [`Mask`].
    Dropout = 8,
    /// The words of generated text; index = position.
    Text = 9,
    /// The order of imported images; index = 0 training, 1 test, 2 + class for the draw of those that test.
    Import = 10,
    /// How evolution changes a decision; index = number of the sample.
    Mutation = 11,
    /// Among which samples evolution looks for the best; index = number of the sample.
    Tournament = 12,
}

/// Two 32-bit numbers as one index, for things addressed by a pair such as (epoch, record).
pub fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// A stream of random numbers at one address. Implements the traits of the `rand` crate.
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    /// Block number, purpose, index (low, high).
    counter: [u32; 4],
    block: [u32; 4],
    /// Words of `block` already used.
    used: usize,
}

impl Rng {
    /// The stream at (seed, purpose, index): 2^32 blocks of four words.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        Rng {
            key: words(seed),
            counter: [0, purpose as u32, words(index)[0], words(index)[1]],
            block: [0; 4],
            used: 4,
        }
    }

    /// The next 32 bits.
    pub fn u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// The next 64 bits, low word first.
    pub fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// Uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn uniform_in(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n, without bias (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "no number is below 0");
        let reject = n.wrapping_neg() % n; // the products that would make low values likelier
        loop {
            let product = u64::from(self.u32()) * u64::from(n);
            if product as u32 >= reject {
                return (product >> 32) as u32;
            }
        }
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller's cosine branch).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles in place (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// Which values dropout keeps: a word for each element, so that it can be asked for again.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    key: [u32; 2],
    index: [u32; 2],
    /// Words from here on keep their element.
    threshold: u32,
}

impl Mask {
    /// The mask at (seed, epoch, batch, place) that drops with probability `rate`, which is below 1;
    /// epochs count up to 2^24.
    pub fn new(seed: u64, epoch: u32, batch: u32, place: u8, rate: f64) -> Mask {
        Mask {
            key: words(seed),
            index: [batch, epoch << 8 | u32::from(place)],
            threshold: (rate * (1u64 << 32) as f64) as u32,
        }
    }

    /// Whether an element below 2^34 is kept.
    pub fn keeps(&self, element: u64) -> bool {
        self.block(element / 4)[(element % 4) as usize]
    }

    /// Elements 4 `block` and the three that follow.
    pub fn block(&self, block: u64) -> [bool; 4] {
        self.blocks::<1>(block).map(|[keeps]| keeps)
    }

    /// As many blocks from `first` on, side by side: the elements of a place within a block together.
    #[inline(always)]
    pub fn blocks<const N: usize>(&self, first: u64) -> [[bool; N]; 4] {
        let block = std::array::from_fn(|i| first as u32 + i as u32);
        let [low, high] = self.index;
        let of_all = [Purpose::Dropout as u32, low, high].map(|word| [word; N]);
        let [purpose, low, high] = of_all;
        let words = philox_of([block, purpose, low, high], self.key);
        words.map(|words| words.map(|word| word >= self.threshold))
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.u32().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

fn words(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// Philox4x32 with ten rounds.
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_of(counter.map(|word| [word]), key).map(|[word]| word)
}

/// Of N counters side by side, which the compiler makes vectors of.
#[inline(always)]
fn philox_of<const N: usize>(mut counter: [[u32; N]; 4], mut key: [u32; 2]) -> [[u32; N]; 4] {
    for _ in 0..10 {
        let [a, b, c, d] = &mut counter;
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let p0 = u64::from(*a) * 0xD251_1F53;
            let p1 = u64::from(*c) * 0xCD9E_8D57;
            *a = (p1 >> 32) as u32 ^ *b ^ key[0];
            *b = p1 as u32;
            *c = (p0 >> 32) as u32 ^ *d ^ key[1];
            *d = p0 as u32;
        }
        key[0] = key[0].wrapping_add(0x9E37_79B9);
        key[1] = key[1].wrapping_add(0xBB67_AE85);
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123's `kat_vectors` for philox4x32-10.
    #[test]
    fn philox_matches_the_published_vectors() {
        let ones = u32::MAX;
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
        );
        assert_eq!(
            philox([ones; 4], [ones; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox(
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0]
            ),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn addresses_give_unrelated_streams() {
        let first = |seed, purpose, index| Rng::new(seed, purpose, index).u64();
        let a = first(1, Purpose::Init, 0);
        assert_eq!(a, first(1, Purpose::Init, 0));
        assert_ne!(a, first(2, Purpose::Init, 0));
        assert_ne!(a, first(1, Purpose::Shuffle, 0));
        assert_ne!(a, first(1, Purpose::Init, 1 << 32));
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut rng = Rng::new(3, Purpose::Test, 0);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[rng.below(6) as usize] += 1;
        }
        // Deviation of a count: sqrt(60000 * 1/6 * 5/6) = 91; five of them.
        assert!(
            counts.iter().all(|&c| c.abs_diff(10_000) < 456),
            "{counts:?}"
        );
    }

    #[test]
    fn normal_has_unit_deviation() {
        let mut rng = Rng::new(4, Purpose::Test, 0);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let x = rng.normal();
            sum += x;
            squares += x * x;
        }
        assert!((sum / n as f64).abs() < 0.016, "mean {}", sum / n as f64);
        assert!(
            (squares / n as f64 - 1.0).abs() < 0.022,
            "variance {}",
            squares / n as f64
        );
    }
}
