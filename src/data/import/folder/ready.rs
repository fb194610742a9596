//! A file of a picture as an image of 32x32: read within limits, decoded, brought to its size.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use super::super::Fit;
use super::super::picture::Reader;
use crate::data::IMAGE_BYTES;
use crate::text;

/// A larger file is none that a network is shown 32x32 of.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Files from this size on are read one at a time, so that memory does not grow with threads.
const LARGE_FILE_BYTES: u64 = 1 << 25;

/// Why nothing is read from what only stands where a file could.
pub(super) const NO_FILE: &str = "is no file but a pipe, a socket or a device";

/// A picture that is ready to be written or looked at by a network.
pub struct Ready {
    /// `[c][32][32]`.
    pub image: [u8; IMAGE_BYTES],
    /// How it was brought to that size; nothing where it had it.
    pub fit: Option<Fit>,
    /// Whether its file says that it is to be turned.
    pub is_tagged: bool,
    /// Whether that was done.
    pub is_turned: bool,
    /// Whether it is grey with 16 bits a pixel, of which the upper 8 were taken.
    pub is_grey_16: bool,
}

/// Reads files of pictures, from any thread.
#[derive(Debug)]
pub struct Pictures {
    reader: Reader,
    fit: Option<Fit>,
    large_file: Mutex<()>,
}

impl Pictures {
    /// `fit` and `upright` as in [`FolderOptions`](super::FolderOptions).
    pub fn new(fit: Option<Fit>, upright: bool) -> Pictures {
        Pictures {
            reader: Reader::new(upright),
            fit,
            large_file: Mutex::default(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// In words, why it is no picture that can be used.
    pub fn read(&self, path: &Path) -> Result<Ready, String> {
        let cannot = |error: std::io::Error| format!("cannot be read: {error}");
        // Before it is opened: that of a pipe waits for whoever writes to it.
        let metadata = fs::metadata(path).map_err(cannot)?;
        if !metadata.is_file() {
            return Err(NO_FILE.to_owned());
        }
        let file = File::open(path).map_err(cannot)?;
        let length = metadata.len();
        if length > MAX_FILE_BYTES {
            return Err(format!(
                "has {}, too much for a picture",
                text::bytes(length)
            ));
        }
        // It guards no data that a panic could have spoiled.
        let _large = (length > LARGE_FILE_BYTES).then(|| {
            self.large_file
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        });
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(MAX_FILE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
        let picture = self.reader.read(&bytes)?;
        let default = picture.rgb.default_fit();
        let fit = default.and(self.fit.or(default));
        Ok(Ready {
            image: picture.rgb.fitted(fit.unwrap_or(Fit::Pad))?,
            fit,
            is_tagged: picture.is_tagged,
            is_turned: picture.is_turned,
            is_grey_16: picture.is_grey_16,
        })
    }
}
