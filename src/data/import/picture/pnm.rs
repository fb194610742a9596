//! PBM, PGM and PPM, as text or as bytes. (`image` leaves values as they are where the largest is not
//! 255; Pillow scales them.)

use super::{Reader, Rgb, Stored};

/// What stands before the values.
struct Header<'a> {
    /// 1 to 3 as text, 4 to 6 as bytes: bits, grey, colours.
    kind: u8,
    width: u64,
    height: u64,
    /// 1 of bits.
    largest: u64,
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    /// Of a file that begins with its kind.
    fn read(bytes: &'a [u8]) -> Result<Header<'a>, String> {
        let kind = bytes[1] - b'0';
        let mut rest = &bytes[2..];
        if !matches!(rest, [b'#', ..]) && !rest.first().is_some_and(u8::is_ascii_whitespace) {
            return Err("is damaged: its size is missing".into());
        }
        let (width, height) = (number(&mut rest)?, number(&mut rest)?);
        let largest = match kind {
            1 | 4 => 1,
            _ => number(&mut rest)?,
        };
        Ok(Header {
            kind,
            width,
            height,
            largest,
            rest,
        })
    }
}

/// Whether a header follows the two letters that files of this kind begin with, and what can be a value.
pub(super) fn has_header(bytes: &[u8]) -> bool {
    let Ok(header) = Header::read(bytes) else {
        return false;
    };
    match (header.kind, header.rest) {
        (_, []) => true,
        (1, rest) => !matches!(rest.trim_ascii_start(), [first, ..] if !b"01#".contains(first)),
        (_, [after, ..]) => after.is_ascii_whitespace() || *after == b'#',
    }
}

pub(super) fn read<'a>(bytes: &[u8], reader: &'a Reader) -> Result<Stored<'a>, String> {
    let Header {
        kind,
        width,
        height,
        largest,
        rest,
    } = Header::read(bytes)?;
    if !(1..=65_535).contains(&largest) {
        return Err(format!(
            "is damaged: its largest value is {largest}, not 1 to 65535"
        ));
    }
    let room = reader.room(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let channels = if matches!(kind, 3 | 6) { 3 } else { 1 };
    let n = width * height * channels;
    let scale = Scale {
        largest: largest as u32,
        is_grey: channels == 1,
    };
    // The header ends with one space or line end, but a text's values may follow many.
    let content = rest.get(1..).unwrap_or_default();
    let values = match kind {
        1 => text_bits(rest, n)?,
        4 => packed_bits(content, width, height)?,
        2 | 3 => text_values(rest, n, &scale)?,
        _ => byte_values(content, n, &scale)?,
    };
    let bytes = match channels {
        1 => super::repeated(values),
        _ => values,
    };
    let rgb = Rgb {
        width,
        height,
        bytes,
    };
    Ok(Stored {
        is_grey_16: channels == 1 && largest > 255,
        ..Stored::new(rgb, room)?
    })
}

/// Numbers in digits.
fn text_values(text: &[u8], n: usize, scale: &Scale) -> Result<Vec<u8>, String> {
    // A value takes a space and a digit at least.
    if text.len() < 2 * n {
        return Err("is cut short".into());
    }
    let mut rest = text;
    let largest = u64::from(scale.largest);
    let values = (0..n).map(|_| number(&mut rest));
    let values = values.map(|value| value.map(|value| scale.byte(value.min(largest) as u32)));
    values.collect()
}

/// Numbers of a byte each, or of two where one cannot hold the largest.
fn byte_values(content: &[u8], n: usize, scale: &Scale) -> Result<Vec<u8>, String> {
    if scale.largest < 256 {
        let values = content.get(..n).ok_or("is cut short")?;
        return Ok(values.iter().map(|&v| scale.byte(v.into())).collect());
    }
    let values = content.get(..2 * n).ok_or("is cut short")?;
    let values = values.as_chunks().0.iter();
    Ok(values
        .map(|two| scale.byte(u16::from_be_bytes(*two).into()))
        .collect())
}

/// How values become bytes.
struct Scale {
    largest: u32,
    is_grey: bool,
}

impl Scale {
    fn byte(&self, value: u32) -> u8 {
        let value = value.min(self.largest);
        match self.largest {
            255 => value as u8,
            // Grey of 16 bits keeps its upper 8.
            largest if largest > 255 && self.is_grey => {
                (rounded(value, 65_535, largest) >> 8) as u8
            }
            largest => rounded(value, 255, largest) as u8,
        }
    }
}

/// `value` of `largest` as a number up to `new`, halves to even, as Python rounds.
fn rounded(value: u32, new: u32, largest: u32) -> u32 {
    (f64::from(value) / f64::from(largest) * f64::from(new)).round_ties_even() as u32
}

/// The next number of a header or a text, after spaces and comments.
fn number(rest: &mut &[u8]) -> Result<u64, String> {
    loop {
        match rest {
            [b'#', ..] => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                *rest = &rest[end.unwrap_or(rest.len())..];
            }
            [space, after @ ..] if space.is_ascii_whitespace() => *rest = after,
            _ => break,
        }
    }
    let end = rest.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, after) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = after;
    match digits {
        [] if after.is_empty() => Err("is cut short".into()),
        [] => Err("is damaged: a number is missing".into()),
        [_, _, _, _, _, _, _, _, _, _, ..] => {
            Err("is damaged: a number of ten digits and more".into())
        }
        _ => Ok(digits
            .iter()
            .fold(0, |n, digit| 10 * n + u64::from(digit - b'0'))),
    }
}

/// Digits 0 (white) and 1 (black), with or without spaces.
fn text_bits(text: &[u8], n: usize) -> Result<Vec<u8>, String> {
    let mut bits = Vec::new();
    let mut rest = text.iter();
    while bits.len() < n {
        match rest.next() {
            Some(b'0') => bits.push(255),
            Some(b'1') => bits.push(0),
            Some(b'#') => {
                rest.find(|byte| matches!(byte, b'\n' | b'\r'));
            }
            Some(space) if space.is_ascii_whitespace() => {}
            Some(_) => return Err("is damaged: a pixel is neither 0 nor 1".into()),
            None => return Err("is cut short".into()),
        }
    }
    Ok(bits)
}

/// Rows of whole bytes, the highest bit first; 1 is black.
fn packed_bits(content: &[u8], width: usize, height: usize) -> Result<Vec<u8>, String> {
    let row_bytes = width.div_ceil(8);
    let rows = content.get(..row_bytes * height).ok_or("is cut short")?;
    let row = |row: &[u8]| -> Vec<u8> {
        let bit = |x: usize| row[x / 8] >> (7 - x % 8) & 1;
        (0..width)
            .map(|x| if bit(x) == 1 { 0 } else { 255 })
            .collect()
    };
    Ok(rows.chunks_exact(row_bytes).flat_map(row).collect())
}
