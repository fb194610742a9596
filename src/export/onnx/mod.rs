//! ONNX files: IR version 8, operator set 17, float32, 64-bit whole numbers, explicit pads, no `Loop`; what most
//! readers agree on. formats.md, section 3, has the contract.

mod builder;
mod cell;
mod network;
mod proto;

use prost::Message;

pub use cell::Steps;
pub use network::ImageInput;

use super::ExportError;
use super::model::{CellModel, NetworkModel};
use proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// What files say of themselves.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
const PRODUCER: &str = "nas-engine";

/// Bytes of the largest message of protocol buffers.
const MOST_BYTES: usize = i32::MAX as usize;

/// A network as the bytes of a file.
///
/// # Errors
/// Where that would be larger than such a file may be.
pub fn network(
    model: &NetworkModel,
    input: ImageInput,
    metadata: &[(String, String)],
) -> Result<Vec<u8>, ExportError> {
    check_size(model.weights.trained.len())?;
    file(network::graph(model, input), metadata)
}

/// A language model as the bytes of a file.
///
/// # Errors
/// As [`network`].
pub fn cell(
    model: &CellModel,
    steps: Steps,
    metadata: &[(String, String)],
) -> Result<Vec<u8>, ExportError> {
    check_size(model.weights.trained.len())?;
    file(cell::graph(model, steps), metadata)
}

/// Before a copy is made of what is too large.
fn check_size(n_values: usize) -> Result<(), ExportError> {
    match n_values.saturating_mul(4) {
        bytes if bytes > MOST_BYTES => Err(ExportError::TooLarge { bytes }),
        _ => Ok(()),
    }
}

fn file(graph: GraphProto, metadata: &[(String, String)]) -> Result<Vec<u8>, ExportError> {
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some(PRODUCER.to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        metadata_props: metadata.iter().map(entry).collect(),
    };
    let bytes = model.encoded_len();
    match bytes > MOST_BYTES {
        true => Err(ExportError::TooLarge { bytes }),
        false => Ok(model.encode_to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both before a copy of the values is made and after, for names and shapes take bytes too.
    #[test]
    fn what_a_file_cannot_hold_is_refused() {
        assert!(check_size(MOST_BYTES / 4).is_ok());
        let refused = check_size(MOST_BYTES / 4 + 1).unwrap_err();
        assert!(matches!(
            refused,
            ExportError::TooLarge {
                bytes: 2_147_483_648
            }
        ));
        let words = refused.to_string();
        assert!(words.contains("--format pytorch or safetensors"), "{words}");
        assert!(check_size(usize::MAX).is_err());
    }
}
