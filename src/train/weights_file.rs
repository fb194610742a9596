//! Weights in files: safetensors with the metadata of formats.md, section 3.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use super::weights_error::WeightsError;

use super::metadata::{DIGEST, Entries, FORMAT, Facts, Metadata, WITH_DIGEST};
use super::weights_header::{LENGTH_BYTES, STRINGS, begins_json, bytes_of, repeated};
use crate::disk::{Disk, whole};
use crate::graph::Params;
use crate::graph::language::{MAX_HIDDEN, MAX_LAYERS, MAX_VOCABULARY};
use crate::graph::params::{Param, Weights};
use crate::text;

/// Writes weights and metadata; the file appears whole or not at all.
///
/// # Errors
/// Where the file cannot be written.
pub fn save(
    disk: &dyn Disk,
    path: &Path,
    params: &Params,
    weights: &Weights,
    metadata: &Metadata,
) -> Result<(), WeightsError> {
    let tensors = tensors(params, weights);
    let header = layout(&tensors, metadata);
    whole::write(disk, path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        tensors
            .iter()
            .flat_map(|(_, values)| pieces(values))
            .try_for_each(|bytes| file.write_all(&bytes))
    })
    .map_err(|source| WeightsError::Write {
        path: path.to_path_buf(),
        source,
    })
}

/// The tensors in the order of their bytes, with their values: trained ones, then running statistics.
fn tensors<'a>(params: &'a Params, weights: &'a Weights) -> Vec<(&'a Param, &'a [f32])> {
    let trained = params.trained.iter().map(|p| (p, &weights.trained));
    let running = params.running.iter().map(|p| (p, &weights.running));
    let of = |(param, values): (&'a Param, &'a Vec<f32>)| (param, &values[param.range()]);
    trained.chain(running).map(of).collect()
}

/// Numbers as the bytes of a file, so many at a time.
fn pieces(values: &[f32]) -> impl Iterator<Item = Vec<u8>> {
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
    values.chunks(1 << 14).map(bytes)
}

/// The JSON header.
///
/// Written here because the crate keeps metadata in a hash map, which would give the same weights
/// other bytes on every run.
fn layout(tensors: &[(&Param, &[f32])], metadata: &Metadata) -> String {
    let mut entries = metadata.to_json();
    let said = entries.iter().map(|(key, text)| (key.as_str(), text));
    let mut digest = Content::new(said.map(|(key, text)| (key, text.as_str().unwrap_or_default())));
    let mut by_name: Vec<_> = tensors.iter().collect();
    by_name.sort_by_key(|(param, _)| &param.name);
    for (param, values) in by_name {
        digest.tensor(&param.name, Dtype::F32, &param.shape);
        pieces(values).for_each(|bytes| digest.0.update(bytes));
    }
    entries.insert(DIGEST.to_owned(), digest.end().into());
    let mut header = Map::new();
    header.insert(STRINGS.to_owned(), entries.into());
    let mut offset = 0;
    for (param, _) in tensors {
        let end = offset + 4 * param.len();
        let info = json!({"dtype": "F32", "shape": param.shape, "data_offsets": [offset, end]});
        header.insert(param.name.clone(), info);
        offset = end;
    }
    let mut text = Value::Object(header).to_string();
    text.extend(std::iter::repeat_n(
        ' ',
        text.len().next_multiple_of(8) - text.len(),
    ));
    text
}

/// The digest of what a file says, however it lies in the file: a JSON line for each entry of the
/// metadata but the digest, by name, then for each tensor, by name, a JSON line of its name, type and
/// shape, and its bytes.
struct Content(Sha256);

impl Content {
    fn new<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Content {
        let mut digest = Content(Sha256::new());
        let entries: BTreeMap<_, _> = entries.filter(|(key, _)| *key != DIGEST).collect();
        entries
            .iter()
            .for_each(|entry| digest.line(&json!([entry.0, entry.1])));
        digest
    }

    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        self.line(&json!([name, format!("{dtype:?}"), shape]));
    }

    fn line(&mut self, json: &Value) {
        self.0.update(format!("{json}\n"));
    }

    fn end(self) -> String {
        text::hex(&self.0.finalize())
    }
}

/// The sizes of a language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanguageSizes {
    /// Words of the vocabulary.
    pub vocabulary: usize,
    /// Hidden units of a layer.
    pub hidden: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Whether the decoder's matrix is the embedding.
    pub tied: bool,
}

/// The tensor that has a row for each class.
const CLASSIFIER: &str = "classifier.weight";

/// The tensor that has a row for each word.
const EMBEDDING: &str = "embedding.weight";

/// Most classes of a network.
const MOST_CLASSES: usize = 1_000_000;

/// Names in a row, the first of many.
fn first_few(names: &[String]) -> String {
    let n = if names.len() <= 6 { names.len() } else { 4 };
    let more = if n < names.len() { ", …" } else { "" };
    names[..n].join(", ") + more
}

/// A weights file in memory, its format checked.
pub struct WeightsFile {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl WeightsFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read or is not a whole safetensors file.
    pub fn read(path: &Path) -> Result<WeightsFile, WeightsError> {
        let bytes = bytes_of(path).map_err(|source| WeightsError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        WeightsFile::of(path, bytes)
    }

    /// A file's bytes, read elsewhere.
    ///
    /// # Errors
    /// Where they are not a whole safetensors file, or not what was written.
    pub fn of(path: &Path, bytes: Vec<u8>) -> Result<WeightsFile, WeightsError> {
        let format = |reason: String| WeightsError::Format {
            path: path.to_path_buf(),
            reason,
        };
        if begins_json(&bytes) {
            return Err(WeightsError::Json {
                path: path.to_path_buf(),
            });
        }
        let (length, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| format(error.to_string()))?;
        let twice = repeated(&bytes[LENGTH_BYTES..][..length]);
        if let Some(name) = twice.map_err(|error| format(error.to_string()))? {
            return Err(format(format!("its header names `{name}` twice")));
        }
        SafeTensors::deserialize(&bytes).map_err(|error| format(error.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let file = WeightsFile {
            path: path.to_path_buf(),
            bytes,
            metadata,
        };
        match file.is_what_was_written() {
            true => Ok(file),
            false => Err(format("its content does not match its digest".to_owned())),
        }
    }

    /// Whether the digest is that of the content; of a file that never had one, nobody knows.
    fn is_what_was_written(&self) -> bool {
        let Some(digest) = self.metadata.get(DIGEST) else {
            return self
                .metadata
                .get(FORMAT)
                .is_none_or(|format| format != WITH_DIGEST);
        };
        let said = self.metadata.iter();
        let mut content = Content::new(said.map(|(key, text)| (key.as_str(), text.as_str())));
        let tensors: BTreeMap<_, _> = self.tensors().tensors().into_iter().collect();
        for (name, tensor) in tensors {
            content.tensor(&name, tensor.dtype(), tensor.shape());
            content.0.update(tensor.data());
        }
        content.end() == *digest
    }

    /// The metadata that `train --save` writes.
    ///
    /// # Errors
    /// Where a key is missing or cannot be understood, or the classes are not as many as the tensors tell apart.
    pub fn metadata(&self) -> Result<Metadata, WeightsError> {
        let metadata = Metadata::read(&Entries {
            path: &self.path,
            entries: &self.metadata,
        })?;
        self.check_classes(&metadata.facts)?;
        Ok(metadata)
    }

    /// That there are as many classes, or words where they are said, as the tensors have rows for. Where such a
    /// tensor is missing, that is told when the weights are taken.
    fn check_classes(&self, facts: &Facts) -> Result<(), WeightsError> {
        let (n, noun, most, tensor) = match facts {
            Facts::Images { classes, .. } => (classes.len(), "classes", MOST_CLASSES, CLASSIFIER),
            Facts::Text { words, .. } if words.is_empty() => return Ok(()),
            Facts::Text { words, .. } => (words.len(), "words", MAX_VOCABULARY, EMBEDDING),
        };
        let bad = |reason: String| WeightsError::Metadata {
            path: self.path.clone(),
            key: "classes",
            reason,
        };
        if !(1..=most).contains(&n) {
            return Err(bad(format!("names {n} {noun}, not 1 to {most}")));
        }
        let tensors = self.tensors();
        match tensors.tensor(tensor).map(|tensor| tensor.shape().to_vec()) {
            Ok(shape) if shape.first().is_some_and(|&rows| rows != n) => Err(bad(format!(
                "names {n} {noun}, and tensor `{tensor}` is of {}",
                shape[0]
            ))),
            _ => Ok(()),
        }
    }

    /// The sizes of a language model, as its tensors have them.
    ///
    /// # Errors
    /// Where it has no embedding, or one of a size that no model has.
    pub fn language_sizes(&self) -> Result<LanguageSizes, WeightsError> {
        let file = self.tensors();
        let missing = || self.misfit(format!("tensor `{EMBEDDING}` is missing"));
        let embedding = file.tensor(EMBEDDING).map_err(|_| missing())?;
        let &[vocabulary, hidden] = embedding.shape() else {
            return Err(self.misfit(format!("tensor `{EMBEDDING}` is no matrix")));
        };
        let has = |name: &str| file.tensor(name).is_ok();
        let layers = (1..).take_while(|layer| has(&format!("layers.{layer}.input.weight")));
        let sizes = LanguageSizes {
            vocabulary,
            hidden,
            layers: layers.count(),
            tied: !has("decoder.weight"),
        };
        let sizes_are = [
            ("words", sizes.vocabulary, MAX_VOCABULARY),
            ("hidden units", sizes.hidden, MAX_HIDDEN),
            ("layers", sizes.layers, MAX_LAYERS),
        ];
        match sizes_are
            .into_iter()
            .find(|(_, n, most)| !(1..=*most).contains(n))
        {
            Some((what, n, most)) => {
                Err(self.misfit(format!("its tensors are of {n} {what}, not of 1 to {most}")))
            }
            None => Ok(sizes),
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("checked when it was read")
    }

    /// The tensors as the weights of a child.
    ///
    /// # Errors
    /// Where a tensor is missing, of another shape or type, or not one of the child's.
    pub fn weights(&self, params: &Params) -> Result<Weights, WeightsError> {
        let file = self.tensors();
        let mut left: BTreeMap<String, _> = file.tensors().into_iter().collect();
        let mut take = |list: &[Param]| -> Result<Vec<f32>, WeightsError> {
            // As long as the file at most: its architecture may be of any size.
            let len = list.last().map_or(0, |p| p.range().end);
            let mut values = Vec::with_capacity(len.min(self.bytes.len() / 4));
            for param in list {
                let tensor = left
                    .remove(&param.name)
                    .ok_or_else(|| self.misfit(format!("tensor `{}` is missing", param.name)))?;
                if tensor.dtype() != Dtype::F32 || tensor.shape() != param.shape {
                    return Err(self.other_shape(param, &tensor));
                }
                let (words, _) = tensor.data().as_chunks::<4>();
                values.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
            }
            Ok(values)
        };
        let weights = Weights {
            trained: take(&params.trained)?,
            running: take(&params.running)?,
        };
        match left.keys().next() {
            Some(name) => {
                Err(self.misfit(format!("tensor `{name}` belongs to none of its layers")))
            }
            None => Ok(weights),
        }
    }

    /// That a tensor is not what it should be; of a network for other classes, which they are.
    fn other_shape(&self, param: &Param, tensor: &TensorView) -> WeightsError {
        if let (CLASSIFIER, [theirs, _], Some(&ours)) =
            (&*param.name, tensor.shape(), param.shape.first())
            && let Ok(Metadata {
                facts: Facts::Images { classes, .. },
                ..
            }) = self.metadata()
            && (*theirs != ours && classes.len() == *theirs)
        {
            return WeightsError::Classes {
                path: self.path.clone(),
                theirs: *theirs,
                ours,
                names: first_few(&classes),
            };
        }
        self.misfit(format!(
            "tensor `{}` is {:?} {:?} and should be F32 {:?}",
            param.name,
            tensor.dtype(),
            tensor.shape(),
            param.shape
        ))
    }

    fn misfit(&self, reason: String) -> WeightsError {
        WeightsError::Misfit {
            path: self.path.clone(),
            reason,
        }
    }
}
