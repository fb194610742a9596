//! Tiny learnable data for tests: gratings whose direction, width and colour tell the class.

use std::ops::Range;

use super::RECORD_BYTES;
use crate::rng::{Purpose, Rng};

/// The records `range` of an endless sequence, in the layout of a data file.
pub(super) fn records(range: Range<usize>, classes: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(range.len() * RECORD_BYTES);
    for index in range {
        let class = index % classes;
        let mut rng = Rng::new(seed, Purpose::Test, index as u64);
        bytes.push(class as u8);
        push_image(class, &mut rng, &mut bytes);
    }
    bytes
}

/// The phase is random, so no single pixel tells the class. Directions lie within a quarter turn,
/// so a flip never makes one class of another.
fn push_image(class: usize, rng: &mut Rng, bytes: &mut Vec<u8>) {
    let (sin, cos) = ((class % 5) as f64 * std::f64::consts::FRAC_PI_8).sin_cos();
    let wave_number = if class < 5 { 0.8 } else { 1.6 }; // radians a pixel
    let phase = rng.uniform_in(0.0, std::f64::consts::TAU);
    let grating: [f64; 32 * 32] = std::array::from_fn(|pixel| {
        let along = (pixel % 32) as f64 * cos + (pixel / 32) as f64 * sin;
        (wave_number * along + phase).sin()
    });
    for channel in 0..3 {
        let strength = if class % 3 == channel { 70.0 } else { 35.0 };
        for value in grating {
            let noise = f64::from(rng.below(51)) - 25.0;
            bytes.push((128.0 + strength * value + noise) as u8);
        }
    }
}
