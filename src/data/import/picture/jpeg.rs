//! JPEG, by `jpeg-decoder`: in Rust alone, within 4 levels of libjpeg-turbo, and CMYK as it is stored.
//! (zune-jpeg, which `image` takes, is off by up to 59 levels in the last columns of subsampled pictures,
//! and bindings of libjpeg-turbo need cmake.) Which colours the components are is decided here by
//! libjpeg's rules, from markers that `jpeg-decoder` weighs otherwise.

use image::metadata::Orientation;
use jpeg_decoder::{ColorTransform, Decoder, Error, PixelFormat};

use super::{MAX_BYTES, Reader, Rgb, Stored, damaged, from_cmyk, repeated};

/// What the markers before the first scan say.
#[derive(Default)]
struct Header<'a> {
    is_jfif: bool,
    /// The transformation that an Adobe marker names.
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
    /// Second byte of the marker that begins the frame.
    process: u8,
    bits: u8,
    height: u16,
    width: u16,
    /// Identifiers of the components.
    components: Vec<u8>,
}

pub(super) fn read<'a>(bytes: &[u8], reader: &'a Reader) -> Result<Stored<'a>, String> {
    let header = Header::read(bytes)?;
    let unread = |what: &str| {
        Err(format!(
            "is a JPEG {what}, which is not read; convert it to PNG"
        ))
    };
    match header.process {
        0xc0..=0xc2 if header.bits != 8 => return unread("of more than 8 bits"),
        0xc0..=0xc2 => {}
        0xc3 => return unread("without loss"),
        0xc9..=0xcb => return unread("with arithmetic coding"),
        _ => return unread("of a rare kind"),
    }
    let (width, height) = (usize::from(header.width), usize::from(header.height));
    let room = reader.room(width as u64, height as u64)?;
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(MAX_BYTES as usize);
    if let Some(transform) = header.transform() {
        decoder.set_color_transform(transform);
    }
    let pixels = decoder.decode().map_err(|error| match error {
        Error::Unsupported(what) => format!("uses a feature of JPEG that is not read ({what:?})"),
        Error::Io(error) => damaged(&error),
        error => damaged(&error),
    })?;
    let format = decoder.info().map(|info| info.pixel_format);
    let bytes = match format {
        Some(PixelFormat::L8) => repeated(pixels),
        Some(PixelFormat::RGB24) => pixels,
        // Inverted already, as Pillow takes every JPEG of four colours, with Adobe's marker or without.
        Some(PixelFormat::CMYK32) => from_cmyk(&pixels),
        Some(PixelFormat::L16) | None => return unread("of more than 8 bits"),
    };
    let orientation = header.exif.and_then(Orientation::from_exif_chunk);
    let rgb = Rgb {
        width,
        height,
        bytes,
    };
    Ok(Stored {
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        ..Stored::new(rgb, room)?
    })
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Header<'a>, String> {
        let mut header = Header::default();
        let mut rest = &bytes[2..];
        loop {
            // Bytes between segments are passed over, as libjpeg does.
            let begin = rest
                .windows(2)
                .position(|two| two[0] == 0xff && !matches!(two[1], 0 | 0xff));
            let begin = begin.ok_or("is cut short")?;
            let marker = rest[begin + 1];
            rest = &rest[begin + 2..];
            if matches!(marker, 0x01 | 0xd0..=0xd7) {
                continue; // no content
            }
            let (length, _) = rest.split_first_chunk().ok_or("is cut short")?;
            let length = usize::from(u16::from_be_bytes(*length));
            let segment = rest.get(2..length).ok_or("is cut short")?;
            rest = &rest[length..];
            match (marker, segment) {
                (0xda | 0xd9, _) => break,
                (0xe0, [b'J', b'F', b'I', b'F', 0, ..]) => header.is_jfif = true,
                (
                    0xee,
                    [
                        b'A',
                        b'd',
                        b'o',
                        b'b',
                        b'e',
                        _,
                        _,
                        _,
                        _,
                        _,
                        _,
                        transform,
                        ..,
                    ],
                ) => {
                    header.adobe = Some(*transform);
                }
                (0xe1, [b'E', b'x', b'i', b'f', 0, 0, exif @ ..]) => header.exif = Some(exif),
                (0xc4 | 0xc8 | 0xcc, _) => {} // tables
                (0xc0..=0xcf, [bits, h0, h1, w0, w1, _, components @ ..]) => {
                    header.process = marker;
                    header.bits = *bits;
                    header.height = u16::from_be_bytes([*h0, *h1]);
                    header.width = u16::from_be_bytes([*w0, *w1]);
                    header.components = components.iter().step_by(3).copied().collect();
                }
                _ => {}
            }
        }
        match header.process {
            0 => Err("is damaged: a JPEG without a frame".into()),
            _ => Ok(header),
        }
    }

    /// libjpeg's rules; nothing of a grey picture.
    fn transform(&self) -> Option<ColorTransform> {
        match (&*self.components, self.adobe) {
            ([_, _, _], _) if self.is_jfif => Some(ColorTransform::YCbCr),
            ([_, _, _], Some(0)) => Some(ColorTransform::RGB),
            ([_, _, _], Some(_)) => Some(ColorTransform::YCbCr),
            ([b'R', b'G', b'B'], None) => Some(ColorTransform::RGB),
            ([_, _, _], None) => Some(ColorTransform::YCbCr),
            ([_, _, _, _], None | Some(0)) => Some(ColorTransform::CMYK),
            ([_, _, _, _], Some(_)) => Some(ColorTransform::YCCK),
            _ => None,
        }
    }
}
