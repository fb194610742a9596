//! Files of pictures as 8-bit RGB: what torchvision's `ImageFolder` with Pillow hands on by
//! `convert("RGB")`, so that a network sees here what it sees there.
//!
//! PNG, BMP and WebP are read by `image`, the other formats where that crate gives something else than
//! Pillow does or too little: see the head of each file.

mod gif;
mod jpeg;
mod pnm;
mod tiff;

use std::io::Cursor;
use std::sync::{Mutex, MutexGuard};

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use crate::data::known_format;

/// Pixels of the largest picture that is read: Pillow refuses more as a decompression bomb.
const MAX_PIXELS: u64 = 178_956_970;

/// Pixels from which on pictures are read one at a time, so that memory does not grow with threads.
const MANY_PIXELS: u64 = 1 << 24;

/// Bytes that a decoder may take: 8 a pixel, and something besides.
const MAX_BYTES: u64 = 8 * MAX_PIXELS + (1 << 26);

/// Pixels of red, green and blue, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels of a row, 1 at least.
    pub width: usize,
    /// Rows, 1 at least.
    pub height: usize,
    /// `[height][width][3]`.
    pub bytes: Vec<u8>,
}

/// A picture that was read.
pub struct Picture {
    /// Its pixels.
    pub rgb: Rgb,
    /// Whether its file says that it is to be turned or mirrored to stand upright.
    pub is_tagged: bool,
    /// Whether that was done.
    pub is_turned: bool,
    /// Whether it is grey with 16 bits a pixel, of which the upper 8 were taken.
    pub is_grey_16: bool,
}

/// How pictures are read, from any thread.
#[derive(Debug)]
pub struct Reader {
    upright: bool,
    /// Held while a picture of many pixels is in memory.
    large: Mutex<()>,
}

/// What a decoder gives: pixels as stored, and the orientation tag.
struct Stored {
    rgb: Rgb,
    orientation: Orientation,
    is_grey_16: bool,
}

impl Stored {
    fn new(rgb: Rgb) -> Stored {
        Stored {
            rgb,
            orientation: Orientation::NoTransforms,
            is_grey_16: false,
        }
    }
}

/// Room for a picture in memory.
type Room<'a> = Option<MutexGuard<'a, ()>>;

impl Reader {
    /// With `upright`, pictures are turned by their tag also where Pillow leaves them as they are stored:
    /// all but TIFF.
    pub fn new(upright: bool) -> Reader {
        Reader {
            upright,
            large: Mutex::default(),
        }
    }

    /// Reads the picture that is a file's content; its format is known by its first bytes.
    ///
    /// # Errors
    /// In words, what is wrong with the file.
    pub fn read(&self, bytes: &[u8]) -> Result<Picture, String> {
        let is_tiff = [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"];
        let is_tiff = is_tiff.iter().any(|first| bytes.starts_with(first));
        let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP".as_slice());
        let Stored {
            mut rgb,
            orientation,
            is_grey_16,
        } = match bytes {
            _ if is_tiff => tiff::read(bytes, self),
            _ if is_webp => WebPDecoder::new(Cursor::new(bytes))
                .map_err(words)
                .and_then(|decoder| self.by_image(decoder)),
            [0xff, 0xd8, 0xff, ..] => jpeg::read(bytes, self),
            [0x89, b'P', b'N', b'G', ..] => PngDecoder::new(Cursor::new(bytes))
                .map_err(words)
                .and_then(|decoder| self.by_image(decoder)),
            [b'G', b'I', b'F', b'8', ..] => gif::read(bytes, self),
            [b'B', b'M', ..] => BmpDecoder::new(Cursor::new(bytes))
                .map_err(words)
                .and_then(|decoder| self.by_image(decoder))
                .map(|stored| as_pillow_widens(bytes, stored)),
            [b'P', b'1'..=b'6', after, ..] if after.is_ascii_whitespace() || *after == b'#' => {
                pnm::read(bytes, self)
            }
            _ => Err(no_picture(bytes)),
        }?;
        let is_tagged = orientation != Orientation::NoTransforms;
        let is_turned = is_tagged && (self.upright || is_tiff);
        if is_turned {
            rgb = rgb.turned(orientation);
        }
        Ok(Picture {
            rgb,
            is_tagged,
            is_turned,
            is_grey_16,
        })
    }

    /// Room for the pixels of a picture, before anything is reserved for them.
    fn room(&self, width: u64, height: u64) -> Result<Room<'_>, String> {
        match width.saturating_mul(height) {
            0 => Err(format!("has no pixels ({width} x {height})")),
            n if n > MAX_PIXELS => Err(format!(
                "says that it has {width} x {height} pixels, more than are read ({MAX_PIXELS}): make it \
                 smaller"
            )),
            n if n > MANY_PIXELS => {
                // It guards no data that a panic could have spoiled.
                let large = self.large.lock();
                Ok(Some(large.unwrap_or_else(|poisoned| poisoned.into_inner())))
            }
            _ => Ok(None),
        }
    }

    fn by_image(&self, mut decoder: impl ImageDecoder) -> Result<Stored, String> {
        let (width, height) = decoder.dimensions();
        let _room = self.room(width.into(), height.into())?;
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(MAX_BYTES);
        decoder.set_limits(limits).map_err(words)?;
        // A tag that cannot be read turns nothing.
        let exif = decoder.exif_metadata().ok().flatten();
        let orientation = exif.and_then(|exif| Orientation::from_exif_chunk(&exif));
        let image = DynamicImage::from_decoder(decoder).map_err(words)?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let is_grey_16 = matches!(
            image,
            DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_)
        );
        let bytes = match image {
            DynamicImage::ImageRgb8(image) => image.into_raw(),
            DynamicImage::ImageRgba8(image) => first_three(image.as_raw(), |byte| byte),
            DynamicImage::ImageRgb16(image) => image.iter().map(|&v| (v >> 8) as u8).collect(),
            DynamicImage::ImageRgba16(image) => first_three(image.as_raw(), |v| (v >> 8) as u8),
            DynamicImage::ImageLuma8(image) => repeated(image.into_raw()),
            DynamicImage::ImageLumaA8(image) => repeated(image.pixels().map(|pixel| pixel[0])),
            DynamicImage::ImageLuma16(image) => repeated(image.iter().map(|&v| (v >> 8) as u8)),
            DynamicImage::ImageLumaA16(image) => {
                repeated(image.pixels().map(|pixel| (pixel[0] >> 8) as u8))
            }
            _ => return Err("has pixels that are neither of 8 nor of 16 bits".into()),
        };
        Ok(Stored {
            rgb: Rgb {
                width,
                height,
                bytes,
            },
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            is_grey_16,
        })
    }
}

impl Rgb {
    /// The pixels as they stand upright by the tag.
    fn turned(&self, orientation: Orientation) -> Rgb {
        let (width, height) = (self.width, self.height);
        let swaps = matches!(
            orientation,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        let (new_width, new_height) = if swaps {
            (height, width)
        } else {
            (width, height)
        };
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for y in 0..new_height {
            for x in 0..new_width {
                let (from_x, from_y) = match orientation {
                    Orientation::NoTransforms => (x, y),
                    Orientation::FlipHorizontal => (width - 1 - x, y),
                    Orientation::FlipVertical => (x, height - 1 - y),
                    Orientation::Rotate180 => (width - 1 - x, height - 1 - y),
                    Orientation::Rotate90FlipH => (y, x), // 5: mirrored at the diagonal
                    Orientation::Rotate90 => (y, height - 1 - x),
                    Orientation::Rotate270FlipH => (width - 1 - y, height - 1 - x),
                    Orientation::Rotate270 => (width - 1 - y, x),
                };
                let at = 3 * (from_y * width + from_x);
                bytes.extend_from_slice(&self.bytes[at..at + 3]);
            }
        }
        Rgb {
            width: new_width,
            height: new_height,
            bytes,
        }
    }
}

/// Red, green and blue of pixels with an alpha value: transparency is dropped.
fn first_three<T: Copy>(values: &[T], to_byte: impl Fn(T) -> u8) -> Vec<u8> {
    let pixels = values.as_chunks::<4>().0.iter();
    pixels
        .flat_map(|&[r, g, b, _]| [r, g, b].map(&to_byte))
        .collect()
}

/// Grey as red, green and blue.
fn repeated(grey: impl IntoIterator<Item = u8>) -> Vec<u8> {
    grey.into_iter().flat_map(|byte| [byte; 3]).collect()
}

/// Red, green and blue of C, M, Y and K, as Pillow's `cmyk2rgb` rounds them.
fn from_cmyk(cmyk: &[u8]) -> Vec<u8> {
    let pixels = cmyk.as_chunks::<4>().0.iter();
    let rgb = |&[c, m, y, k]: &[u8; 4]| {
        let white = 255 - u32::from(k);
        [c, m, y].map(|ink| {
            let product = u32::from(ink) * white + 128;
            (white - (((product >> 8) + product) >> 8)) as u8
        })
    };
    pixels.flat_map(rgb).collect()
}

/// Pixels of a BMP whose colours have 5 or 6 bits: Pillow truncates where `image` rounds.
fn as_pillow_widens(bmp: &[u8], mut stored: Stored) -> Stored {
    let number = |at: usize| {
        bmp.get(at..at + 4)
            .and_then(|four| four.first_chunk().copied())
    };
    let number = |at| number(at).map_or(0, u32::from_le_bytes);
    let (has_16_bits, has_masks) = (number(28) & 0xffff == 16, number(30) == 3);
    let has_6_green = has_masks && number(58) == 0x7e0;
    if has_16_bits {
        for pixel in stored.rgb.bytes.as_chunks_mut::<3>().0 {
            for (channel, byte) in pixel.iter_mut().enumerate() {
                let most = if has_6_green && channel == 1 { 63 } else { 31 };
                let value = (u32::from(*byte) * most + 127) / 255;
                *byte = (value * 255 / most) as u8;
            }
        }
    }
    stored
}

/// What is wrong by `image`, shortly: its own words name the format twice and more.
fn words(error: ImageError) -> String {
    match error {
        ImageError::Unsupported(_) => format!("{error}; convert it to PNG"),
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
            "would take too much memory: make it smaller".into()
        }
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "is cut short".into()
        }
        error => damaged(&error),
    }
}

/// That a file is damaged, with the innermost reason.
fn damaged(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let reason = innermost.to_string();
    let line = reason.lines().next().unwrap_or_default();
    match &*line.to_lowercase() {
        "unexpected end of file" | "failed to fill whole buffer" => "is cut short".into(),
        "" => "is damaged".into(),
        _ => format!("is damaged: {}", line.trim_end_matches('.')),
    }
}

/// What a file is instead of a picture that can be read.
fn no_picture(bytes: &[u8]) -> String {
    let other = [
        (&b"\0\0\x01\0"[..], 0, "an icon"),
        (b"8BPS", 0, "a Photoshop document"),
        (b"%PDF", 0, "a PDF document"),
        (b"<svg", 0, "an SVG drawing"),
        (b"ftypavi", 4, "an AVIF picture"),
        (b"ftyphe", 4, "a HEIC picture"),
        (b"ftypmif", 4, "a HEIC picture"),
        (b"\0\0\0\x0cjP", 0, "a JPEG 2000 picture"),
        (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 picture"),
        (b"\0\0\0\x0cJXL ", 0, "a JPEG XL picture"),
        (b"\xff\x0a", 0, "a JPEG XL picture"),
        (b"qoif", 0, "a QOI picture"),
    ];
    let found = other.iter().find(|(magic, at, _)| {
        bytes
            .get(*at..)
            .is_some_and(|bytes| bytes.starts_with(magic))
    });
    if let Some((_, _, name)) = found {
        return format!("is {name}, which is not read; convert it to PNG");
    }
    match known_format::of(bytes) {
        _ if bytes.is_empty() => "is empty".into(),
        Some(format) => format!("is {}, no picture", format.name()),
        None => {
            "is no picture: its first bytes are not those of JPEG, PNG, GIF, BMP, WebP, TIFF or PNM"
                .into()
        }
    }
}
