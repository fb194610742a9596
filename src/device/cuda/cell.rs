//! A recurrent cell as kernels read it: a table of instructions whose operands are slots.

use bytemuck::Zeroable;

use super::declare::structs;
use crate::graph::recurrent::{Operand, Program};
use crate::space::cell::{Activation, Combination};

structs! {
    /// An instruction; its operands are slots of a cell.
    struct CellInstruction {
        combination: i32,
        activation: i32,
        left: i32,
        right: i32,
    }

    /// A cell.
    struct CellProgram {
        instructions: [CellInstruction; 32],
        n_instructions: i32,
        leaves: i32,
        output: i32,
        state: i32,
    }
}

/// Instructions of a cell at most: those of a tree of 16 leaves.
pub const MOST_INSTRUCTIONS: usize = 32;
/// Cells that a block computes at once, each with its slots in shared memory.
pub const CELLS: usize = 128;

/// The number of a combination in a kernel's table.
fn of_combination(combination: Combination) -> usize {
    match combination {
        Combination::Add => 0,
        Combination::ElemMult => 1,
        Combination::Max => 2,
    }
}

/// The number of an activation.
fn of_activation(activation: Activation) -> usize {
    match activation {
        Activation::Identity => 0,
        Activation::Tanh => 1,
        Activation::Sigmoid => 2,
        Activation::Relu => 3,
        Activation::Sin => 4,
    }
}

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    [
        ("CELLS", CELLS),
        ("ADD", of_combination(Combination::Add)),
        ("ELEM_MULT", of_combination(Combination::ElemMult)),
        ("LARGER", of_combination(Combination::Max)),
        ("IDENTITY", of_activation(Activation::Identity)),
        ("TANH", of_activation(Activation::Tanh)),
        ("SIGMOID", of_activation(Activation::Sigmoid)),
        ("RELU", of_activation(Activation::Relu)),
        ("SINE", of_activation(Activation::Sin)),
    ]
    .map(|(name, number)| (name, number.to_string()))
    .to_vec()
}

/// Slots of a cell.
pub fn n_slots(program: &Program) -> usize {
    2 * program.leaves + 1 + program.instructions.len()
}

/// The table of a cell.
pub fn program(of: &Program) -> CellProgram {
    let slot = |operand: Operand| match operand {
        Operand::Input(leaf) => leaf,
        Operand::Hidden(leaf) => of.leaves + leaf,
        Operand::State => 2 * of.leaves,
        Operand::Value(instruction) => 2 * of.leaves + 1 + instruction,
    } as i32;
    let mut instructions = [CellInstruction::zeroed(); MOST_INSTRUCTIONS];
    for (to, instruction) in instructions.iter_mut().zip(&of.instructions) {
        *to = CellInstruction {
            combination: of_combination(instruction.combination) as i32,
            activation: of_activation(instruction.activation) as i32,
            left: slot(instruction.left),
            right: slot(instruction.right),
        };
    }
    CellProgram {
        instructions,
        n_instructions: of.instructions.len() as i32,
        leaves: of.leaves as i32,
        output: of.output as i32,
        state: of.state as i32,
    }
}
