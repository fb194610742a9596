//! An architecture in a line that a person can read; nothing reads it back.

use crate::space::cell::{Operation, Tree};
use crate::space::{Architecture, BenchCell, CellArchitecture, ConvArchitecture, Layer, LayerOp};

/// An architecture of any kind.
pub fn line(architecture: &Architecture) -> String {
    match architecture {
        Architecture::Conv(network) => layers(network),
        Architecture::Cell(CellArchitecture::Tree(tree)) => nodes(tree),
        Architecture::Cell(CellArchitecture::Lstm) => "lstm".to_owned(),
        Architecture::Bench(cell) => edges(cell),
    }
}

/// What each node reads, as in the published notation: `|conv3x3~0|+|skip~0|none~1|+...`.
fn edges(cell: &BenchCell) -> String {
    let mut names = cell.operations.iter().map(|operation| operation.name());
    let node = |n: usize| {
        let edges = names.by_ref().take(n).enumerate();
        let edges = edges.map(|(from, name)| format!("{name}~{from}|"));
        format!("|{}", edges.collect::<String>())
    };
    (1..4).map(node).collect::<Vec<_>>().join("+")
}

/// Nodes in order, as in `add-tanh mult-relu mult-sigmoid inject=add-relu c=1 into=0`.
fn nodes(tree: &Tree) -> String {
    let operation = |&(combination, activation): &Operation| {
        format!(
            "{}-{}",
            combination.name().trim_start_matches("elem_"),
            activation.name()
        )
    };
    let mut words: Vec<String> = tree.nodes.iter().map(operation).collect();
    words.push(format!("inject={}", operation(&tree.inject)));
    words.push(format!("c={}", tree.state_from));
    words.push(format!("into={}", tree.inject_into));
    words.join(" ")
}

/// Layers in order, as in `3x3x24/2 5x1x8 3x3x16(1,2)`: filter height x width x number, `/` the
/// stride where it is not 1, in brackets the inputs where they are not the layer before alone.
fn layers(architecture: &ConvArchitecture) -> String {
    let layers = architecture
        .layers
        .iter()
        .enumerate()
        .map(|(i, layer)| self::layer(layer, i));
    let mut words: Vec<String> = layers.collect();
    words.extend(architecture.learning_rate.map(|rate| format!("lr={rate}")));
    words.join(" ")
}

fn layer(layer: &Layer, before: usize) -> String {
    let mut text = operation(&layer.op);
    if layer.inputs != [before] {
        let inputs: Vec<String> = layer.inputs.iter().map(usize::to_string).collect();
        text += &format!("({})", inputs.join(","));
    }
    text
}

/// What a layer computes, without its inputs.
pub fn operation(op: &LayerOp) -> String {
    match *op {
        LayerOp::Conv {
            filter: [kh, kw],
            filters,
            stride,
        } => {
            format!("{kh}x{kw}x{filters}{}", slash(stride))
        }
        LayerOp::MaxPool {
            pool: [kh, kw],
            stride,
        } => format!("max{kh}x{kw}{}", slash(stride)),
        LayerOp::AvgPool {
            pool: [kh, kw],
            stride,
        } => format!("avg{kh}x{kw}{}", slash(stride)),
        LayerOp::Lcn => "lcn".to_owned(),
        LayerOp::BatchNorm => "bn".to_owned(),
    }
}

fn slash(stride: [usize; 2]) -> String {
    match stride {
        [1, 1] => String::new(),
        [sh, sw] if sh == sw => format!("/{sh}"),
        [sh, sw] => format!("/{sh}x{sw}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_type_has_a_word() {
        let json = r#"{"space":"conv","layers":[
            {"filter":[3,5],"filters":24,"stride":[2,2],"inputs":[0]},
            {"filter":[1,1],"filters":8,"stride":[1,2],"inputs":[1]},
            {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[1,2]},
            {"type":"avg_pool","pool":[3,2],"stride":[1,1],"inputs":[0]},
            {"type":"lcn","inputs":[4]},
            {"type":"batch_norm","inputs":[2]}],"learning_rate":0.05}"#;
        let architecture = Architecture::from_json(json).unwrap();
        assert_eq!(
            line(&architecture),
            "3x5x24/2 1x1x8/1x2 max2x2/2(1,2) avg3x2(0) lcn bn(2) lr=0.05"
        );
        let worked = include_str!("../../examples/cell-worked.json");
        assert_eq!(
            line(&Architecture::from_json(worked).unwrap()),
            "add-tanh mult-relu mult-sigmoid inject=add-relu c=1 into=0"
        );
    }
}
