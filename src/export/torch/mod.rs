//! A folder for PyTorch: `model.py`, which says the child in Python, and `weights.safetensors`.

use serde_json::{Value, json};

use super::model::{CellModel, NetworkModel};
use crate::graph::recurrent::Operand;
use crate::space::LayerOp;

/// Name of the file of code.
pub const MODEL: &str = "model.py";
/// Name of the file of tensors.
pub const WEIGHTS: &str = "weights.safetensors";

/// `model.py` of a network.
pub fn network(model: &NetworkModel) -> String {
    let layers = model.graph.layers.iter().skip(1).map(|layer| {
        let channels = layer.input.c();
        let mut line = match layer.op {
            None => json!({}),
            Some(LayerOp::Conv {
                filter,
                filters,
                stride,
            }) => json!({
                "type": "conv", "channels": channels, "filters": filters, "filter": filter,
                "stride": stride,
            }),
            Some(LayerOp::MaxPool { pool, stride }) => {
                json!({"type": "max_pool", "pool": pool, "stride": stride})
            }
            Some(LayerOp::AvgPool { pool, stride }) => {
                json!({"type": "avg_pool", "pool": pool, "stride": stride})
            }
            Some(LayerOp::Lcn) => {
                json!({"type": "lcn", "size": [layer.input.h, layer.input.w]})
            }
            Some(LayerOp::BatchNorm) => json!({"type": "batch_norm", "channels": channels}),
        };
        line["inputs"] = json!(layer.inputs);
        line
    });
    let constants = [
        "# The classes, by place among the logits.".to_owned(),
        format!("CLASSES = {}", python(&json!(model.classes))),
        format!("VIEW = {}", python(&json!(model.augment.to_string()))),
        format!("EPSILON = {:e}", model.norm_epsilon),
        "# What each layer computes and which layers it reads; 0 is the image.".to_owned(),
        format!("LAYERS = {}", list(layers.collect())),
        "# What the classifier reads, and how many channels that are.".to_owned(),
        format!(
            "OUTPUTS = {}",
            python(&json!(model.graph.classifier_inputs))
        ),
        format!("FEATURES = {}", model.graph.features()),
    ];
    include_str!("network.py").replace("@CONSTANTS@", &constants.join("\n"))
}

/// `model.py` of a language model.
pub fn cell(model: &CellModel) -> String {
    let (settings, program) = (&model.model.settings, &model.model.program);
    let name = |operand| match operand {
        Operand::Input(leaf) => format!("w{leaf}"),
        Operand::Hidden(leaf) => format!("u{leaf}"),
        Operand::Value(earlier) => format!("a{earlier}"),
        Operand::State => "c".to_owned(),
    };
    let nodes = program.instructions.iter().map(|node| {
        json!([
            node.combination.name(),
            node.activation.name(),
            name(node.left),
            name(node.right)
        ])
    });
    let truth = |value| if value { "True" } else { "False" };
    let has_bias = model.spans.layers.iter().any(|layer| layer.bias.is_some());
    let constants = [
        "# The words, by token; none where they are not known.".to_owned(),
        format!("WORDS = {}", python(&json!(model.words))),
        format!("VOCABULARY = {}", settings.vocabulary),
        format!("HIDDEN = {}", settings.hidden),
        format!("LAYERS = {}", settings.layers),
        format!("TIED = {}", truth(settings.tied)),
        "# Parts of the products W x and U h, w0 and u0 the first.".to_owned(),
        format!("LEAVES = {}", program.leaves),
        format!("HAS_BIAS = {}", truth(has_bias)),
        "# The cell: combination and activation, and what they are of; c is the old state, a0 the first node."
            .to_owned(),
        format!("NODES = {}", list(nodes.collect())),
        "# The node that is the next h, and that whose combination is the next c.".to_owned(),
        format!("OUTPUT = {}", program.output),
        format!("STATE = {}", program.state),
    ];
    include_str!("cell.py").replace("@CONSTANTS@", &constants.join("\n"))
}

/// A list with a line for each of its items.
fn list(items: Vec<Value>) -> String {
    let lines: Vec<String> = items
        .iter()
        .map(|item| format!("    {},\n", python(item)))
        .collect();
    format!("[\n{}]", lines.concat())
}

/// JSON of texts, whole numbers and lists as Python; only ASCII, so that no line break of Unicode ends a line.
fn python(value: &Value) -> String {
    let mut text = String::new();
    for letter in value.to_string().chars() {
        match letter.is_ascii() {
            true => text.push(letter),
            false => text += &format!("\\U{:08x}", u32::from(letter)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_texts_of_python() {
        let names = json!(["a \"b\" \\", "ü\n", "\u{2028}"]);
        assert_eq!(
            python(&names),
            "[\"a \\\"b\\\" \\\\\",\"\\U000000fc\\n\",\"\\U00002028\"]"
        );
    }
}
