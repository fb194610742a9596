//! What a network sees of a record: whitened, resized or padded, cropped and flipped.

use super::tensor::Tensor;
use crate::data::{Augment, Draw, IMAGE_BYTES};

/// Height and width of an image and of a view.
const SIDE: usize = 32;
/// Height and width of what is cropped.
const WIDE: usize = 40;

/// The view `[1][c][h][w]` of an image of bytes `[c][h][w]`: the training view by `draw`, or the
/// evaluation view.
pub fn view(image: &[u8; IMAGE_BYTES], augment: Augment, draw: Option<Draw>) -> Tensor {
    let white = whiten(image);
    match (augment, draw) {
        (Augment::UpsampleCrop, Some(draw)) => crop(&resize(&white), &draw),
        (Augment::UpsampleCrop, None) | (Augment::None, _) => centre(&resize(&white)),
        (Augment::PadCrop, Some(draw)) => crop(&pad(&white), &draw),
        (Augment::PadCrop, None) => white,
    }
}

/// (x - mean) / max(deviation, 1 / sqrt(3072)) of x = byte / 255 over all values.
fn whiten(image: &[u8; IMAGE_BYTES]) -> Tensor {
    let count = image.len() as f64;
    let mut x = Tensor::zeros([1, 3, SIDE, SIDE]);
    x.values = image.iter().map(|&byte| f64::from(byte) / 255.0).collect();
    let mean = x.values.iter().sum::<f64>() / count;
    let variance = x.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt().max(1.0 / count.sqrt());
    x.values
        .iter_mut()
        .for_each(|x| *x = (*x - mean) / deviation);
    x
}

/// Bilinear to 40x40: the centre of pixel i lies at (i + 0.5) 32/40 - 0.5, kept in the image.
fn resize(x: &Tensor) -> Tensor {
    let place = |i: usize| {
        let place = (i as f64 + 0.5) * SIDE as f64 / WIDE as f64 - 0.5;
        let place = place.clamp(0.0, (SIDE - 1) as f64);
        let low = place.floor();
        (low as usize, (low as usize + 1).min(SIDE - 1), place - low)
    };
    let mut out = Tensor::zeros([1, 3, WIDE, WIDE]);
    for [n, c, i, j] in out.positions() {
        let (top, bottom, down) = place(i);
        let (left, right, along) = place(j);
        let row = |p: usize| (1.0 - along) * x[[n, c, p, left]] + along * x[[n, c, p, right]];
        out[[n, c, i, j]] = (1.0 - down) * row(top) + down * row(bottom);
    }
    out
}

/// Zeros on each side, to 40x40.
fn pad(x: &Tensor) -> Tensor {
    let margin = (WIDE - SIDE) / 2;
    let mut out = Tensor::zeros([1, 3, WIDE, WIDE]);
    for [n, c, i, j] in x.positions() {
        out[[n, c, i + margin, j + margin]] = x[[n, c, i, j]];
    }
    out
}

/// 32x32 from the offsets of `draw`, then flipped left to right if it says so.
fn crop(x: &Tensor, draw: &Draw) -> Tensor {
    let mut out = Tensor::zeros([1, 3, SIDE, SIDE]);
    for [n, c, i, j] in out.positions() {
        let column = if draw.flip { SIDE - 1 - j } else { j };
        let (dy, dx) = (usize::from(draw.dy), usize::from(draw.dx));
        out[[n, c, i, j]] = x[[n, c, dy + i, dx + column]];
    }
    out
}

fn centre(x: &Tensor) -> Tensor {
    let middle = ((WIDE - SIDE) / 2) as u8;
    let draw = Draw {
        dy: middle,
        dx: middle,
        flip: false,
    };
    crop(x, &draw)
}
