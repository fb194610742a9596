//! Which format of pictures a file has, by its first bytes.

use super::pnm;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Format {
    Jpeg,
    Png,
    Gif,
    Bmp,
    WebP,
    Tiff,
    Pnm,
}

/// Lengths of the headers that BMP files have, behind the 14 bytes that all of them begin with.
const BMP_HEADERS: [u32; 8] = [12, 16, 40, 52, 56, 64, 108, 124];

/// The format of a file that begins with `bytes` (all of them, or the first); nothing where it is no
/// picture that is read. What two letters begin is one only if a header follows: texts begin with "BM" too.
pub(in crate::data) fn format_of(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [0x89, b'P', b'N', b'G', ..] => Some(Format::Png),
        [b'G', b'I', b'F', b'8', ..] => Some(Format::Gif),
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Some(Format::Tiff),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(Format::WebP),
        [b'B', b'M', ..] if has_bmp_header(bytes) => Some(Format::Bmp),
        [b'P', b'1'..=b'6', ..] if pnm::has_header(bytes) => Some(Format::Pnm),
        _ => None,
    }
}

fn has_bmp_header(bytes: &[u8]) -> bool {
    let length = bytes.get(14..).and_then(<[u8]>::first_chunk);
    length.is_some_and(|four| BMP_HEADERS.contains(&u32::from_le_bytes(*four)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_sounds_are_no_pictures() {
        for (bytes, format) in [
            (&b"II*\0"[..], Some(Format::Tiff)),
            (b"MM\0+", Some(Format::Tiff)),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some(Format::WebP)),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"RIFF\x24\0\0\0AVI LIST", None),
            (
                b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
                Some(Format::Bmp),
            ),
            (b"BMW and other cars that people drive", None),
            (b"BM", None),
            (b"P6 2 2 255\n", Some(Format::Pnm)),
            (b"P5\n# by hand\n2 2\n255\n", Some(Format::Pnm)),
            (b"P4\n8 1\n\xff", Some(Format::Pnm)),
            (b"P1 2 2\n0110", Some(Format::Pnm)),
            (b"P3 1 1 9 1 2 3", Some(Format::Pnm)),
            (b"P1 is a text", None),
            (b"P1 2 players and 3 dice", None),
            (b"P1 10 20 apples", None),
            (b"P6 and P5", None),
            (b"P2 1 2 3rd", None),
            (b"P6", None),
            (b"", None),
        ] {
            assert_eq!(format_of(bytes), format, "{}", bytes.escape_ascii());
        }
    }
}
