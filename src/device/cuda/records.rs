//! The data that a plan loads batches of, as it lies on the device: the bytes of all images, or the
//! words of a text.

use super::driver::{DriverError, Stream};
use crate::data::{Augment, Dataset, RECORD_BYTES};
use crate::device::{Input, InputSource};

/// Images of a copy.
const CHUNK: usize = 1024;

/// What is loaded from, if anything is.
#[derive(Clone, Copy)]
pub struct Records<'a>(Option<InputSource<'a>>);

impl<'a> Records<'a> {
    /// Those of an input.
    pub fn new(input: Option<&Input<'a>>) -> Records<'a> {
        Records(input.map(|input| input.source))
    }

    /// Records of an epoch at most.
    pub fn n(&self) -> usize {
        match self.0 {
            None => 0,
            Some(InputSource::Images { dataset, .. }) => n_images(dataset),
            Some(InputSource::Tokens(tokens)) => tokens.len(),
        }
    }

    /// Words of a text.
    pub fn n_tokens(&self) -> usize {
        match self.0 {
            Some(InputSource::Tokens(tokens)) => tokens.len(),
            _ => 0,
        }
    }

    /// Which views of images are loaded, as in `kernels/load_batch.cu`.
    pub fn augment(&self) -> i32 {
        match self.0 {
            Some(InputSource::Images { augment, .. }) => match augment {
                Augment::UpsampleCrop => 0,
                Augment::PadCrop => 1,
                Augment::None => 2,
            },
            _ => 2,
        }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        match self.0 {
            Some(InputSource::Images { dataset, .. }) => n_images(dataset) * RECORD_BYTES,
            _ => self.n_tokens() * size_of::<u32>(),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn upload(&self, stream: &mut dyn Stream, address: u64) -> Result<(), DriverError> {
        match self.0 {
            None => Ok(()),
            Some(InputSource::Images { dataset, .. }) => upload_images(stream, address, dataset),
            Some(InputSource::Tokens(tokens)) => {
                stream.write(address, bytemuck::cast_slice(tokens))
            }
        }
    }
}

fn n_images(dataset: &Dataset) -> usize {
    dataset.n_train() + dataset.n_test()
}

/// Writes the bytes of all records, one after the other.
fn upload_images(
    stream: &mut dyn Stream,
    address: u64,
    dataset: &Dataset,
) -> Result<(), DriverError> {
    let n = n_images(dataset);
    let mut bytes = Vec::with_capacity(CHUNK * RECORD_BYTES);
    for first in (0..n).step_by(CHUNK) {
        bytes.clear();
        for record in first..n.min(first + CHUNK) {
            let (label, image) = dataset.record(record);
            bytes.push(label);
            bytes.extend_from_slice(image);
        }
        stream.write(address + (first * RECORD_BYTES) as u64, &bytes)?;
    }
    Ok(())
}
