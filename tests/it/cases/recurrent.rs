//! Cases of recurrent layers over a window: cells of every combination and activation, layers on
//! top of each other, dropout, and a state that goes on from the window before.

use super::{Case, Data, Setup, Tolerance};
use nas_engine::graph::recurrent::{Dropout, Instruction, Operand, Program, Recurrent, Stack};
use nas_engine::graph::step::{BufferId, Content, Span, Step};
use nas_engine::space::cell::{Activation, Combination};

/// Products of a hundred values in f32, one after the other over some steps.
const TOLERANCE: f64 = 2e-5;

const NONE: Dropout = Dropout {
    rate: 0.0,
    variational: false,
};
const HALF: Dropout = Dropout {
    rate: 0.5,
    variational: false,
};
const OF_SEQUENCE: Dropout = Dropout {
    rate: 0.3,
    variational: true,
};

#[derive(Clone)]
struct Row {
    name: &'static str,
    program: Program,
    bias: bool,
    rows: usize,
    steps: usize,
    inputs: usize,
    hidden: usize,
    layers: usize,
    dropout: Dropout,
    /// Windows that are run: the second begins with the state of the first.
    windows: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let base = Row {
        name: "worked example",
        program: worked(),
        bias: false,
        rows: 3,
        steps: 4,
        inputs: 5,
        hidden: 6,
        layers: 1,
        dropout: NONE,
        windows: 1,
    };
    let two = Row {
        layers: 2,
        inputs: 7,
        hidden: 9,
        ..base.clone()
    };
    let lstm = Row {
        name: "LSTM",
        program: Program::lstm(),
        bias: true,
        ..two.clone()
    };
    let every = Row {
        name: "every operation",
        program: every(),
        ..base.clone()
    };
    let rows = [
        base.clone(),
        Row {
            rows: 1,
            steps: 1,
            inputs: 1,
            hidden: 1,
            ..base.clone()
        },
        two.clone(),
        lstm.clone(),
        every.clone(),
        Row {
            hidden: 70, // more than a block of units
            ..every
        },
        Row {
            dropout: HALF,
            ..two.clone()
        },
        Row {
            dropout: OF_SEQUENCE,
            ..lstm.clone()
        },
        Row {
            name: "widest",
            program: widest(),
            rows: 2,
            steps: 2,
            inputs: 2,
            hidden: 3,
            ..base
        },
        Row {
            layers: 3,
            steps: 2, // fewer than layers
            dropout: HALF,
            ..lstm.clone()
        },
        Row {
            // More than a tile of places, of rows and of inputs.
            rows: 20,
            steps: 7,
            inputs: 40,
            ..two.clone()
        },
        Row { windows: 2, ..two },
        Row {
            windows: 2,
            rows: 5,
            hidden: 40,
            ..lstm
        },
    ];
    rows.into_iter().map(case).collect()
}

fn node(
    combination: Combination,
    activation: Activation,
    left: Operand,
    right: Operand,
) -> Instruction {
    Instruction {
        combination,
        activation,
        left,
        right,
    }
}

/// The paper's example of base 2 (section 6 of docs/paper.md).
fn worked() -> Program {
    use Operand::{Hidden, Input, State, Value};
    let instructions = vec![
        node(Combination::Add, Activation::Tanh, Input(0), Hidden(0)),
        node(Combination::ElemMult, Activation::Relu, Input(1), Hidden(1)),
        node(Combination::Add, Activation::Relu, Value(0), State),
        node(
            Combination::ElemMult,
            Activation::Sigmoid,
            Value(2),
            Value(1),
        ),
    ];
    Program {
        leaves: 2,
        instructions,
        output: 3,
        state: 1,
    }
}

/// As many leaves and instructions as a tree of base 16 has: its nodes and the injection.
fn widest() -> Program {
    use Operand::{Hidden, Input, State, Value};
    let leaf = |i| node(Combination::Add, Activation::Tanh, Input(i), Hidden(i));
    let inner = |i: usize| {
        let activation = if i.is_multiple_of(2) {
            Activation::Identity
        } else {
            Activation::Sigmoid
        };
        node(Combination::Add, activation, Value(2 * i), Value(2 * i + 1))
    };
    let mut instructions: Vec<Instruction> = (0..16).map(leaf).chain((0..15).map(inner)).collect();
    instructions.push(node(Combination::Add, Activation::Tanh, Value(30), State));
    Program {
        leaves: 16,
        instructions,
        output: 31,
        state: 20,
    }
}

/// Every combination and activation, `c` from the last instruction.
fn every() -> Program {
    use Operand::{Hidden, Input, State, Value};
    let instructions = vec![
        node(Combination::Add, Activation::Identity, Input(0), Hidden(0)),
        node(Combination::ElemMult, Activation::Sin, Input(1), Hidden(1)),
        node(Combination::Max, Activation::Tanh, Input(2), Hidden(2)),
        node(Combination::Max, Activation::Sigmoid, Value(0), Value(1)),
        node(Combination::ElemMult, Activation::Relu, Value(2), Value(3)),
        node(Combination::Max, Activation::Sin, Value(4), State),
        node(Combination::Add, Activation::Tanh, Value(5), Value(1)),
    ];
    Program {
        leaves: 3,
        instructions,
        output: 6,
        state: 6,
    }
}

fn case(row: Row) -> Case {
    let Row {
        name,
        rows,
        steps,
        inputs,
        hidden,
        layers,
        dropout,
        windows,
        ..
    } = row;
    let name = format!(
        "{name}, {steps} steps, {inputs} inputs, {hidden} units, {layers} layers, dropout {} {}, \
         {windows} windows",
        dropout.rate, dropout.variational
    );
    let n_weights = (0..layers).map(|layer| spans(&row, layer, 0).1).sum();
    let tolerance = Tolerance::new(TOLERANCE);
    Case::new(
        ("recurrent", name),
        rows,
        [n_weights, 0],
        tolerance,
        move |setup| {
            build(setup, &row);
        },
    )
}

/// Weights of a layer, and how many.
fn spans(row: &Row, layer: usize, mut start: usize) -> ([Span; 3], usize) {
    let units = row.program.leaves * row.hidden;
    let inputs = if layer == 0 { row.inputs } else { row.hidden };
    let first = start;
    let bias = if row.bias { units } else { 0 };
    let spans = [units * inputs, units * row.hidden, bias].map(|len| {
        let span = Span { start, len };
        start += len;
        span
    });
    (spans, start - first)
}

fn build(setup: &mut Setup, row: &Row) {
    let Row {
        rows,
        steps,
        hidden,
        ..
    } = *row;
    setup.weights(Data::Normal(0.0, 0.4));
    setup.times(row.windows);
    let mut start = 0;
    let mut stack_layers = vec![];
    for layer in 0..row.layers {
        let ([input_weight, hidden_weight, bias], n_weights) = spans(row, layer, start);
        start += n_weights;
        let inputs = if layer == 0 { row.inputs } else { hidden };
        let units = row.program.leaves * hidden;
        let mut buffer = |what: &str, values: usize| -> BufferId {
            let name = format!("layer {} {what}", layer + 1);
            setup.builder.buffer(name, Content::Values(values * rows))
        };
        stack_layers.push(Recurrent {
            inputs,
            input_weight,
            hidden_weight,
            bias: row.bias.then_some(bias),
            x: buffer("x", steps * inputs),
            input_products: buffer("input products", steps * units),
            hidden_products: buffer("hidden products", steps * units),
            h: buffer("h", (steps + 1) * hidden),
            c: buffer("c", (steps + 1) * hidden),
            dx: buffer("dx", steps * inputs),
            dh: buffer("dh", steps * hidden),
        });
    }
    let stack = Stack {
        program: row.program.clone(),
        steps,
        rows,
        hidden,
        layers: stack_layers,
        dropout: row.dropout,
        input: setup.values("input", steps * row.inputs, Data::Normal(0.0, 1.0)),
        dinput: setup.builder.values("dinput", steps * row.inputs),
        output: setup.builder.values("output", steps * hidden),
        doutput: setup.builder.values("doutput", steps * hidden),
    };
    for layer in &stack.layers {
        setup.output(layer.c);
    }
    setup.forward(Step::Unroll(stack.clone()));
    if row.windows > 1 {
        // The window's number goes on; what the first window gives is not in the gradient.
        setup.forward(Step::Advance);
        setup.output(stack.output);
        return;
    }
    setup.result(stack.output, stack.doutput);
    setup.gradient(stack.input, stack.dinput);
    setup.weight_gradients();
    setup.backward(Step::UnrollGrad(stack));
}
