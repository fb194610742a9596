//! An architecture with all that follows from it, as JSON: shapes, parameters and multiply-adds.

use serde_json::{Value, json};

use crate::graph::{Costs, Graph, Shape};
use crate::report::cell::{drawing, equations};
use crate::space::{Architecture, CellArchitecture, ConvArchitecture, LayerOp};

/// A network with its shapes.
pub fn network_json(architecture: &ConvArchitecture, graph: &Graph) -> Value {
    let costs = Costs::new(graph);
    let sizes = |shape: &Shape| [shape.c(), shape.h, shape.w];
    let layers = graph.layers.iter().enumerate().skip(1).zip(&costs.layers);
    let layers = layers.map(|((index, layer), cost)| {
        let kind = match layer.op {
            None | Some(LayerOp::Conv { .. }) => "conv",
            Some(LayerOp::MaxPool { .. }) => "max_pool",
            Some(LayerOp::AvgPool { .. }) => "avg_pool",
            Some(LayerOp::Lcn) => "lcn",
            Some(LayerOp::BatchNorm) => "batch_norm",
        };
        json!({
            "index": index,
            "type": kind,
            "inputs": layer.inputs,
            "input": sizes(&layer.input),
            "output": sizes(&layer.output),
            "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds,
        })
    });
    json!({
        "architecture": canonical(&architecture.clone().into()),
        "image": sizes(&graph.layers[0].output),
        "layers": layers.collect::<Vec<_>>(),
        "classifier": {
            "inputs": graph.classifier_inputs,
            "input": sizes(&graph.classifier_input),
            "features": graph.features(),
            "classes": graph.classes,
            "parameters": costs.classifier.parameters,
            "multiply_adds": costs.classifier.multiply_adds,
        },
        "parameters": costs.parameters(),
        "multiply_adds": costs.multiply_adds(),
    })
}

/// The size of a language model.
#[derive(Clone, Copy, Debug)]
pub struct LanguageSize {
    /// Recurrent layers.
    pub layers: usize,
    /// Units of a layer.
    pub hidden: usize,
    /// Words.
    pub vocabulary: usize,
    /// Whether the decoder's matrix is the embedding.
    pub tied: bool,
}

/// A cell, and the language model around it where its size is known.
pub fn cell_json(cell: &CellArchitecture, size: Option<LanguageSize>) -> Value {
    let n = |size: LanguageSize| [size.layers, size.hidden, size.vocabulary].map(|n| n as u64);
    let parameters = size.map(|size| {
        let [layers, hidden, words] = n(size);
        cell.parameters(layers, hidden, words, size.tied)
    });
    let multiply_adds = size.map(|size| {
        let [layers, hidden, words] = n(size);
        layers * 2 * cell.n_leaves() as u64 * hidden * hidden + words * hidden
    });
    json!({
        "architecture": canonical(&cell.clone().into()),
        "equations": equations(cell),
        "tree": drawing(cell),
        "layers": size.map(|size| size.layers),
        "hidden": size.map(|size| size.hidden),
        "vocabulary": size.map(|size| size.vocabulary),
        "tied": size.map(|size| size.tied),
        "parameters": parameters,
        "multiply_adds": multiply_adds,
    })
}

fn canonical(architecture: &Architecture) -> Value {
    let text = architecture.to_json();
    serde_json::from_str(&text).expect("an architecture is written as JSON")
}
