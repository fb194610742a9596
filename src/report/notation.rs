//! An architecture in a line that a person can read; nothing reads it back.

use std::fmt::Write;

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
    // A report of a long run has a line a child, and so no text of its own for each number.
    let mut line = String::new();
    for (before, layer) in architecture.layers.iter().enumerate() {
        if before > 0 {
            line.push(' ');
        }
        write_operation(&layer.op, &mut line);
        write_inputs(layer, before, &mut line);
    }
    if let Some(rate) = architecture.learning_rate {
        let _ = write!(line, " lr={rate}");
    }
    line
}

/// The inputs of the layer after `before`, where they are not that one alone.
fn write_inputs(layer: &Layer, before: usize, line: &mut String) {
    if layer.inputs == [before] {
        return;
    }
    line.push('(');
    for (i, input) in layer.inputs.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(line, "{comma}{input}");
    }
    line.push(')');
}

/// What a layer computes, without its inputs.
pub fn operation(op: &LayerOp) -> String {
    let mut words = String::new();
    write_operation(op, &mut words);
    words
}

fn write_operation(op: &LayerOp, line: &mut String) {
    let (name, [kh, kw], filters, stride) = match *op {
        LayerOp::Conv {
            filter,
            filters,
            stride,
        } => ("", filter, Some(filters), stride),
        LayerOp::MaxPool { pool, stride } => ("max", pool, None, stride),
        LayerOp::AvgPool { pool, stride } => ("avg", pool, None, stride),
        LayerOp::Lcn => return *line += "lcn",
        LayerOp::BatchNorm => return *line += "bn",
    };
    let _ = write!(line, "{name}{kh}x{kw}");
    if let Some(filters) = filters {
        let _ = write!(line, "x{filters}");
    }
    let _ = match stride {
        [1, 1] => Ok(()),
        [sh, sw] if sh == sw => write!(line, "/{sh}"),
        [sh, sw] => write!(line, "/{sh}x{sw}"),
    };
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
