//! Views of records, as planes of 8 channels of which the image fills three.

use super::loops::Pixel;
use crate::data::{Draw, VIEW_LEN, view};
use crate::device::Input;
use crate::shape::PLANE;

/// Pixels of a view.
const PIXELS: usize = VIEW_LEN / 3;
/// Floats of an image.
pub const IMAGE_LEN: usize = PIXELS * PLANE;

/// Writes the view of `record` that training takes in `epoch`, or the one that evaluation takes;
/// returns its label.
pub fn load(input: &Input, record: u32, epoch: Option<u32>, image: &mut [f32]) -> u8 {
    let (dataset, augment) = input.images();
    let (label, bytes) = dataset.record(record as usize);
    let draw = epoch.map(|epoch| Draw::new(input.seed, epoch, record));
    let mut planes = [0.0; VIEW_LEN];
    view(bytes, augment, draw, &mut planes);
    let (red, rest) = planes.split_at(PIXELS);
    let (green, blue) = rest.split_at(PIXELS);
    let pixels: &mut [Pixel] = image.as_chunks_mut().0;
    for (((pixel, red), green), blue) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
        *pixel = [*red, *green, *blue, 0.0, 0.0, 0.0, 0.0, 0.0];
    }
    label
}
