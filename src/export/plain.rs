//! Safetensors for other programs: plain tensors by the names and in the layout that PyTorch has them.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::model::Model;
use super::tensor::{Tensor, Values};

/// The crate that reads them back.
pub const READER: &str = "safetensors 0.8";

/// A file of tensors, in this order, and strings: the same bytes every time, which the crate's own writer, whose
/// strings lie in a hash map, does not give.
pub fn file(tensors: &[(String, Tensor)], metadata: &[(String, String)]) -> Vec<u8> {
    let mut header = Map::new();
    let strings: Map<String, Value> = metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    header.insert("__metadata__".to_owned(), strings.into());
    let mut data = vec![];
    for (name, tensor) in tensors {
        let kind = match tensor.values {
            Values::U8(_) => "U8",
            Values::I64(_) => "I64",
            Values::F32(_) => "F32",
        };
        let begin = data.len();
        data.extend(tensor.bytes());
        let info =
            json!({"dtype": kind, "shape": tensor.shape, "data_offsets": [begin, data.len()]});
        header.insert(name.clone(), info);
    }
    let mut text = Value::Object(header).to_string();
    let padding = text.len().next_multiple_of(8) - text.len();
    text.extend(std::iter::repeat_n(' ', padding));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.into_bytes());
    bytes.extend(data);
    bytes
}

/// The tensors of a child. A network's are those of its weights file; of a language model matrices of all leaves are
/// one, `[leaves hidden, hidden]`, the LSTM's bias belongs to its input, and the decoder's matrix is there where it
/// is the embedding too.
pub fn tensors(model: &Model) -> Vec<(String, Tensor)> {
    let of = |name: &str, shape: &[usize], values: &[f32]| {
        (name.to_owned(), Tensor::floats(shape, values.to_vec()))
    };
    match model {
        Model::Network(model) => {
            let trained = model.params.trained.iter();
            let trained = trained.map(|p| (p, &model.weights.trained[p.range()]));
            let running = model.params.running.iter();
            let running = running.map(|p| (p, &model.weights.running[p.range()]));
            let all = trained.chain(running);
            all.map(|(param, values)| of(&param.name, &param.shape, values))
                .collect()
        }
        Model::Cell(model) => {
            let mut tensors = vec![];
            for param in &model.params.trained {
                let values = &model.weights.trained[param.range()];
                tensors.push(match param.shape[..] {
                    [leaves, out, inputs] => of(&param.name, &[leaves * out, inputs], values),
                    [leaves, hidden] if param.name.starts_with("layers.") => {
                        let name = param.name.replace(".bias", ".input.bias");
                        of(&name, &[leaves * hidden], values)
                    }
                    _ => of(&param.name, &param.shape, values),
                });
            }
            if model.model.settings.tied {
                let embedding = &model.weights.trained[model.spans.embedding.range()];
                let shape = [model.model.settings.vocabulary, model.model.settings.hidden];
                tensors.push(of("decoder.weight", &shape, embedding));
            }
            tensors
        }
    }
}

/// Whether a file holds these tensors, bit for bit, by the crate.
///
/// # Errors
/// In words, where it does not.
pub fn holds(bytes: &[u8], tensors: &[(String, Tensor)]) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut found: BTreeMap<String, _> = file.tensors().into_iter().collect();
    for (name, tensor) in tensors {
        let view = found.remove(name);
        let view = view.ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let is_same = view.dtype() == Dtype::F32
            && view.shape() == tensor.shape
            && view.data() == tensor.bytes();
        if !is_same {
            return Err(format!("tensor `{name}` is another"));
        }
    }
    match found.keys().next() {
        Some(name) => Err(format!("tensor `{name}` is one too many")),
        None => Ok(()),
    }
}
