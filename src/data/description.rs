//! `dataset.toml`: what the images in a data folder are, and where they came from.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DataError;
use crate::text;

/// Name of the file in a data folder.
pub(super) const FILE_NAME: &str = "dataset.toml";

/// The classes that a label of one byte can tell apart.
pub const MAX_CLASSES: usize = 256;

/// 256 names of a thousand letters; a larger file is something else and is not read whole.
const MAX_BYTES: u64 = 1 << 20;

/// What the images in a data folder are. All but the classes is there for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What the data set is called.
    #[serde(default)]
    pub name: String,
    /// Names of the classes; a label is a position in them. Two may be equal.
    pub classes: Vec<String>,
    /// Training records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<u64>,
    /// Test records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<u64>,
    /// Where they were imported from.
    #[serde(default)]
    pub source: String,
    /// [`Dataset::sha256`](super::Dataset::sha256).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How pictures were brought to 32x32: `pad`, `resize`, `crop`, or `none` where all had that size.
    #[serde(default)]
    pub fit: String,
}

impl Description {
    /// Reads the one in a folder, if there is one.
    pub(super) fn read(dir: &Path) -> Result<Option<Description>, DataError> {
        let path = dir.join(FILE_NAME);
        let wrong = |problem: String| DataError::Description {
            path: path.clone(),
            problem,
        };
        let Some(text) = small_text(&path, MAX_BYTES)? else {
            return Ok(None);
        };
        let text = text.map_err(wrong)?;
        let description: Description =
            toml::from_str(&text).map_err(|error| wrong(in_a_line(&error, &text)))?;
        match description.classes.len() {
            2..=MAX_CLASSES => Ok(Some(description)),
            n => Err(wrong(format!("`classes` holds {n} names, not 2 to 256"))),
        }
    }

    /// What stands in the file.
    pub(super) fn to_toml(&self) -> String {
        toml::to_string(self).expect("texts, numbers and lists have a form in TOML")
    }
}

/// What is wrong with a text of TOML, and in which line.
fn in_a_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message().replace('\n', ", "))
}

/// The text of a small file without a byte order mark, or what is wrong with it; nothing where there is
/// no such file.
pub(super) fn small_text(
    path: &Path,
    max_bytes: u64,
) -> Result<Option<Result<String, String>>, DataError> {
    let failed = |source| DataError::Read {
        path: path.to_path_buf(),
        source,
    };
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    // Opening a pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(DataError::NotAFile {
            path: path.to_path_buf(),
        });
    }
    if metadata.len() > max_bytes {
        return Ok(Some(Err(format!("has {} bytes", metadata.len()))));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(max_bytes)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => Ok(text::strip_bom(&text).to_owned()),
        Err(error) => Err(format!(
            "is not UTF-8 at byte {}",
            error.utf8_error().valid_up_to()
        )),
    }))
}
