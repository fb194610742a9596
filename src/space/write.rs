//! Architectures written as JSON, in the one canonical form.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::architecture::{Architecture, Layer, LayerOp};

impl Architecture {
    /// The canonical text: keys in a fixed order, defaults left out, no spaces. Two architectures
    /// are the same when their canonical texts are.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an architecture holds nothing that JSON cannot")
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("space", "conv")?;
        map.serialize_entry("layers", &self.layers)?;
        if let Some(learning_rate) = self.learning_rate {
            map.serialize_entry("learning_rate", &learning_rate)?;
        }
        map.end()
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.op {
            LayerOp::Conv {
                filter,
                filters,
                stride,
            } => {
                map.serialize_entry("filter", filter)?;
                map.serialize_entry("filters", filters)?;
                if *stride != [1, 1] {
                    map.serialize_entry("stride", stride)?;
                }
            }
            LayerOp::MaxPool { pool, stride } | LayerOp::AvgPool { pool, stride } => {
                map.serialize_entry("type", self.op.type_name())?;
                map.serialize_entry("pool", pool)?;
                map.serialize_entry("stride", stride)?;
            }
            LayerOp::Lcn | LayerOp::BatchNorm => {
                map.serialize_entry("type", self.op.type_name())?;
            }
        }
        let image: &[usize] = &[0];
        let inputs = if self.inputs.is_empty() {
            image
        } else {
            &self.inputs
        };
        map.serialize_entry("inputs", inputs)?;
        map.end()
    }
}
