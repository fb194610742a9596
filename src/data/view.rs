//! What a network sees of an image: whitened, resized, cropped and flipped.
//!
//! The formulas are affine in the bytes, so everything up to the last step is done in integers and
//! is exact: the resize from 32 to 40 has weights in tenths, and n·byte - sum stands for
//! byte - mean. A value is rounded three times: to f32, the scale, and their product.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{IMAGE_BYTES, SIDE};
use crate::rng::{Purpose, Rng, pair};

/// Values of a view: `[c][h][w]` = 3 x 32 x 32.
pub const VIEW_LEN: usize = IMAGE_BYTES;

/// Height and width of what is cropped.
const WIDE: usize = 40;
/// The largest offset of a crop.
const MAX_OFFSET: usize = WIDE - SIDE;
/// Zeros that `pad-crop` adds on each side.
const PAD: usize = MAX_OFFSET / 2;

/// What training does to an image besides whitening it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Resize to 40x40; train on a random 32x32 crop, flipped or not; evaluate the central crop
    #[default]
    UpsampleCrop,
    /// Add 4 zeros on each side and train on a random 32x32 crop, flipped or not; evaluate the image
    PadCrop,
    /// Train on what `upsample-crop` evaluates
    None,
}

impl Augment {
    /// Every one there is.
    pub const ALL: [Augment; 3] = [Augment::UpsampleCrop, Augment::PadCrop, Augment::None];

    /// Their names, in the same order.
    pub const NAMES: [&str; 3] = ["upsample-crop", "pad-crop", "none"];
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Augment::NAMES[*self as usize])
    }
}

/// A name that is no [`Augment`].
#[derive(Debug, thiserror::Error)]
#[error("no augmentation is called `{0}`; give one of {names}", names = Augment::NAMES.join(", "))]
pub struct UnknownAugment(String);

impl FromStr for Augment {
    type Err = UnknownAugment;

    fn from_str(name: &str) -> Result<Augment, UnknownAugment> {
        Augment::ALL
            .into_iter()
            .find(|augment| augment.to_string() == name)
            .ok_or_else(|| UnknownAugment(name.to_string()))
    }
}

/// Where a training record is cropped in an epoch, and whether it is then flipped left to right.
/// The same for both kinds of crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Rows above the crop, 0 to 8.
    pub dy: u8,
    /// Columns left of the crop, 0 to 8.
    pub dx: u8,
    /// Whether the crop is flipped.
    pub flip: bool,
}

impl Draw {
    /// What evaluation takes.
    const CENTRE: Draw = Draw {
        dy: PAD as u8,
        dx: PAD as u8,
        flip: false,
    };

    /// The draw of `record` in `epoch` (from 0).
    pub fn new(seed: u64, epoch: u32, record: u32) -> Draw {
        let mut rng = Rng::new(seed, Purpose::Augment, pair(epoch, record));
        let mut offset = || rng.below(MAX_OFFSET as u32 + 1) as u8;
        Draw {
            dy: offset(),
            dx: offset(),
            // paper P6.4
            flip: rng.below(2) == 1,
        }
    }
}

/// Writes the view of `image` (`[c][h][w]` bytes) that training takes with `draw`, or the one that
/// evaluation takes, without, to `out` (`[c][h][w]`). [`Augment::None`] is the same in both.
///
/// # Panics
/// If `out` does not hold [`VIEW_LEN`] values or an offset of the draw is above 8.
pub fn view(image: &[u8; IMAGE_BYTES], augment: Augment, draw: Option<Draw>, out: &mut [f32]) {
    assert_eq!(out.len(), VIEW_LEN, "a view has 3 x 32 x 32 values");
    let draw = match augment {
        Augment::None => Draw::CENTRE,
        Augment::UpsampleCrop | Augment::PadCrop => draw.unwrap_or(Draw::CENTRE),
    };
    assert!(
        usize::from(draw.dy.max(draw.dx)) <= MAX_OFFSET,
        "{draw:?} leaves the image"
    );
    let whiten = Whiten::new(image);
    let planes = image.as_chunks::<{ SIDE * SIDE }>().0;
    let out_planes = out.as_chunks_mut::<{ SIDE * SIDE }>().0;
    for (plane, out_plane) in planes.iter().zip(out_planes) {
        match augment {
            Augment::PadCrop => pad_crop(plane, draw, &whiten, out_plane),
            Augment::UpsampleCrop | Augment::None => {
                upsample_crop(plane, draw, &whiten, out_plane);
            }
        }
    }
}

/// x = (byte / 255 - mean) / max(deviation, 1 / sqrt(3072)), over all values of an image.
struct Whiten {
    /// Sum of the bytes.
    sum: i32,
    /// 1 / (255 · 3072 · max(deviation, …)): what n·byte - sum is multiplied by.
    scale: f64,
}

impl Whiten {
    fn new(image: &[u8; IMAGE_BYTES]) -> Whiten {
        let n = IMAGE_BYTES as u64;
        let (mut sum, mut squares) = (0u32, 0u32); // at most 3072 · 255² < 2^28
        for &byte in image {
            sum += u32::from(byte);
            squares += u32::from(byte) * u32::from(byte);
        }
        // Population variance of byte / 255 is this over (255 n)².
        let spread = n * u64::from(squares) - u64::from(sum) * u64::from(sum);
        let unit = 255.0 * n as f64;
        let deviation = (spread as f64).sqrt() / unit;
        let floor = 1.0 / (n as f64).sqrt();
        Whiten {
            sum: sum as i32,
            scale: 1.0 / (unit * deviation.max(floor)),
        }
    }

    /// Whitens weighted sums of bytes whose weights add up to `weight`.
    // paper P6.2
    fn apply(&self, sums: &[u16; SIDE], weight: u16, out: &mut [f32; SIDE]) {
        let mean = self.sum * i32::from(weight); // at most 3072 · 255 · 100 < 2^27
        let scale = (self.scale / f64::from(weight)) as f32;
        for (x, &sum) in out.iter_mut().zip(sums) {
            *x = (i32::from(sum) * IMAGE_BYTES as i32 - mean) as f32 * scale;
        }
    }
}

/// Tenths in one: the unit of the weights below.
const ONE: u16 = 10;

/// Where a row or column of the 40 lies among the 32: `ONE - weight` parts of `low` and `weight`
/// parts of `high`.
#[derive(Clone, Copy)]
struct Tap {
    low: u8,
    high: u8,
    weight: u16,
}

/// Half-pixel centres: (i + 0.5) · 32/40 - 0.5 = (8 i - 1) / 10, kept inside the image.
const TAPS: [Tap; WIDE] = {
    let mut taps = [Tap {
        low: 0,
        high: 0,
        weight: 0,
    }; WIDE];
    let mut i = 0;
    while i < WIDE {
        let tenths = (8 * i).saturating_sub(1);
        let low = tenths / 10;
        let high = if low + 1 < SIDE { low + 1 } else { low };
        taps[i] = Tap {
            low: low as u8,
            high: high as u8,
            weight: (tenths % 10) as u16,
        };
        i += 1;
    }
    taps
};

/// A crop of the plane resized to 40x40, of which only the crop is computed: columns first, then
/// rows.
// paper P6.3
fn upsample_crop(
    plane: &[u8; SIDE * SIDE],
    draw: Draw,
    whiten: &Whiten,
    out: &mut [f32; SIDE * SIDE],
) {
    let (dy, dx) = (usize::from(draw.dy), usize::from(draw.dx));
    let columns: [Tap; SIDE] =
        std::array::from_fn(|x| TAPS[dx + if draw.flip { SIDE - 1 - x } else { x }]);
    let mut resized = [[0u16; SIDE]; SIDE];
    let first = usize::from(TAPS[dy].low);
    let last = usize::from(TAPS[dy + SIDE - 1].high);
    let rows = plane.as_chunks::<SIDE>().0;
    for (row, wide) in rows[first..=last].iter().zip(&mut resized[first..=last]) {
        for (value, tap) in wide.iter_mut().zip(&columns) {
            // The masks say to the compiler what the table ensures: positions are below 32.
            let low = u16::from(row[usize::from(tap.low) % SIDE]);
            let high = u16::from(row[usize::from(tap.high) % SIDE]);
            *value = (ONE - tap.weight) * low + tap.weight * high;
        }
    }
    for (tap, out_row) in TAPS[dy..dy + SIDE]
        .iter()
        .zip(out.as_chunks_mut::<SIDE>().0)
    {
        let (low, high) = (
            &resized[usize::from(tap.low)],
            &resized[usize::from(tap.high)],
        );
        let sums: [u16; SIDE] =
            std::array::from_fn(|x| (ONE - tap.weight) * low[x] + tap.weight * high[x]);
        whiten.apply(&sums, ONE * ONE, out_row);
    }
}

/// A crop of the whitened plane with 4 zeros on each side.
fn pad_crop(plane: &[u8; SIDE * SIDE], draw: Draw, whiten: &Whiten, out: &mut [f32; SIDE * SIDE]) {
    let (dy, dx) = (usize::from(draw.dy), usize::from(draw.dx));
    let rows = plane.as_chunks::<SIDE>().0;
    for (y, out_row) in out.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        let mut padded = [0f32; WIDE];
        if let Some(row) = (y + dy).checked_sub(PAD).and_then(|row| rows.get(row)) {
            let inside = padded[PAD..]
                .first_chunk_mut()
                .expect("40 - 4 values hold 32");
            whiten.apply(&row.map(u16::from), 1, inside);
        }
        out_row.copy_from_slice(&padded[dx..dx + SIDE]);
        if draw.flip {
            out_row.reverse();
        }
    }
}
