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
    fn of(colour_type: ColorType, is_palette: bool) -> Result<Colours, String> {
        match colour_type {
            ColorType::Gray(_)
            | ColorType::GrayA(_)
            | ColorType::Multiband { num_samples: 2, .. } => Ok(match is_palette {
                true => Colours::Palette,
                false => Colours::Grey,
            }),
            ColorType::RGB(_) | ColorType::RGBA(_) => Ok(Colours::Rgb),
            ColorType::CMYK(_) | ColorType::CMYKA(_) => Ok(Colours::Cmyk),
            other => Err(unread(&format!("with colours of the kind {other:?}"))),
        }
    }

    /// Samples that decide a pixel; what follows is transparency.
    fn samples(self) -> usize {
        match self {
            Colours::Grey | Colours::Palette => 1,
            Colours::Rgb => 3,
            Colours::Cmyk => 4,
        }
    }
}

type Tiff<'a> = Decoder<Cursor<&'a [u8]>>;

pub(super) fn read<'a>(bytes: &[u8], reader: &'a Reader) -> Result<Stored<'a>, String> {
    let entries = Entries::of(bytes);
    // The crate reserves what they say.
    if entries
        .clone()
        .any(|entry| entry.value_bytes() > bytes.len() as u64)
    {
        return Err("is damaged: a value of its header is longer than the file".into());
    }
    let grey = indices_as_grey(bytes, entries);
    let is_palette = grey.is_some();
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_BYTES as usize;
    limits.intermediate_buffer_size = MAX_BYTES as usize;
    let mut decoder = Decoder::new(Cursor::new(grey.as_deref().unwrap_or(bytes)))
        .map_err(words)?
        .with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(words)?;
    let room = reader.room(width.into(), height.into())?;
    let size = (width as usize, height as usize);
    let colour_type = decoder.colortype().map_err(words)?;
    let colours = Colours::of(colour_type, is_palette)?;
    if number(&mut decoder, Tag::FillOrder) == Some(2) {
        return Err(unread("with the bits of its bytes turned round"));
    }
    let orientation = number(&mut decoder, Tag::Orientation);
    let orientation = orientation.and_then(|tag| u8::try_from(tag).ok());
    let orientation = orientation.and_then(Orientation::from_exif);
    let bits = colour_type.bit_depth();
    let values = samples(&mut decoder, bits, size, colours)?;
    let (width, height) = size;
    let rgb = Rgb {
        width,
        height,
        bytes: rgb(&mut decoder, &values, width * height, colours)?,
    };
    Ok(Stored {
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        is_grey_16: colours == Colours::Grey && bits == 16,
        ..Stored::new(rgb, room)?
    })
}

/// The first number of a tag.
fn number(decoder: &mut Tiff, tag: Tag) -> Option<u16> {
    let value = decoder.find_tag_unsigned_vec::<u16>(tag).ok().flatten();
    value.and_then(|values| values.first().copied())
}

/// The samples of all pixels, a byte each: 16 bits keep their upper 8.
fn samples(
    decoder: &mut Tiff,
    bits: u8,
    (width, height): (usize, usize),
    colours: Colours,
) -> Result<Vec<u8>, String> {
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut samples).map_err(words)?;
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
    match bits {
        1 | 2 | 4 if matches!(colours, Colours::Grey | Colours::Palette) => {
            let is_grey = colours == Colours::Grey;
            Ok(unpacked(&values, bits, (width, height), is_grey))
        }
        8 | 16 if layout.planes > 1 => Ok(interleaved(&values, width * height)),
        8 | 16 => Ok(values),
        _ => Err(unread(&format!("with samples of {bits} bits"))),
    }
}

/// Red, green and blue of the samples.
fn rgb(
    decoder: &mut Tiff,
    values: &[u8],
    n_pixels: usize,
    colours: Colours,
) -> Result<Vec<u8>, String> {
    let per_pixel = values.len() / n_pixels;
    if per_pixel < colours.samples() {
        return Err("is damaged: it has fewer samples than colours".into());
    }
    let is_premultiplied = number(decoder, Tag::ExtraSamples) == Some(1);
    let pixels = values.chunks_exact(per_pixel).take(n_pixels);
    Ok(match colours {
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

/// An entry of the first directory of a file.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where its value stands, or where that is said.
    value_at: usize,
}

impl Entry {
    /// Bytes of all its values; none of a kind that is not known.
    fn value_bytes(&self) -> u64 {
        let bytes = match self.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 0,
        };
        self.count.saturating_mul(bytes)
    }
}

/// The entries of the first directory, as far as they are there.
#[derive(Clone)]
struct Entries<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
    /// Offsets and counts of 8 bytes.
    is_large: bool,
    /// The next one.
    at: usize,
    left: u64,
}

impl<'a> Entries<'a> {
    fn of(bytes: &'a [u8]) -> Entries<'a> {
        let is_big_endian = bytes.starts_with(b"MM");
        let is_large = bytes.get(2 + usize::from(is_big_endian)) == Some(&43);
        let mut entries = Entries {
            bytes,
            is_big_endian,
            is_large,
            at: 0,
            left: 0,
        };
        let directory = match is_large {
            true => entries.number(8, 8),
            false => entries.number(4, 4),
        };
        let directory = directory.and_then(|at| usize::try_from(at).ok());
        let n_bytes = if is_large { 8 } else { 2 };
        let first = directory.and_then(|at| at.checked_add(n_bytes));
        if let (Some(directory), Some(first)) = (directory, first) {
            entries.left = entries.number(directory, n_bytes).unwrap_or(0);
            entries.at = first;
        }
        entries
    }

    /// A number of so many bytes.
    fn number(&self, at: usize, n_bytes: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(n_bytes)?)?;
        let next = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(match self.is_big_endian {
            true => bytes.iter().fold(0, next),
            false => bytes.iter().rev().fold(0, next),
        })
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.left = self.left.checked_sub(1)?;
        let n_bytes = if self.is_large { 8 } else { 4 };
        let at = self.at;
        let entry = Entry {
            tag: self.number(at, 2)? as u16,
            kind: self.number(at + 2, 2)? as u16,
            count: self.number(at + 4, n_bytes)?,
            value_at: at + 4 + n_bytes,
        };
        self.at = entry.value_at.checked_add(n_bytes)?;
        Some(entry)
    }
}

/// The file with indices into a palette declared grey, for `tiff` reads no palettes; nothing of one
/// that has none.
fn indices_as_grey(bytes: &[u8], mut entries: Entries) -> Option<Vec<u8>> {
    const PHOTOMETRIC: u16 = 262;
    const PALETTE: u64 = 3;
    let entry = entries.find(|entry| entry.tag == PHOTOMETRIC)?;
    if entries.number(entry.value_at, 2) != Some(PALETTE) {
        return None;
    }
    let mut grey = bytes.to_vec();
    let one = match entries.is_big_endian {
        true => [0, 1],
        false => [1, 0],
    };
    grey[entry.value_at..entry.value_at + 2].copy_from_slice(&one);
    Some(grey)
}
