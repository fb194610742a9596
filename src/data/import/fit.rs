//! Pictures of any size as 32x32: padded, cut, or resized as Pillow resizes, to the bit.

use std::fmt;

use super::picture::Rgb;
use crate::data::{IMAGE_BYTES, SIDE};

/// How a picture is brought to 32x32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Zeros around it.
    Pad,
    /// The shorter side becomes 32, then the centre is cut.
    Resize,
    /// The centre is cut, and padded where it is smaller.
    Crop,
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Fit::Pad => "pad",
            Fit::Resize => "resize",
            Fit::Crop => "crop",
        })
    }
}

/// How a picture of this size is brought to 32x32 where nothing is said; nothing where it has that size.
pub(super) fn default_fit(width: usize, height: usize) -> Option<Fit> {
    match (width, height) {
        (SIDE, SIDE) => None,
        (..=SIDE, ..=SIDE) => Some(Fit::Pad),
        _ => Some(Fit::Resize),
    }
}

/// Writes the centre of a picture into the planes of an image, with zeros around where it is smaller. Of its
/// `channels`, the fastest dimension, one is repeated, three are red, green and blue.
pub(super) fn put_centre(
    bytes: &[u8],
    (width, height): (usize, usize),
    channels: usize,
    image: &mut [u8; IMAGE_BYTES],
) {
    image.fill(0);
    let (columns, rows) = (Cut::new(width), Cut::new(height));
    for row in 0..rows.length {
        let from = channels * ((rows.from + row) * width + columns.from);
        let pixels = &bytes[from..][..channels * columns.length];
        let to = (rows.to + row) * SIDE + columns.to;
        for (channel, plane) in image.chunks_exact_mut(SIDE * SIDE).enumerate() {
            let plane = &mut plane[to..][..columns.length];
            match channels {
                1 => plane.copy_from_slice(pixels),
                _ => {
                    for (byte, pixel) in plane.iter_mut().zip(pixels.as_chunks::<3>().0) {
                        *byte = pixel[channel];
                    }
                }
            }
        }
    }
}

impl Rgb {
    /// How the picture is brought to 32x32 where nothing is said; nothing where it has that size.
    pub fn default_fit(&self) -> Option<Fit> {
        default_fit(self.width, self.height)
    }

    /// The picture as an image of planes, `[c][32][32]`.
    ///
    /// # Errors
    /// In words, where it is to be padded and is too large for it.
    pub fn fitted(&self, fit: Fit) -> Result<[u8; IMAGE_BYTES], String> {
        let (width, height) = (self.width, self.height);
        if fit == Fit::Resize {
            // As torchvision's Resize(32): the longer side is truncated.
            let (new_width, new_height) = match width <= height {
                true => (SIDE, SIDE * height / width),
                false => (SIDE * width / height, SIDE),
            };
            return Ok(self.resized_centre(new_width, new_height));
        }
        if fit == Fit::Pad && width.max(height) > SIDE {
            return Err(format!(
                "is {width} x {height}, and --fit pad takes pictures of at most {SIDE} x {SIDE}; give \
                 --fit resize or crop"
            ));
        }
        let mut image = [0; IMAGE_BYTES];
        put_centre(&self.bytes, (width, height), 3, &mut image);
        Ok(image)
    }

    /// The central 32x32 of the picture resized by antialiased bilinear interpolation. Of the resized
    /// picture only that is computed.
    fn resized_centre(&self, new_width: usize, new_height: usize) -> [u8; IMAGE_BYTES] {
        let columns = Taps::of(self.width, new_width);
        let rows = Taps::of(self.height, new_height);
        // Columns first, as Pillow, which keeps bytes in between.
        let first = rows.iter().map(|taps| taps.first).min().unwrap_or(0);
        let end = rows.iter().map(Taps::end).max().unwrap_or(0);
        let mut narrow = vec![[[0u8; 3]; SIDE]; end - first];
        let source = self.bytes.as_chunks::<3>().0;
        for (pixels, narrow) in source.chunks_exact(self.width).skip(first).zip(&mut narrow) {
            for (pixel, taps) in narrow.iter_mut().zip(&columns) {
                let mut sums = [HALF; 3];
                for (&weight, pixel) in taps.weights.iter().zip(&pixels[taps.first..]) {
                    for (sum, &byte) in sums.iter_mut().zip(pixel) {
                        *sum += weight * i32::from(byte);
                    }
                }
                *pixel = sums.map(byte);
            }
        }
        let mut image = [0; IMAGE_BYTES];
        for (y, taps) in rows.iter().enumerate() {
            let mut sums = [[HALF; 3]; SIDE];
            for (&weight, pixels) in taps.weights.iter().zip(&narrow[taps.first - first..]) {
                for (sums, pixel) in sums.iter_mut().zip(pixels) {
                    for (sum, &byte) in sums.iter_mut().zip(pixel) {
                        *sum += weight * i32::from(byte);
                    }
                }
            }
            for (x, sums) in sums.iter().enumerate() {
                for (channel, &sum) in sums.iter().enumerate() {
                    image[channel * SIDE * SIDE + y * SIDE + x] = byte(sum);
                }
            }
        }
        image
    }
}

/// Which pixels of a row or column are taken, and where they go: floors of halves before them.
struct Cut {
    from: usize,
    to: usize,
    length: usize,
}

impl Cut {
    fn new(length: usize) -> Cut {
        Cut {
            from: length.saturating_sub(SIDE) / 2,
            to: SIDE.saturating_sub(length) / 2,
            length: length.min(SIDE),
        }
    }
}

/// Bits of a weight behind its point.
const PRECISION: u32 = 32 - 8 - 2;
/// What rounds a sum.
const HALF: i32 = 1 << (PRECISION - 1);

/// A sum as a byte.
fn byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The pixels of a row or column that one new pixel is made of, and their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }

    /// Those of the central 32 of `new` pixels that are made of `old` ones: Pillow's triangle filter, in
    /// the order of its operations, so that the weights are its own.
    fn of(old: usize, new: usize) -> Vec<Taps> {
        let first = (new - SIDE) / 2;
        if new == old {
            // Pillow does nothing along this axis.
            let one = |i| Taps {
                first: i,
                weights: vec![1 << PRECISION],
            };
            return (first..first + SIDE).map(one).collect();
        }
        let scale = old as f64 / new as f64;
        let support = scale.max(1.0);
        let inverse = 1.0 / support;
        let taps = |i| {
            let centre = (i as f64 + 0.5) * scale;
            let low = ((centre - support + 0.5) as i64).max(0) as usize; // towards zero, as in C
            let high = ((centre + support + 0.5) as usize).min(old);
            let triangle = |k: usize| {
                let x = ((k as f64 + low as f64 - centre + 0.5) * inverse).abs();
                if x < 1.0 { 1.0 - x } else { 0.0 }
            };
            let weights: Vec<f64> = (0..high - low).map(triangle).collect();
            let sum: f64 = weights.iter().sum();
            let whole = |weight: &f64| {
                let share = if sum == 0.0 { *weight } else { weight / sum };
                (0.5 + share * f64::from(1 << PRECISION)) as i32
            };
            Taps {
                first: low,
                weights: weights.iter().map(whole).collect(),
            }
        };
        (first..first + SIDE).map(taps).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Rgb {
        let bytes = (0..width * height).flat_map(|i| [i as u8, (i >> 8) as u8, 7]);
        Rgb {
            width,
            height,
            bytes: bytes.collect(),
        }
    }

    /// Places in the picture of the first and the last pixel that is not padding.
    fn ends(image: &[u8; IMAGE_BYTES]) -> [(usize, usize, usize); 2] {
        let (red, green) = (&image[..1024], &image[1024..2048]);
        let inside = |i: &usize| image[2048 + i] == 7;
        let first = (0..1024).find(inside).unwrap();
        let last = (0..1024).rfind(inside).unwrap();
        [first, last].map(|i| {
            (
                i % 32,
                i / 32,
                usize::from(green[i]) << 8 | usize::from(red[i]),
            )
        })
    }

    #[test]
    fn halves_of_odd_borders_are_floors() {
        // 31 wide: nothing left, one column right; 29 high: one row above, two below.
        let small = picture(31, 29).fitted(Fit::Pad).unwrap();
        assert_eq!(ends(&small), [(0, 1, 0), (30, 29, 31 * 29 - 1)]);
        // 35 wide: from column 1; 20 high: 6 rows above.
        let mixed = picture(35, 20).fitted(Fit::Crop).unwrap();
        assert_eq!(ends(&mixed), [(0, 6, 1), (31, 25, 19 * 35 + 32)]);
        let message = picture(33, 2).fitted(Fit::Pad).unwrap_err();
        assert!(message.contains("33 x 2"), "{message}");
    }

    #[test]
    fn a_picture_of_the_size_is_left_as_it_is() {
        let same = picture(32, 32);
        assert_eq!(same.default_fit(), None);
        let planes = same.fitted(Fit::Pad).unwrap();
        for fit in [Fit::Resize, Fit::Crop] {
            assert!(same.fitted(fit).unwrap() == planes, "{fit}");
        }
        assert_eq!(picture(31, 32).default_fit(), Some(Fit::Pad));
        assert_eq!(picture(33, 1).default_fit(), Some(Fit::Resize));
    }

    /// Weights of a pixel sum up to one, and evenly coloured pictures stay so at any size.
    #[test]
    fn a_picture_of_one_colour_keeps_it() {
        for (width, height) in [(1, 1), (1, 50), (33, 47), (2_000, 40), (64, 64), (1_000, 1)] {
            let bytes = [3, 200, 255].repeat(width * height);
            let picture = Rgb {
                width,
                height,
                bytes,
            };
            let image = picture.fitted(Fit::Resize).unwrap();
            for (plane, colour) in image.chunks_exact(1024).zip([3, 200, 255]) {
                assert!(
                    plane.iter().all(|&byte| byte == colour),
                    "{width} x {height}"
                );
            }
        }
    }
}
