//! How a weights file begins: what tells it from other files, and what its header must not hold.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::disk::input;

/// Bytes of the longest header that safetensors allows.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Bytes of the header's length.
pub(super) const LENGTH_BYTES: usize = 8;

/// The entry of the header that is no tensor.
pub(super) const STRINGS: &str = "__metadata__";

/// As many bytes of a file as its header says that there are, and one more where there are more.
pub(super) fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let input = input::open(path)?;
    let mut bytes = vec![];
    (&input.file)
        .take(LENGTH_BYTES as u64)
        .read_to_end(&mut bytes)?;
    let header = bytes.first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
    if header > MOST_HEADER_BYTES {
        return Ok(bytes); // refused for that
    }
    (&input.file).take(header).read_to_end(&mut bytes)?;
    let header: Option<safetensors::tensor::Metadata> = bytes
        .get(LENGTH_BYTES..)
        .and_then(|json| serde_json::from_slice(json).ok());
    let n_data = header.map_or(0, |header| header.data_len() as u64);
    if let Some(length) = input.length {
        let left = length.saturating_sub(bytes.len() as u64).min(n_data);
        let left = usize::try_from(left).map_err(io::Error::other)?;
        bytes.try_reserve_exact(left + 1)?;
    }
    let rest = n_data.saturating_add(1);
    (&input.file).take(rest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether bytes begin as weights do: with the length of a header, which leaves zeros where no text has any,
/// and the header.
pub fn begins_weights(bytes: &[u8]) -> bool {
    bytes.get(4..9) == Some(&[0, 0, 0, 0, b'{'])
}

/// Whether a file begins as weights do. What cannot be looked at is said where it is read.
pub fn is_weights(path: &Path) -> bool {
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    let mut start = vec![];
    let mut read = || File::open(path)?.take(9).read_to_end(&mut start);
    is_file && read().is_ok() && begins_weights(&start)
}

/// Whether bytes begin as a JSON object does, in place of the length of a header, of whose last bytes one is zero.
pub(super) fn begins_json(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let begins = text.trim_ascii_start().first() == Some(&b'{');
    begins && !bytes.iter().take(LENGTH_BYTES).any(|&byte| byte == 0)
}

/// A name that a header has twice, among its tensors or among its strings: readers differ in which of both they take.
///
/// # Errors
/// Where it is no header.
pub(super) fn repeated(header: &[u8]) -> serde_json::Result<Option<String>> {
    let mut json = serde_json::Deserializer::from_slice(header);
    Names { of_strings: false }.deserialize(&mut json)
}

/// Finds a name that an object has twice.
struct Names {
    of_strings: bool,
}

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<String>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None) // no strings
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<String>, A::Error> {
        let mut seen = HashSet::new();
        let mut twice = None;
        while let Some(name) = entries.next_key::<String>()? {
            if !self.of_strings && name == STRINGS {
                let within = entries.next_value_seed(Names { of_strings: true })?;
                twice = twice.or(within);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
            if seen.contains(&name) {
                twice = twice.or(Some(name));
            } else {
                seen.insert(name);
            }
        }
        Ok(twice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_there_twice_are_found() {
        let tensor = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        let twice = |header: &str| repeated(header.replace('T', tensor).as_bytes()).unwrap();
        for header in [
            "{}",
            r#"{"a":T,"b":T}"#,
            r#"{"__metadata__":null,"a":T}"#,
            r#"{"__metadata__":{"a":"x","__metadata__":"y"},"a":T}"#,
        ] {
            assert_eq!(twice(header), None, "{header}");
        }
        for (header, name) in [
            (r#"{"a":T,"b":T,"a":T}"#, "a"),
            (r#"{"a":T,"\u0061":T}"#, "a"),
            (r#"{"__metadata__":{"seed":"1","seed":"2"},"a":T}"#, "seed"),
            (r#"{"__metadata__":{},"__metadata__":{}}"#, "__metadata__"),
            (r#"{"__metadata__":null,"b":T,"b":T}"#, "b"),
        ] {
            assert_eq!(twice(header).as_deref(), Some(name), "{header}");
        }
        repeated(b"[]").unwrap_err();
    }

    #[test]
    fn weights_and_json_are_told_apart() {
        let weights = [&123u64.to_le_bytes()[..], b"{\"a\":"].concat();
        assert!(begins_weights(&weights) && !begins_json(&weights));
        for json in [
            "{}",
            "{\"space\":\"conv\"}",
            "\u{feff}{\"a\":1}",
            "\n  {\"a\":1}",
        ] {
            let json = json.as_bytes();
            assert!(begins_json(json) && !begins_weights(json));
            assert!(begins_json(&json[..json.len().min(LENGTH_BYTES)]));
        }
        for neither in [&b""[..], b"PK\x03\x04", b"[1, 2, 3]", b"{\0\0\0\0\0\0\0"] {
            assert!(!begins_json(neither) && !begins_weights(neither));
        }
    }
}
