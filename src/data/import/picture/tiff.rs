//! TIFF, the first page, by `tiff` (which `image` takes too, and then refuses palettes and few bits).
//! TIFF with JPEG inside is refused: it would be read by zune-jpeg (see `jpeg.rs`).

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::{MAX_BYTES, Reader, Rgb, Stored, damaged, from_cmyk, repeated};

/// What samples mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    Grey,
    /// Indices.
    Palette,
    Rgb,
    Cmyk,
}

impl Colours {
    /// Samples that decide a pixel; what follows is transparency.
    fn samples(self) -> usize {
        match self {
            Colours::Grey | Colours::Palette => 1,
            Colours::Rgb => 3,
            Colours::Cmyk => 4,
        }
    }
}

pub(super) fn read(bytes: &[u8], reader: &Reader) -> Result<Stored, String> {
    let grey = indices_as_grey(bytes);
    let is_palette = grey.is_some();
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_BYTES as usize;
    limits.intermediate_buffer_size = MAX_BYTES as usize;
    let mut decoder = Decoder::new(Cursor::new(grey.as_deref().unwrap_or(bytes)))
        .map_err(words)?
        .with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(words)?;
    let _room = reader.room(width.into(), height.into())?;
    let (width, height) = (width as usize, height as usize);
    let colour_type = decoder.colortype().map_err(words)?;
    let colours = match colour_type {
        ColorType::Gray(_) | ColorType::GrayA(_) if is_palette => Colours::Palette,
        ColorType::Multiband { num_samples: 2, .. } if is_palette => Colours::Palette,
        ColorType::Gray(_) | ColorType::GrayA(_) => Colours::Grey,
        ColorType::Multiband { num_samples: 2, .. } => Colours::Grey,
        ColorType::RGB(_) | ColorType::RGBA(_) => Colours::Rgb,
        ColorType::CMYK(_) | ColorType::CMYKA(_) => Colours::Cmyk,
        other => return Err(unread(&format!("with colours of the kind {other:?}"))),
    };
    let number = |decoder: &mut Decoder<_>, tag| {
        let value = decoder.find_tag_unsigned_vec::<u16>(tag).ok().flatten();
        value.and_then(|values| values.first().copied())
    };
    if number(&mut decoder, Tag::FillOrder) == Some(2) {
        return Err(unread("with the bits of its bytes turned round"));
    }
    let orientation = number(&mut decoder, Tag::Orientation);
    let is_premultiplied = number(&mut decoder, Tag::ExtraSamples) == Some(1);
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut samples).map_err(words)?;
    let bits = colour_type.bit_depth();
    // 16 bits keep their upper 8.
    let (values, sample_bytes) = match samples {
        DecodingResult::U8(values) => (values, 1),
        DecodingResult::U16(values) if bits == 16 => {
            (values.iter().map(|value| (value >> 8) as u8).collect(), 2)
        }
        _ => {
            return Err(unread(&format!(
                "with samples of {bits} bits, or of another kind"
            )));
        }
    };
    if values.len() * sample_bytes < layout.complete_len {
        return Err("would take too much memory: make it smaller".into());
    }
    let values = match bits {
        1 | 2 | 4 if matches!(colours, Colours::Grey | Colours::Palette) => {
            unpacked(&values, bits, (width, height), colours == Colours::Grey)
        }
        8 | 16 if layout.planes > 1 => interleaved(&values, width * height),
        8 | 16 => values,
        _ => return Err(unread(&format!("with samples of {bits} bits"))),
    };
    let per_pixel = values.len() / (width * height);
    let needed = colours.samples();
    if per_pixel < needed {
        return Err("is damaged: it has fewer samples than colours".into());
    }
    let pixels = values.chunks_exact(per_pixel).take(width * height);
    let bytes = match colours {
        Colours::Grey => repeated(pixels.map(|pixel| pixel[0])),
        Colours::Palette => {
            let palette = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(words)?;
            let n = palette.len() / 3;
            let value = |at: usize| palette.get(at).map_or(0, |value| (value >> 8) as u8);
            let colour = |index: usize| match index < n {
                true => [value(index), value(n + index), value(2 * n + index)],
                false => [0; 3],
            };
            pixels.flat_map(|pixel| colour(pixel[0].into())).collect()
        }
        Colours::Rgb if is_premultiplied && per_pixel > 3 => {
            pixels.flat_map(|pixel| divided(&pixel[..4])).collect()
        }
        Colours::Rgb => pixels
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect(),
        Colours::Cmyk => {
            let inks: Vec<u8> = pixels.flat_map(|pixel| &pixel[..4]).copied().collect();
            from_cmyk(&inks)
        }
    };
    let orientation = orientation.and_then(|tag| u8::try_from(tag).ok());
    let orientation = orientation.and_then(Orientation::from_exif);
    Ok(Stored {
        rgb: Rgb {
            width,
            height,
            bytes,
        },
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        is_grey_16: colours == Colours::Grey && bits == 16,
    })
}

fn unread(what: &str) -> String {
    format!("is a TIFF {what}, which is not read; convert it to PNG")
}

fn words(error: TiffError) -> String {
    match error {
        TiffError::UnsupportedError(what) => unread(&format!("of a rare kind ({what})")),
        TiffError::LimitsExceeded => "would take too much memory: make it smaller".into(),
        error => damaged(&error),
    }
}

/// Values of a plane a colour as pixels.
fn interleaved(planes: &[u8], n_pixels: usize) -> Vec<u8> {
    let n_planes = planes.len() / n_pixels;
    let pixel = |pixel: usize| (0..n_planes).map(move |plane| planes[plane * n_pixels + pixel]);
    (0..n_pixels).flat_map(pixel).collect()
}

/// Samples of few bits, in rows of whole bytes, as bytes: grey from 0 to 255, indices as they are.
fn unpacked(packed: &[u8], bits: u8, (width, height): (usize, usize), is_grey: bool) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let largest = (1u8 << bits) - 1;
    let scale = if is_grey { 255 / largest } else { 1 };
    let sample = |row: &[u8], x: usize| {
        let shift = 8 - bits * (x % per_byte + 1) as u8;
        (row.get(x / per_byte).unwrap_or(&0) >> shift & largest) * scale
    };
    let rows = packed.chunks(width.div_ceil(per_byte)).take(height);
    rows.flat_map(|row| (0..width).map(move |x| sample(row, x)))
        .collect()
}

/// Colours that were multiplied by their alpha value, as Pillow divides them.
fn divided(pixel: &[u8]) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    [0, 1, 2].map(|channel| match alpha {
        0 => 0,
        alpha => (u32::from(pixel[channel]) * 255 / alpha).min(255) as u8,
    })
}

/// The file with indices into a palette declared grey, for `tiff` reads no palettes; nothing of one
/// that has none.
fn indices_as_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    const PHOTOMETRIC: u16 = 262;
    let is_big = bytes.starts_with(b"MM");
    if bytes.get(2 + usize::from(is_big)) != Some(&42) {
        return None; // the large kind
    }
    let at = |offset: usize, length: usize| bytes.get(offset..offset.checked_add(length)?);
    let short = |offset| {
        let two = at(offset, 2)?.try_into().ok()?;
        Some(if is_big {
            u16::from_be_bytes(two)
        } else {
            u16::from_le_bytes(two)
        })
    };
    let four = at(4, 4)?.try_into().ok()?;
    let directory = if is_big {
        u32::from_be_bytes(four)
    } else {
        u32::from_le_bytes(four)
    } as usize;
    let n_entries = usize::from(short(directory)?);
    let entries = (0..n_entries).map(|entry| directory + 2 + 12 * entry);
    let entry = entries
        .clone()
        .find(|&entry| short(entry) == Some(PHOTOMETRIC))?;
    if short(entry + 8)? != 3 {
        return None;
    }
    let mut grey = bytes.to_vec();
    let one = if is_big { [0, 1] } else { [1, 0] };
    grey[entry + 8..entry + 10].copy_from_slice(&one);
    Some(grey)
}
