//! The records of an event file, as TensorFlow's `record_writer.cc` and `event.proto` have them: the length of
//! a message, 8 bytes, and its checksum, 4 bytes; the message and its checksum. Lowest byte first.

use prost::Message;

/// What an event file begins with.
pub const VERSION: &str = "brain.Event:2";

/// Bytes around a message.
const FRAME: usize = 16;

/// Something that was seen; declared by hand, as far as it is written here.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// The sample.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// Of the first event alone.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    /// Of all others.
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
}

/// Values of one step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// One a scalar.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A scalar.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// Its name.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// What it is: one of several kinds of value, so that a zero is written too.
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
}

/// Adds an event's record to some bytes.
pub fn write(event: &Event, bytes: &mut Vec<u8>) {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(checksum(&length).to_le_bytes());
    bytes.extend(&message);
    bytes.extend(checksum(&message).to_le_bytes());
}

/// The events at the start of some bytes and how many bytes they are, up to one that is torn or none.
pub fn read(bytes: &[u8]) -> (Vec<Event>, usize) {
    let (mut events, mut at) = (Vec::new(), 0);
    while let Some((event, length)) = first(&bytes[at..]) {
        events.push(event);
        at += length;
    }
    (events, at)
}

fn first(bytes: &[u8]) -> Option<(Event, usize)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (length_checksum, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*length_checksum) != checksum(length) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (message, rest) = rest.split_at_checked(length)?;
    let message_checksum = rest.first_chunk::<4>()?;
    if u32::from_le_bytes(*message_checksum) != checksum(message) {
        return None;
    }
    Some((Event::decode(message).ok()?, length + FRAME))
}

/// The CRC-32C, turned by 15 bits and moved on, as TensorFlow's `crc32c.h` masks it.
fn checksum(bytes: &[u8]) -> u32 {
    const MASK_DELTA: u32 = 0xa282_ead8;
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(step: i64) -> Event {
        Event {
            wall_time: 1.5,
            step,
            file_version: None,
            summary: Some(Summary {
                value: vec![Value {
                    tag: "reward".to_owned(),
                    simple_value: Some(0.0),
                }],
            }),
        }
    }

    /// The first record of files that TensorFlow writes, byte by byte but for the time.
    #[test]
    fn the_first_record_is_that_of_tensorflow() {
        let mut bytes = Vec::new();
        let first = Event {
            file_version: Some(VERSION.to_owned()),
            ..Event::default()
        };
        write(&first, &mut bytes);
        assert_eq!(bytes[..8], 15u64.to_le_bytes());
        assert_eq!(bytes[12..27], *b"\x1a\x0dbrain.Event:2");
        assert_eq!(read(&bytes), (vec![first], bytes.len()));
    }

    #[test]
    fn what_is_cut_or_changed_ends_the_events() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for step in 0..4 {
            write(&event(step), &mut bytes);
            ends.push(bytes.len());
        }
        for length in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            let (events, good) = read(&bytes[..length]);
            assert_eq!((events.len(), good), (whole, ends[whole]), "{length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let before = ends.iter().filter(|end| **end <= at).count() - 1;
            assert_eq!(read(&changed).1, ends[before], "{at}");
        }
        // What a disk may have in place of what was not synced.
        bytes.extend([0; 4096]);
        assert_eq!(read(&bytes).1, ends[4]);
    }
}
