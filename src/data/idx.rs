//! IDX files, the format of the MNIST family: images and their labels, one pair at a time.

use std::io::{self, ErrorKind, Read};

/// Height and width of an image.
pub(super) const SIDE: usize = 28;

/// The labels and images of a pair of IDX files, in their order. Both must end where their headers
/// say.
pub(super) struct Pairs<R> {
    images: R,
    labels: R,
    left: u32,
}

impl<R: Read> Pairs<R> {
    /// Reads the headers.
    ///
    /// # Errors
    /// If a file is no IDX file of bytes, or they are not so many 28x28 images and labels.
    pub(super) fn new(mut images: R, mut labels: R) -> io::Result<Pairs<R>> {
        let [n_images, height, width] = header(&mut images)?;
        let [n_labels] = header(&mut labels)?;
        if [height, width] != [SIDE as u32; 2] {
            return Err(invalid(format!(
                "the images are {height}x{width}, not 28x28"
            )));
        }
        if n_images != n_labels {
            return Err(invalid(format!("{n_images} images have {n_labels} labels")));
        }
        Ok(Pairs {
            images,
            labels,
            left: n_images,
        })
    }

    fn pair(&mut self) -> io::Result<(u8, [u8; SIDE * SIDE])> {
        let (mut label, mut image) = ([0; 1], [0; SIDE * SIDE]);
        self.labels.read_exact(&mut label)?;
        self.images.read_exact(&mut image)?;
        self.left -= 1;
        if self.left == 0 {
            self.end()?;
        }
        Ok((label[0], image))
    }

    /// Reading to the end also has a decompressor compare its checksum.
    fn end(&mut self) -> io::Result<()> {
        for (file, name) in [(&mut self.images, "image"), (&mut self.labels, "label")] {
            if file.read(&mut [0])? != 0 {
                return Err(invalid(format!("bytes follow the last {name}")));
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Pairs<R> {
    type Item = io::Result<(u8, [u8; SIDE * SIDE])>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.left > 0).then(|| self.pair())
    }
}

/// Reads the sizes of an IDX file of unsigned bytes in `D` dimensions, the slowest first.
fn header<const D: usize>(file: &mut impl Read) -> io::Result<[u32; D]> {
    let mut word = || {
        let mut word = [0; 4];
        file.read_exact(&mut word).map(|()| word)
    };
    let magic = word()?; // two zeros, the type (8: unsigned byte), the number of dimensions
    if magic != [0, 0, 8, D as u8] {
        return Err(invalid(format!(
            "a header is {magic:?} in place of [0, 0, 8, {D}]"
        )));
    }
    let mut sizes = [0; D];
    for size in &mut sizes {
        *size = u32::from_be_bytes(word()?);
    }
    Ok(sizes)
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the sizes and as many values as told.
    fn file(sizes: &[u32], values: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend((0..values).map(|i| (i / 784) as u8 + 1));
        bytes
    }

    fn read(images: &[u8], labels: &[u8]) -> io::Result<Vec<(u8, [u8; 784])>> {
        Pairs::new(images, labels)?.collect()
    }

    #[test]
    fn pairs_come_in_order() {
        let pairs = read(
            &file(&[2, 28, 28], 2 * 784),
            &[0, 0, 8, 1, 0, 0, 0, 2, 7, 9],
        );
        assert_eq!(pairs.unwrap(), [(7, [1; 784]), (9, [2; 784])]);
        assert_eq!(read(&file(&[0, 28, 28], 0), &file(&[0], 0)).unwrap(), []);
    }

    #[test]
    fn files_that_do_not_fit_their_headers_are_refused() {
        const CUT: &str = "ends early";
        let (images, labels) = (file(&[2, 28, 28], 2 * 784), file(&[2], 2));
        let cases = [
            (&images[..3], &labels[..], CUT),
            (&images[..15], &labels, CUT),
            (&images[..16 + 784 + 783], &labels, CUT),
            (&images, &labels[..9], CUT),
            (
                &labels,
                &labels,
                "a header is [0, 0, 8, 1] in place of [0, 0, 8, 3]",
            ),
            (
                &images,
                &images,
                "a header is [0, 0, 8, 3] in place of [0, 0, 8, 1]",
            ),
            (&images, &file(&[3], 3), "2 images have 3 labels"),
            (
                &file(&[2, 32, 28], 2 * 784),
                &labels,
                "the images are 32x28, not 28x28",
            ),
            (
                &[&images[..], &[0]].concat(),
                &labels,
                "bytes follow the last image",
            ),
            (
                &images,
                &[&labels[..], &[0]].concat(),
                "bytes follow the last label",
            ),
        ];
        for (case, (images, labels, problem)) in cases.into_iter().enumerate() {
            let error = read(images, labels).unwrap_err();
            match problem {
                CUT => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "case {case}"),
                _ => assert_eq!(error.to_string(), problem, "case {case}"),
            }
        }
    }
}
