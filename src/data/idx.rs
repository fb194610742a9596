//! IDX files, the format of the MNIST family: a header that says how many values there are, and the
//! values, of which only unsigned bytes are read.

use std::io::{self, ErrorKind, Read};

/// Most dimensions that a file may have: colour images, [n, height, width, channels].
const MAX_DIMENSIONS: u8 = 4;

/// The values of an IDX file, item by item in their order: images or labels. The file must end where its
/// header says.
#[derive(Debug)]
pub(super) struct Idx<R> {
    file: R,
    n: u32,
    /// Sizes of an item, the slowest first; none of a label.
    item: Vec<u32>,
    left: u32,
    /// Bytes read so far, of the file as it is when it is not compressed.
    offset: u64,
}

impl<R: Read> Idx<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong in words, of kind `InvalidData`, if it is no IDX file of unsigned bytes, or ends within
    /// the header; what reading fails with.
    pub(super) fn new(mut file: R) -> io::Result<Idx<R>> {
        let mut offset = 0;
        let mut word = || {
            let mut word = [0; 4];
            let n = read_up_to(&mut file, &mut word)?;
            offset += n as u64;
            match n {
                4 => Ok(word),
                _ => Err(invalid(&format!(
                    "ends at byte {offset}, within the header"
                ))),
            }
        };
        let n_dimensions = check_magic(word()?)?;
        let mut sizes = Vec::new();
        for _ in 0..n_dimensions {
            sizes.push(u32::from_be_bytes(word()?));
        }
        let n = sizes.remove(0);
        let idx = Idx {
            file,
            n,
            item: sizes,
            left: n,
            offset,
        };
        if idx.checked_bytes().is_none() {
            return Err(invalid(&format!(
                "its header says {:?} values, more than any file holds",
                idx.sizes()
            )));
        }
        // Billions of them would be no bytes at all.
        if idx.item_bytes() == 0 {
            return Err(invalid(&format!(
                "its header says items of {:?} values, which are none",
                idx.item
            )));
        }
        Ok(idx)
    }

    /// Items in the file, by its header.
    pub(super) fn n(&self) -> u32 {
        self.n
    }

    /// Sizes of an item, the slowest first; none of a label.
    pub(super) fn item(&self) -> &[u32] {
        &self.item
    }

    /// Bytes of an item.
    pub(super) fn item_bytes(&self) -> u64 {
        self.item.iter().map(|&size| u64::from(size)).product()
    }

    /// Bytes that the whole file has, by its header.
    pub(super) fn file_bytes(&self) -> u64 {
        self.checked_bytes()
            .expect("the header was checked when it was read")
    }

    fn checked_bytes(&self) -> Option<u64> {
        let header = 4 + 4 * (self.item.len() as u64 + 1);
        let sizes = self.item.iter().chain([&self.n]);
        let product = |product: u64, &size: &u32| product.checked_mul(u64::from(size));
        sizes
            .copied()
            .collect::<Vec<_>>()
            .iter()
            .try_fold(1, product)?
            .checked_add(header)
    }

    fn sizes(&self) -> Vec<u32> {
        [&[self.n], &self.item[..]].concat()
    }

    /// Reads the next items, `most` of them or what is left, into `items`, in the place of what was there;
    /// after the last one, that the file ends. Their number.
    ///
    /// # Errors
    /// As [`Idx::new`], where the file ends early or late.
    pub(super) fn read(&mut self, most: u32, items: &mut Vec<u8>) -> io::Result<u32> {
        let n = self.left.min(most);
        items.clear();
        let bytes = u64::from(n) * self.item_bytes();
        // Nothing is allocated for what the header alone says is there.
        let read = (&mut self.file).take(bytes).read_to_end(items)? as u64;
        self.offset += read;
        if read < bytes {
            let whole = u64::from(self.n - self.left) + read / self.item_bytes().max(1);
            return Err(invalid(&format!(
                "ends at byte {}, after {whole} of the {} items that its header says",
                self.offset, self.n
            )));
        }
        self.left -= n;
        if self.left == 0 {
            self.end()?;
        }
        Ok(n)
    }

    /// Reading to the end also has a decompressor compare its check sum.
    fn end(&mut self) -> io::Result<()> {
        if read_up_to(&mut self.file, &mut [0])? == 0 {
            return Ok(());
        }
        Err(invalid(&format!(
            "goes on after byte {}, where by its header ({:?}) it should end",
            self.offset,
            self.sizes()
        )))
    }
}

/// Number of dimensions of a file of unsigned bytes, by its first four bytes.
fn check_magic(magic: [u8; 4]) -> io::Result<u8> {
    let [0, 0, kind, n_dimensions] = magic else {
        return Err(invalid(&format!(
            "begins with the bytes {magic:?}, which is no IDX file (0, 0, the type, the number of \
             dimensions)"
        )));
    };
    let kind = match kind {
        8 => None,
        9 => Some("signed bytes"),
        11 => Some("16-bit integers"),
        12 => Some("32-bit integers"),
        13 => Some("32-bit floats"),
        14 => Some("64-bit floats"),
        _ => {
            return Err(invalid(&format!(
                "says at byte 2 that its values are of type {kind}, which no IDX file has"
            )));
        }
    };
    if let Some(kind) = kind {
        let problem = format!(
            "holds {kind} (byte 2), not unsigned bytes; write it anew with values from 0 to 255"
        );
        return Err(io::Error::new(ErrorKind::InvalidData, problem));
    }
    match n_dimensions {
        1..=MAX_DIMENSIONS => Ok(n_dimensions),
        _ => Err(invalid(&format!(
            "has {n_dimensions} dimensions (byte 3), not 1 to {MAX_DIMENSIONS}"
        ))),
    }
}

/// Fills the buffer as far as the file goes; the number of bytes.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// That a file is damaged or none of this kind.
fn invalid(problem: &str) -> io::Error {
    let problem = format!("{problem}; copy or download it again");
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the sizes and as many values as told.
    fn file(sizes: &[u32], values: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend((0..values).map(|i| i as u8));
        bytes
    }

    fn read(bytes: &[u8], most: u32) -> io::Result<Vec<Vec<u8>>> {
        let mut idx = Idx::new(bytes)?;
        let mut chunks = Vec::new();
        loop {
            let mut items = Vec::new();
            if idx.read(most, &mut items)? == 0 {
                return Ok(chunks);
            }
            chunks.push(items);
        }
    }

    #[test]
    fn items_come_in_order() {
        let bytes = file(&[5, 2, 1], 10);
        let idx = Idx::new(&bytes[..]).unwrap();
        assert_eq!((idx.n(), idx.item(), idx.item_bytes()), (5, &[2, 1][..], 2));
        assert_eq!(idx.file_bytes(), bytes.len() as u64);
        for most in [1, 2, 3, 5, 99] {
            let chunks = read(&bytes, most).unwrap();
            assert_eq!(chunks.concat(), (0..10).collect::<Vec<u8>>());
            assert_eq!(chunks.len(), 5usize.div_ceil(most as usize), "{most}");
        }
        assert_eq!(read(&file(&[3], 3), 2).unwrap(), [vec![0, 1], vec![2]]);
        assert!(read(&file(&[0, 28, 28], 0), 2).unwrap().is_empty());
    }

    #[test]
    fn files_that_do_not_fit_their_headers_are_refused() {
        let good = file(&[2, 2, 2], 8);
        let of_type = |kind: u8| {
            let mut bytes = good.clone();
            bytes[2] = kind;
            bytes
        };
        let cases = [
            (good[..3].to_vec(), "ends at byte 3, within the header"),
            (good[..15].to_vec(), "ends at byte 15, within the header"),
            (
                good[..16 + 7].to_vec(),
                "ends at byte 23, after 1 of the 2 items that its header says",
            ),
            (
                [&good[..], &[0]].concat(),
                "goes on after byte 24, where by its header ([2, 2, 2]) it should end; copy",
            ),
            (
                b"\x89PNG".to_vec(),
                "begins with the bytes [137, 80, 78, 71], which is no IDX file",
            ),
            (of_type(9), "holds signed bytes (byte 2)"),
            (of_type(11), "holds 16-bit integers"),
            (of_type(12), "holds 32-bit integers"),
            (of_type(13), "holds 32-bit floats"),
            (of_type(14), "holds 64-bit floats"),
            (of_type(10), "says at byte 2 that its values are of type 10"),
            (file(&[], 0), "has 0 dimensions (byte 3), not 1 to 4"),
            (file(&[1; 5], 1), "has 5 dimensions (byte 3), not 1 to 4"),
            (file(&[u32::MAX; 4], 9), "more than any file holds"),
            (file(&[u32::MAX, 0, 9], 0), "which are none"),
            // Nothing is allocated for the items that are not there.
            (
                file(&[u32::MAX, 65_535, 65_535], 9),
                "ends at byte 25, after 0 of the 4294967295 items",
            ),
        ];
        for (bytes, problem) in cases {
            let error = read(&bytes, 2).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
