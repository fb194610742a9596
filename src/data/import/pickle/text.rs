//! The strings of the oldest pickles, which are written as Python shows them.

/// What a string between quotes stands for (`S` of protocol 0); nothing where it is none.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (&quote, rest) = line.split_first()?;
    let (&end, inner) = rest.split_last()?;
    if quote != end || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut string = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            string.push(byte);
            continue;
        }
        string.push(match bytes.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            b'x' => 16 * hex(bytes.next()?)? + hex(bytes.next()?)?,
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    match bytes.next_if(|byte| matches!(byte, b'0'..=b'7')) {
                        Some(digit) => value = 8 * value + u32::from(digit - b'0'),
                        None => break,
                    }
                }
                u8::try_from(value).ok()?
            }
            byte @ (b'\\' | b'\'' | b'"') => byte,
            _ => return None,
        });
    }
    Some(string)
}

/// The text of a line whose characters beyond Latin-1 are `\uXXXX` (`V` of protocol 0), as UTF-8; nothing
/// where it is none.
pub(super) fn unicode(line: &[u8]) -> Option<Vec<u8>> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let n_digits = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                text.push(char::from(byte));
                rest = after;
                continue;
            }
        };
        let digits = rest.get(2..2 + n_digits)?;
        let mut value = 0u32;
        for &digit in digits {
            value = value.checked_mul(16)? + u32::from(hex(digit)?);
        }
        // Halves of pairs stand for nothing that has a name here.
        text.push(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[2 + n_digits..];
    }
    Some(text.into_bytes())
}

/// The bytes that a text stands for in Latin-1, as Python 3 writes bytes into pickles for Python 2; nothing
/// where a character is beyond it.
pub(super) fn latin_1(utf_8: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(utf_8).ok()?;
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings() {
        // As repr() of Python 2 writes them.
        for (line, string) in [
            (&b"'b'"[..], Some(&b"b"[..])),
            (b"\"it's\"", Some(b"it's")),
            (br"'\x00\xff\n\\\''", Some(b"\0\xff\n\\'")),
            (br"'\0\18\377'", Some(b"\0\x018\xff")),
            (b"''", Some(b"")),
            (b"'", None),
            (b"", None),
            (b"'a\"", None),
            (br"'\'", None),
            (br"'\xg0'", None),
            (br"'\400'", None),
        ] {
            assert_eq!(quoted(line).as_deref(), string, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn texts() {
        assert_eq!(unicode(b"a\xe9\\u20ac").unwrap(), "aé€".as_bytes());
        assert_eq!(unicode(b"\\U0001f600").unwrap(), "😀".as_bytes());
        assert_eq!(unicode(b"\\u20a"), None);
        assert_eq!(latin_1("aé".as_bytes()).unwrap(), b"a\xe9");
        assert_eq!(latin_1("€".as_bytes()), None);
    }
}
