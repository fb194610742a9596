//! Files of pictures as 8-bit RGB: what torchvision's `ImageFolder` with Pillow hands on by
//! `convert("RGB")`, so that a network sees here what it sees there.
//!
//! PNG, BMP and WebP are read by `image`, the other formats where that crate gives something else than
//! Pillow does or too little: see the head of each file.

mod format;
mod gif;
mod jpeg;
mod pnm;
mod tiff;
mod webp;

use std::io::Cursor;
use std::sync::{Mutex, MutexGuard};

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use crate::data::known_format;
pub(in crate::data) use format::{Format, format_of};

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

/// A picture that was read. While it is there, another one of many pixels waits.
pub struct Picture<'a> {
    /// Its pixels.
    pub rgb: Rgb,
    /// Whether its file says that it is to be turned or mirrored to stand upright.
    pub is_tagged: bool,
    /// Whether that was done.
    pub is_turned: bool,
    /// Whether it is grey with 16 bits a pixel, of which the upper 8 were taken.
    pub is_grey_16: bool,
    /// Given back after the pixels.
    _room: Room<'a>,
}

/// How pictures are read, from any thread.
#[derive(Debug)]
pub struct Reader {
    upright: bool,
    /// Held while a picture of many pixels is in memory.
    large: Mutex<()>,
}

/// What a decoder gives: pixels as stored, and the orientation tag.
struct Stored<'a> {
    rgb: Rgb,
    orientation: Orientation,
    is_grey_16: bool,
    room: Room<'a>,
}

impl<'a> Stored<'a> {
    /// Pixels as a decoder gives them, or in words that they are not as many as there should be.
    fn new(rgb: Rgb, room: Room<'a>) -> Result<Stored<'a>, String> {
        let n_bytes = 3 * rgb.width * rgb.height;
        if rgb.bytes.len() != n_bytes {
            return Err(format!(
                "is damaged: it has {} bytes of colours, not {n_bytes} ({} x {} pixels)",
                rgb.bytes.len(),
                rgb.width,
                rgb.height
            ));
        }
        Ok(Stored {
            rgb,
            orientation: Orientation::NoTransforms,
            is_grey_16: false,
            room,
        })
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
    pub fn read(&self, bytes: &[u8]) -> Result<Picture<'_>, String> {
        let format = format_of(bytes).ok_or_else(|| no_picture(bytes))?;
        let Stored {
            mut rgb,
            orientation,
            is_grey_16,
            room,
        } = self.stored(bytes, format)?;
        let is_tagged = orientation != Orientation::NoTransforms;
        let is_turned = is_tagged && (self.upright || format == Format::Tiff);
        if is_turned {
            rgb = rgb.turned(orientation);
        }
        Ok(Picture {
            rgb,
            is_tagged,
            is_turned,
            is_grey_16,
            _room: room,
        })
    }

    /// The picture as it is stored.
    fn stored(&self, bytes: &[u8], format: Format) -> Result<Stored<'_>, String> {
        let file = Cursor::new(bytes);
        match format {
            Format::Jpeg => jpeg::read(bytes, self),
            Format::Gif => gif::read(bytes, self),
            Format::Tiff => tiff::read(bytes, self),
            Format::Pnm => pnm::read(bytes, self),
            Format::Png => {
                let mut decoder =
                    PngDecoder::with_limits(file, limited(png_bytes(bytes))).map_err(words)?;
                // A tag that cannot be read turns nothing.
                let exif = decoder.exif_metadata().ok().flatten();
                self.by_image(decoder, exif.as_deref())
            }
            Format::WebP => {
                let decoder = WebPDecoder::new(file).map_err(words)?;
                self.by_image(decoder, webp::exif(bytes))
            }
            Format::Bmp => {
                let decoder = BmpDecoder::new(file).map_err(words)?;
                let stored = self.by_image(decoder, None)?;
                Ok(as_pillow_widens(bytes, stored))
            }
        }
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

    fn by_image(
        &self,
        mut decoder: impl ImageDecoder,
        exif: Option<&[u8]>,
    ) -> Result<Stored<'_>, String> {
        let (width, height) = decoder.dimensions();
        let room = self.room(width.into(), height.into())?;
        decoder.set_limits(limited(MAX_BYTES)).map_err(words)?;
        let orientation = exif.and_then(Orientation::from_exif_chunk);
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
        let rgb = Rgb {
            width,
            height,
            bytes,
        };
        Ok(Stored {
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            is_grey_16,
            ..Stored::new(rgb, room)?
        })
    }
}

/// So many bytes for a decoder of `image`.
fn limited(bytes: u64) -> image::Limits {
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

/// Bytes that the decoder of a PNG may take besides the picture: for a row, and for texts and colour
/// profiles, which it unpacks. A profile that does not fit is passed over.
fn png_bytes(png: &[u8]) -> u64 {
    const TYPE_AND_LENGTH: usize = 16;
    let width = png.get(TYPE_AND_LENGTH..).and_then(<[u8]>::first_chunk);
    let width = width.map_or(0, |four| u32::from_be_bytes(*four));
    let row = 8 * u64::from(width).min(MAX_PIXELS);
    (1 << 24) + 4 * png.len() as u64 + row
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
fn as_pillow_widens<'a>(bmp: &[u8], mut stored: Stored<'a>) -> Stored<'a> {
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
