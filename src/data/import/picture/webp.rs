//! What `image` does not read of WebP without a bound.

/// The EXIF chunk of a file, where it is all there. (The crate reserves as much as its header says.)
pub(super) fn exif(webp: &[u8]) -> Option<&[u8]> {
    let mut rest = webp.get(12..)?;
    if !rest.starts_with(b"VP8X") {
        return None;
    }
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        if name == b"EXIF" {
            return after.get(..length);
        }
        rest = after.get(length.checked_next_multiple_of(2)?..)?;
    }
}
