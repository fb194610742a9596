//! Recurrent layers of a cell as a part of a test's plan, with their weights by the names of a file.

use nas_engine::graph::params::{Init, Param};
use nas_engine::graph::plan::Builder;
use nas_engine::graph::recurrent::{Dropout, Program, Recurrent, Stack};
use nas_engine::graph::step::{BufferId, Content, Span};
use nas_engine::space::CellArchitecture;

/// How large the layers and the window are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub layers: usize,
    pub steps: usize,
    pub rows: usize,
    /// Values that the first layer reads of a row.
    pub inputs: usize,
    pub hidden: usize,
}

/// Appends a tensor to a list that is one vector.
pub fn push(params: &mut Vec<Param>, name: String, shape: &[usize]) {
    params.push(Param {
        name,
        shape: shape.to_vec(),
        offset: n_values(params),
        init: Init::Constant(0.0),
    });
}

/// Values of all tensors of a list.
pub fn n_values(params: &[Param]) -> usize {
    params.last().map_or(0, |param| param.range().end)
}

/// Appends the weights of the layers.
pub fn push_layers(params: &mut Vec<Param>, cell: &CellArchitecture, sizes: &Sizes) {
    let (leaves, hidden) = (cell.n_leaves(), sizes.hidden);
    for layer in 1..=sizes.layers {
        let inputs = if layer == 1 { sizes.inputs } else { hidden };
        let mut add = |what, shape: &[usize]| push(params, format!("layers.{layer}.{what}"), shape);
        add("input.weight", &[leaves, hidden, inputs]);
        add("hidden.weight", &[leaves, hidden, hidden]);
        if *cell == CellArchitecture::Lstm {
            add("bias", &[leaves, hidden]);
        }
    }
}

/// Where a tensor lies, if the list has it.
pub fn span(params: &[Param], name: &str) -> Option<Span> {
    let param = params.iter().find(|param| param.name == name)?;
    Some(Span {
        start: param.offset,
        len: param.len(),
    })
}

/// The layers without dropout, with buffers of their own.
pub fn build(
    builder: &mut Builder,
    cell: &CellArchitecture,
    sizes: &Sizes,
    params: &[Param],
) -> Stack {
    let Sizes {
        layers,
        steps,
        rows,
        hidden,
        ..
    } = *sizes;
    let program = Program::from(cell);
    let units = program.leaves * hidden;
    let mut buffer = |name: String, values: usize| -> BufferId {
        builder.buffer(name, Content::Values(values * rows))
    };
    let mut layer = |number: usize| -> Recurrent {
        let inputs = if number == 1 { sizes.inputs } else { hidden };
        let mut buffer = |what: &str, values| buffer(format!("layer {number} {what}"), values);
        let weight = |what: &str| span(params, &format!("layers.{number}.{what}"));
        Recurrent {
            inputs,
            input_weight: weight("input.weight").unwrap(),
            hidden_weight: weight("hidden.weight").unwrap(),
            bias: weight("bias"),
            x: buffer("x", steps * inputs),
            input_products: buffer("input products", steps * units),
            hidden_products: buffer("hidden products", steps * units),
            h: buffer("h", (steps + 1) * hidden),
            c: buffer("c", (steps + 1) * hidden),
            dx: buffer("dx", steps * inputs),
            dh: buffer("dh", steps * hidden),
        }
    };
    Stack {
        program,
        steps,
        rows,
        hidden,
        layers: (1..=layers).map(&mut layer).collect(),
        dropout: Dropout {
            rate: 0.0,
            variational: false,
        },
        input: buffer("input".into(), steps * sizes.inputs),
        dinput: buffer("dinput".into(), steps * sizes.inputs),
        output: buffer("output".into(), steps * hidden),
        doutput: buffer("doutput".into(), steps * hidden),
    }
}
