//! What a language model's steps work on: the cell as a table of instructions, stacks of recurrent
//! layers, embedding and decoder. Devices know nothing of trees; they run these.
//!
//! Letters: t steps of a window, b rows of a batch, h hidden units, v words of the vocabulary,
//! l leaves of a cell, k inputs of a layer. All buffers hold plain values in row order.

use super::buffer::{BufferId, Span};
use crate::space::cell::{Activation, CellArchitecture, Combination, Operation, Tree};

/// Where an instruction takes an operand from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Leaf i of `W x` (and the bias, where there is one).
    Input(usize),
    /// Leaf i of `U h_(t-1)`.
    Hidden(usize),
    /// The value of an earlier instruction.
    Value(usize),
    /// `c_(t-1)`.
    State,
}

/// value = activation(z), z = combination(left, right), for each hidden unit alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// How the operands become one.
    pub combination: Combination,
    /// What follows.
    pub activation: Activation,
    /// First operand.
    pub left: Operand,
    /// Second operand.
    pub right: Operand,
}

/// A recurrent cell: `h_t` and `c_t` from `W x_t`, `U h_(t-1)` and `c_(t-1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Parts of `W x` and of `U h`, each of h values.
    pub leaves: usize,
    /// In the order in which they are computed.
    pub instructions: Vec<Instruction>,
    /// The instruction whose value is `h_t`.
    pub output: usize,
    /// The instruction whose z, before its activation, is `c_t`.
    pub state: usize,
}

impl From<&CellArchitecture> for Program {
    fn from(cell: &CellArchitecture) -> Program {
        match cell {
            CellArchitecture::Tree(tree) => Program::of_tree(tree),
            CellArchitecture::Lstm => Program::lstm(),
        }
    }
}

impl Program {
    /// A tree's nodes, and the injection behind the node that it follows.
    // paper P8.1, P8.2, P8.3
    fn of_tree(tree: &Tree) -> Program {
        let mut instructions: Vec<Instruction> = vec![];
        // The instruction that gives what the parent of each node sees, and the node's own.
        let (mut seen, mut own) = (vec![], vec![]);
        let mut push = |(combination, activation): Operation, left, right| {
            instructions.push(Instruction {
                combination,
                activation,
                left,
                right,
            });
            instructions.len() - 1
        };
        for (node, &operation) in tree.nodes.iter().enumerate() {
            let (left, right) = match tree.children(node) {
                None => (Operand::Input(node), Operand::Hidden(node)),
                Some(children) => {
                    let [left, right] = children.map(|child| Operand::Value(seen[child]));
                    (left, right)
                }
            };
            let value = push(operation, left, right);
            own.push(value);
            seen.push(match node == tree.inject_into {
                true => push(tree.inject, Operand::Value(value), Operand::State),
                false => value,
            });
        }
        Program {
            leaves: tree.base(),
            instructions,
            output: seen[tree.root()],
            state: own[tree.state_from],
        }
    }

    /// The long short-term memory without peepholes, as PyTorch orders its gates: input, forget,
    /// cell, output.
    pub fn lstm() -> Program {
        use Activation::{Identity, Sigmoid, Tanh};
        use Combination::{Add, ElemMult};
        let gate = |leaf, activation| Instruction {
            combination: Add,
            activation,
            left: Operand::Input(leaf),
            right: Operand::Hidden(leaf),
        };
        let join = |combination, activation, left, right| Instruction {
            combination,
            activation,
            left,
            right,
        };
        let value = Operand::Value;
        Program {
            leaves: 4,
            instructions: vec![
                gate(0, Sigmoid),
                gate(1, Sigmoid),
                gate(2, Tanh),
                gate(3, Sigmoid),
                join(ElemMult, Identity, value(0), value(2)),
                join(ElemMult, Identity, value(1), Operand::State),
                join(Add, Tanh, value(4), value(5)),
                join(ElemMult, Identity, value(3), value(6)),
            ],
            output: 7,
            state: 6,
        }
    }
}

/// What one hidden unit's cell reads at a step.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// `W x` (and the bias), a value a leaf.
    pub input: &'a [f64],
    /// `U h_(t-1)`, a value a leaf.
    pub hidden: &'a [f64],
    /// `c_(t-1)`.
    pub state: f64,
}

impl Unit<'_> {
    /// An operand, as far as instructions have given their `values`.
    pub fn operand(&self, operand: Operand, values: &[f64]) -> f64 {
        match operand {
            Operand::Input(leaf) => self.input[leaf],
            Operand::Hidden(leaf) => self.hidden[leaf],
            Operand::Value(instruction) => values[instruction],
            Operand::State => self.state,
        }
    }

    /// z and value of every instruction: what a program means.
    pub fn run(&self, program: &Program) -> (Vec<f64>, Vec<f64>) {
        let (mut zs, mut values) = (vec![], vec![]);
        for instruction in &program.instructions {
            let left = self.operand(instruction.left, &values);
            let right = self.operand(instruction.right, &values);
            let z = match instruction.combination {
                Combination::Add => left + right,
                Combination::ElemMult => left * right,
                // A NaN on either side stays, so that divergence is seen.
                Combination::Max if left >= right || left.is_nan() => left,
                Combination::Max => right,
            };
            zs.push(z);
            values.push(match instruction.activation {
                Activation::Identity => z,
                Activation::Tanh => z.tanh(),
                Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
                Activation::Relu if z <= 0.0 => 0.0,
                Activation::Relu => z,
                Activation::Sin => z.sin(),
            });
        }
        (zs, values)
    }
}

/// One recurrent layer of a stack.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// Values of an input: k.
    pub inputs: usize,
    /// W `[l][h][k]`.
    pub input_weight: Span,
    /// U `[l][h][h]`.
    pub hidden_weight: Span,
    /// Added to `W x`, `[l][h]`.
    pub bias: Option<Span>,
    /// What it reads, after dropout: `[t][b][k]`.
    pub x: BufferId,
    /// `W x` `[t][b][l][h]`; in the backward pass its gradient.
    pub input_products: BufferId,
    /// `U h_(t-1)` `[t][b][l][h]`; in the backward pass its gradient.
    pub hidden_products: BufferId,
    /// `h` `[t + 1][b][h]`; the first is what the window before left, or zeros.
    pub h: BufferId,
    /// `c`, as `h`.
    pub c: BufferId,
    /// Gradient to `x`, `[t][b][k]`.
    pub dx: BufferId,
    /// Gradient to `h_1` to `h_t` from the layers above, `[t][b][h]`.
    pub dh: BufferId,
}

/// Dropout: a value is zero with probability `rate`, else divided by 1 - `rate`. In evaluation
/// nothing is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that a value is dropped, below 1.
    pub rate: f64,
    /// One mask for all steps of a window.
    pub variational: bool,
}

/// Recurrent layers on top of each other, unrolled over the steps of a window. Dropout acts on what
/// each layer reads and on what the last one gives, never from one step to the next.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The cell of every layer.
    pub program: Program,
    /// Steps of a window: t.
    pub steps: usize,
    /// Rows of a batch: b.
    pub rows: usize,
    /// Hidden units of a layer: h.
    pub hidden: usize,
    /// From the first.
    pub layers: Vec<Recurrent>,
    /// On what layers read and on the last output.
    pub dropout: Dropout,
    /// What the first layer reads, before dropout: `[t][b][k]`.
    pub input: BufferId,
    /// Gradient to it.
    pub dinput: BufferId,
    /// What the last layer gives, after dropout: `[t][b][h]`.
    pub output: BufferId,
    /// Gradient to it.
    pub doutput: BufferId,
}

/// Vectors of words: `out[i] = weight[tokens[i]]`.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// Words, as whole numbers: n of them.
    pub tokens: BufferId,
    /// `[n][h]`.
    pub out: BufferId,
    /// Its gradient.
    pub dout: BufferId,
    /// Words of a window: n.
    pub n: usize,
    /// Values of a word.
    pub hidden: usize,
    /// `[v][h]`.
    pub weight: Span,
    /// Whether the gradient is added to what the decoder has written, whose weights these are too.
    pub tied: bool,
}

/// The softmax over the vocabulary: logits = x W^T + bias, and the cross-entropy of the targets.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// `[n][h]`.
    pub x: BufferId,
    /// Its gradient.
    pub dx: BufferId,
    /// The word to predict at each place, -1 where there is none.
    pub targets: BufferId,
    /// Places: n = t b.
    pub n: usize,
    /// Rows of a batch: the loss that is descended is the sum over the steps of the rows' mean.
    pub rows: usize,
    /// Values of a place.
    pub hidden: usize,
    /// Words of the vocabulary.
    pub vocabulary: usize,
    /// W `[v][h]`.
    pub weight: Span,
    /// `[v]`.
    pub bias: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_number_stays() {
        let of = |combination, activation, left, right| {
            let instruction = Instruction {
                combination,
                activation,
                left: Operand::Input(0),
                right: Operand::Hidden(0),
            };
            let program = Program {
                leaves: 1,
                instructions: vec![instruction],
                output: 0,
                state: 0,
            };
            let unit = Unit {
                input: &[left],
                hidden: &[right],
                state: 0.0,
            };
            unit.run(&program).1[0]
        };
        use {Activation::*, Combination::*};
        for combination in [Add, ElemMult, Max] {
            for activation in [Identity, Tanh, Sigmoid, Relu, Sin] {
                for (left, right) in [(f64::NAN, 1.0), (1.0, f64::NAN)] {
                    assert!(of(combination, activation, left, right).is_nan());
                }
            }
        }
        assert_eq!(of(Max, Identity, -1.0, -2.0), -1.0);
        assert_eq!(of(Max, Relu, -1.0, 3.0), 3.0);
        assert_eq!(of(Add, Relu, -1.0, 0.5), 0.0);
    }

    #[test]
    fn the_injection_comes_between_a_node_and_its_parent() {
        // The paper's example of base 2.
        let json = r#"{"space":"cell","base":2,"nodes":[["add","tanh"],["elem_mult","relu"],
            ["elem_mult","sigmoid"]],"inject":["add","relu"],"indices":[1,0]}"#;
        let Ok(crate::space::Architecture::Cell(cell)) =
            crate::space::Architecture::from_json(json)
        else {
            panic!("a sound cell");
        };
        let program = Program::from(&cell);
        let node = |combination, activation, left, right| Instruction {
            combination,
            activation,
            left,
            right,
        };
        use Operand::{Hidden, Input, State, Value};
        let expected = [
            node(Combination::Add, Activation::Tanh, Input(0), Hidden(0)),
            node(Combination::Add, Activation::Relu, Value(0), State),
            node(Combination::ElemMult, Activation::Relu, Input(1), Hidden(1)),
            node(
                Combination::ElemMult,
                Activation::Sigmoid,
                Value(1),
                Value(2),
            ),
        ];
        assert_eq!(program.instructions, expected);
        assert_eq!((program.output, program.state), (3, 2));
    }
}
