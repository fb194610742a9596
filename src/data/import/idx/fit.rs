//! The images of IDX files, grey or colour, into planes of 32x32.

use super::super::fit::{Fit, default_fit, put_centre};
use super::super::picture::Rgb;
use crate::data::IMAGE_BYTES;

/// The longest side of an image.
const LONGEST_SIDE: u32 = 4096;

/// The shape of the images of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    height: usize,
    width: usize,
    /// 1 grey, 3 colour; the fastest dimension.
    channels: usize,
}

impl Shape {
    /// By the sizes of an item of the file, or what is wrong with them, in words.
    pub(super) fn of(item: &[u32]) -> Result<Shape, String> {
        let (height, width, channels) = match *item {
            [height, width] | [height, width, 1] => (height, width, 1),
            [height, width, 3] => (height, width, 3),
            [] => return Err("holds labels where images are expected".into()),
            _ => {
                return Err(format!(
                    "holds items of {item:?}; an image is [height, width] of grey values, or [height, \
                     width, 3] of red, green and blue"
                ));
            }
        };
        match [height, width]
            .into_iter()
            .all(|side| (1..=LONGEST_SIDE).contains(&side))
        {
            true => Ok(Shape {
                height: height as usize,
                width: width as usize,
                channels,
            }),
            false => Err(format!(
                "holds images of {height}x{width}; sides of 1 to {LONGEST_SIDE} can be imported"
            )),
        }
    }

    /// How images of these shapes are brought to 32x32 where `asked` is asked for, or what is wrong with
    /// that.
    pub(super) fn fit_of_all(shapes: &[Shape], asked: Option<Fit>) -> Result<Fit, String> {
        match (asked, Shape::default_of_all(shapes)) {
            (Some(Fit::Pad), Some(Fit::Resize)) => Err(
                "holds images with a side above 32, which cannot be padded; give --fit resize or crop".into(),
            ),
            (asked, default) => Ok(asked.or(default).unwrap_or(Fit::Pad)),
        }
    }

    /// As the largest of them by itself; nothing where all are 32x32.
    fn default_of_all(shapes: &[Shape]) -> Option<Fit> {
        let default = |shape: &Shape| default_fit(shape.width, shape.height);
        shapes.iter().filter_map(default).max()
    }

    /// What `dataset.toml` calls it.
    pub(super) fn name_of_fit(shapes: &[Shape], fit: Fit) -> String {
        match Shape::default_of_all(shapes) {
            None => "none".into(),
            Some(_) => fit.to_string(),
        }
    }

    /// Writes an image into the planes of a record.
    pub(super) fn to_record(self, image: &[u8], fit: Fit, record: &mut [u8; IMAGE_BYTES]) {
        match fit {
            // `fit_of_all` pads small images alone.
            Fit::Pad | Fit::Crop => {
                put_centre(image, (self.width, self.height), self.channels, record);
            }
            Fit::Resize => {
                let resized = self.rgb(image).fitted(fit);
                *record = resized.expect("only padding asks for a size");
            }
        }
    }

    /// An image as a picture, grey repeated.
    fn rgb(self, image: &[u8]) -> Rgb {
        Rgb {
            width: self.width,
            height: self.height,
            bytes: match self.channels {
                1 => image.iter().flat_map(|&grey| [grey; 3]).collect(),
                _ => image.to_vec(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SIDE;

    fn padded(item: &[u32], image: &[u8]) -> Vec<Vec<(usize, usize, u8)>> {
        let mut record = [7; IMAGE_BYTES];
        Shape::of(item)
            .unwrap()
            .to_record(image, Fit::Pad, &mut record);
        let plane = |plane: &[u8]| {
            let values = plane.iter().enumerate().filter(|(_, value)| **value != 0);
            values
                .map(|(i, &value)| (i / SIDE, i % SIDE, value))
                .collect()
        };
        record.chunks_exact(SIDE * SIDE).map(plane).collect()
    }

    #[test]
    fn small_images_are_centred() {
        // 2x3: 15 rows above and below, 14 columns to the left and 15 to the right.
        let grey = vec![
            (15, 14, 1),
            (15, 15, 2),
            (15, 16, 3),
            (16, 14, 4),
            (16, 15, 5),
            (16, 16, 6),
        ];
        assert_eq!(padded(&[2, 3], &[1, 2, 3, 4, 5, 6]), vec![grey; 3]);
        let colour = padded(&[1, 2, 3], &[1, 2, 3, 4, 5, 6]);
        let plane = |a, b| vec![(15, 15, a), (15, 16, b)];
        assert_eq!(colour, [plane(1, 4), plane(2, 5), plane(3, 6)]);
        let full: Vec<u8> = (0..1024).map(|i| (i % 255) as u8 + 1).collect();
        assert_eq!(padded(&[32, 32], &full)[2].len(), 1024);
    }

    #[test]
    fn larger_images_are_resized_or_cut() {
        // Four quarters of 32x32, each of one value.
        let image: Vec<u8> = (0..64 * 64)
            .map(|i| [10, 20, 30, 40][2 * (i / 64 / 32) + i % 64 / 32])
            .collect();
        let shape = Shape::of(&[64, 64]).unwrap();
        assert_eq!(Shape::fit_of_all(&[shape], None), Ok(Fit::Resize));
        assert!(Shape::fit_of_all(&[shape], Some(Fit::Pad)).is_err());
        for fit in [Fit::Resize, Fit::Crop] {
            let mut record = [0; IMAGE_BYTES];
            shape.to_record(&image, fit, &mut record);
            for (corner, value) in [(0, 10), (31, 20), (31 * 32, 30), (32 * 32 - 1, 40)] {
                for plane in record.chunks_exact(SIDE * SIDE) {
                    assert_eq!(plane[corner], value, "{fit}");
                }
            }
        }
    }

    #[test]
    fn other_shapes_are_told_in_words() {
        for (item, words) in [
            (&[][..], "holds labels"),
            (&[28], "[28]"),
            (&[3, 32, 32], "[height, width, 3]"),
            (&[28, 28, 4], "[28, 28, 4]"),
            (&[0, 28], "images of 0x28"),
            (&[28, 4097], "sides of 1 to 4096"),
        ] {
            let problem = Shape::of(item).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
