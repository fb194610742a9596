//! A contact sheet: images of every class under its name, as they are or as a network is trained on them.

use font8x8::{BASIC_FONTS, GREEK_FONTS, HIRAGANA_FONTS, LATIN_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};

use crate::data::{self, Augment, Dataset, Draw, IMAGE_BYTES, VIEW_LEN, view};
use crate::text;

/// Height and width of an image in a data set.
const SIDE: u32 = data::SIDE as u32;
/// Pixels of the sheet, each way, for one of an image or a letter.
const SCALE: u32 = 2;
/// Height and width of an image on the sheet.
const TILE: u32 = SIDE * SCALE;
/// Pixels between images.
const GAP: u32 = 2;
/// Height and width of a letter.
const LETTER: u32 = 8 * SCALE;
/// Images side by side.
const COLUMNS: u32 = 16;
/// Width of the sheet.
const WIDTH: u32 = GAP + COLUMNS * (TILE + GAP);
/// Rows that few classes share.
const ROWS: u32 = 10;

const PAPER: Rgb<u8> = Rgb([24, 24, 24]);
const INK: Rgb<u8> = Rgb([235, 235, 235]);

/// How a network is trained on images.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// What is done to them.
    pub augment: Augment,
    /// The seed of a training, whose first epoch is shown.
    pub seed: u64,
}

/// The first training images of each class, in a row or more under its name and the number of all its
/// images; with `training` as the first epoch sees them, brought back to colours.
pub fn sheet(dataset: &Dataset, training: Option<Training>) -> RgbImage {
    let classes = dataset.classes();
    let rows = (ROWS / classes.len() as u32).max(1);
    let per_class = (rows * COLUMNS) as usize;
    let block = GAP + LETTER + GAP + rows * (TILE + GAP);
    let mut sheet = RgbImage::from_pixel(WIDTH, GAP + block * classes.len() as u32, PAPER);
    let shown = first_of_each(dataset, per_class);
    let all = classes.iter().zip(dataset.class_counts()).zip(shown);
    for (class, ((name, count), records)) in (0..).zip(all) {
        let top = GAP + class * block;
        write(
            &mut sheet,
            top + GAP,
            &format!("{name}: {}", text::count(count)),
        );
        for (place, record) in (0..).zip(records) {
            let image = colours(dataset, record, training);
            let left = GAP + place % COLUMNS * (TILE + GAP);
            let top = top + GAP + LETTER + GAP + place / COLUMNS * (TILE + GAP);
            for (x, y) in (0..TILE).flat_map(|y| (0..TILE).map(move |x| (x, y))) {
                let at = (y / SCALE * SIDE + x / SCALE) as usize;
                let pixel = [0, 1, 2].map(|channel| image[channel * 1024 + at]);
                sheet.put_pixel(left + x, top + y, Rgb(pixel));
            }
        }
    }
    sheet
}

/// The first training records of each class.
fn first_of_each(dataset: &Dataset, per_class: usize) -> Vec<Vec<usize>> {
    let mut records = vec![Vec::new(); dataset.classes().len()];
    for record in 0..dataset.n_train() {
        let of_class: &mut Vec<usize> = &mut records[usize::from(dataset.record(record).0)];
        if of_class.len() < per_class {
            of_class.push(record);
        }
    }
    records
}

/// A record's pixels, `[c][32][32]`, or those of its view, whose whitening is undone.
fn colours(dataset: &Dataset, record: usize, training: Option<Training>) -> [u8; IMAGE_BYTES] {
    let (_, image) = dataset.record(record);
    let Some(Training { augment, seed }) = training else {
        return *image;
    };
    let draw = Draw::new(seed, 0, record as u32);
    let mut values = [0.0; VIEW_LEN];
    view(image, augment, Some(draw), &mut values);
    let n = IMAGE_BYTES as f64;
    let mean = image.iter().map(|&byte| f64::from(byte)).sum::<f64>() / n;
    let spread = image.iter().map(|&byte| (f64::from(byte) - mean).powi(2));
    let deviation = (spread.sum::<f64>() / n).sqrt().max(255.0 / n.sqrt());
    values.map(|value| (f64::from(value) * deviation + mean).round() as u8)
}

/// Writes a line, cut where the sheet ends; letters that the font lacks are boxes.
fn write(sheet: &mut RgbImage, top: u32, line: &str) {
    const BOX: [u8; 8] = [0, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x7e, 0];
    let fonts = |letter| {
        let font = BASIC_FONTS.get(letter).or_else(|| LATIN_FONTS.get(letter));
        let font = font.or_else(|| GREEK_FONTS.get(letter));
        font.or_else(|| HIRAGANA_FONTS.get(letter)).unwrap_or(BOX)
    };
    let most = (WIDTH - GAP) / LETTER;
    for (place, letter) in (0..most).zip(line.chars()) {
        let rows = fonts(letter);
        for (x, y) in (0..LETTER).flat_map(|y| (0..LETTER).map(move |x| (x, y))) {
            // The lowest bit is the leftmost pixel.
            if rows[(y / SCALE) as usize] >> (x / SCALE) & 1 == 1 {
                sheet.put_pixel(GAP + place * LETTER + x, top + y, INK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view is the image again where nothing is cut, whatever its brightness.
    #[test]
    fn whitening_is_undone() {
        let dataset = Dataset::synthetic(40, 10, 4, 0);
        let image = |augment| {
            let training = Some(Training { augment, seed: 0 });
            (0..40).map(move |record| {
                (
                    record,
                    colours(&Dataset::synthetic(40, 10, 4, 0), record, training),
                )
            })
        };
        let mut n_shifted = 0;
        for (record, colours) in image(Augment::PadCrop) {
            let Draw { dy, dx, flip } = Draw::new(0, 0, record as u32);
            let (_, original) = dataset.record(record);
            for (y, x) in (8..24).flat_map(|y| (8..24).map(move |x| (y, x))) {
                let from_x = if flip { 31 - x } else { x } + usize::from(dx) - 4;
                let from = (y + usize::from(dy) - 4) * 32 + from_x;
                assert!(
                    colours[y * 32 + x].abs_diff(original[from]) <= 1,
                    "{record} {y} {x}"
                );
            }
            n_shifted += usize::from((dy, dx) != (4, 4) || flip);
        }
        assert!(n_shifted > 30, "{n_shifted} of 40");
    }

    #[test]
    fn every_class_has_its_rows() {
        let dataset = Dataset::synthetic(40, 10, 4, 0);
        let plain = sheet(&dataset, None);
        assert_eq!(
            plain.dimensions(),
            (WIDTH, GAP + 4 * (3 * GAP + LETTER + 2 * (TILE + GAP) - GAP))
        );
        // The first image of class 1 is record 1.
        let (_, image) = dataset.record(1);
        let top = GAP + (plain.height() - GAP) / 4 + 2 * GAP + LETTER;
        let pixel = plain.get_pixel(GAP + 3 * SCALE, top + 5 * SCALE);
        assert_eq!(pixel.0, [0, 1, 2].map(|c| image[c * 1024 + 5 * 32 + 3]));
        let is_written = |y: u32| (0..WIDTH).any(|x| *plain.get_pixel(x, y) == INK);
        assert!((2 * GAP..2 * GAP + LETTER).any(is_written));
    }
}
