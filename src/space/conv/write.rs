//! Convolutional architectures written as JSON, in the one canonical form.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::network::{ConvArchitecture, Layer, LayerOp};

impl Serialize for ConvArchitecture {
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
