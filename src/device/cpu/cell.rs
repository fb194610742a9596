//! One step of a recurrent cell for one row: the program's instructions, each a loop over a block
//! of hidden units that the compiler vectorises.

use super::loops::{self, Loop};
use super::math;
use super::simd::Isa;
use crate::graph::recurrent::{Instruction, Operand, Program};
use crate::space::cell::{Activation, Combination};

/// Hidden units that are worked on together: what is computed of them stays in the first cache.
const BLOCK: usize = 64;

type Block = [f32; BLOCK];
const ZERO: Block = [0.0; BLOCK];

/// What a step computes of a row.
pub struct Forward<'a> {
    pub program: &'a Program,
    /// `W x` (and the bias) and `U h`, `[l][h]`.
    pub input: &'a [f32],
    pub hidden: &'a [f32],
    /// `c` of the step before, `[h]`.
    pub state: &'a [f32],
    /// Results, `[h]`.
    pub h: &'a mut [f32],
    pub c: &'a mut [f32],
}

/// What goes back through a step of a row.
pub struct Backward<'a> {
    pub program: &'a Program,
    /// As in [`Forward`]; takes the gradient in its place.
    pub input: &'a mut [f32],
    pub hidden: &'a mut [f32],
    pub state: &'a [f32],
    /// Gradient to h.
    pub dh: &'a [f32],
    /// Gradient to c; then that to c of the step before.
    pub dc: &'a mut [f32],
}

/// Computes `h` and `c`.
pub fn forward(isa: Isa, row: Forward) {
    loops::run(isa, row);
}

/// Computes the gradients.
pub fn backward(isa: Isa, row: Backward) {
    loops::run(isa, row);
}

/// Units from `first` of values `[..][h]`, for up to a block of them; beyond the last, zeros.
#[inline(always)]
fn load(values: &[f32], first: usize, n: usize) -> Block {
    let mut block = ZERO;
    block[..n].copy_from_slice(&values[first..first + n]);
    block
}

/// z and value of every instruction for a block of units.
struct Values {
    z: Vec<Block>,
    value: Vec<Block>,
}

/// What a block of units reads.
struct Reads<'a> {
    input: &'a [f32],
    hidden: &'a [f32],
    state: &'a [f32],
    /// Units of a leaf; the block's first; how many.
    units: usize,
    first: usize,
    n: usize,
}

impl Reads<'_> {
    #[inline(always)]
    fn operand(&self, operand: Operand, value: &[Block]) -> Block {
        match operand {
            Operand::Input(leaf) => load(self.input, leaf * self.units + self.first, self.n),
            Operand::Hidden(leaf) => load(self.hidden, leaf * self.units + self.first, self.n),
            Operand::Value(instruction) => value[instruction],
            Operand::State => load(self.state, self.first, self.n),
        }
    }

    #[inline(always)]
    fn run(&self, program: &Program, values: &mut Values) {
        for (i, instruction) in program.instructions.iter().enumerate() {
            let left = self.operand(instruction.left, &values.value);
            let right = self.operand(instruction.right, &values.value);
            let z = combined(instruction.combination, &left, &right);
            values.z[i] = z;
            values.value[i] = activated(instruction.activation, &z);
        }
    }
}

#[inline(always)]
fn zip(a: &Block, b: &Block, f: impl Fn(f32, f32) -> f32) -> Block {
    let mut out = ZERO;
    for i in 0..BLOCK {
        out[i] = f(a[i], b[i]);
    }
    out
}

#[inline(always)]
fn combined(combination: Combination, left: &Block, right: &Block) -> Block {
    match combination {
        Combination::Add => zip(left, right, |a, b| a + b),
        Combination::ElemMult => zip(left, right, |a, b| a * b),
        // A NaN on either side stays.
        Combination::Max => zip(left, right, |a, b| if a >= b || a.is_nan() { a } else { b }),
    }
}

#[inline(always)]
fn activated(activation: Activation, z: &Block) -> Block {
    let map = |f: fn(f32) -> f32| zip(z, z, |z, _| f(z));
    match activation {
        Activation::Identity => *z,
        Activation::Tanh => zip(z, z, |z, _| math::tanh(z)),
        Activation::Sigmoid => zip(z, z, |z, _| math::sigmoid(z)),
        // A NaN stays, so that divergence is seen.
        Activation::Relu => zip(z, z, |z, _| if z <= 0.0 { 0.0 } else { z }),
        Activation::Sin => map(f32::sin),
    }
}

/// dvalue times the activation's derivative at z.
#[inline(always)]
fn sloped(activation: Activation, z: &Block, value: &Block, dvalue: &Block) -> Block {
    match activation {
        Activation::Identity => *dvalue,
        Activation::Tanh => zip(value, dvalue, |y, d| d * (1.0 - y * y)),
        Activation::Sigmoid => zip(value, dvalue, |y, d| d * (y * (1.0 - y))),
        Activation::Relu => zip(z, dvalue, |z, d| if z <= 0.0 { 0.0 } else { d }),
        Activation::Sin => zip(z, dvalue, |z, d| d * z.cos()),
    }
}

impl Loop for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        let n_instructions = self.program.instructions.len();
        let mut values = Values {
            z: vec![ZERO; n_instructions],
            value: vec![ZERO; n_instructions],
        };
        let units = self.state.len();
        for first in (0..units).step_by(BLOCK) {
            let n = BLOCK.min(units - first);
            let reads = Reads {
                input: self.input,
                hidden: self.hidden,
                state: self.state,
                units,
                first,
                n,
            };
            reads.run(self.program, &mut values);
            self.h[first..first + n].copy_from_slice(&values.value[self.program.output][..n]);
            self.c[first..first + n].copy_from_slice(&values.z[self.program.state][..n]);
        }
    }
}

impl Loop for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let Program {
            leaves,
            instructions,
            output,
            state,
        } = self.program;
        let mut values = Values {
            z: vec![ZERO; instructions.len()],
            value: vec![ZERO; instructions.len()],
        };
        let units = self.state.len();
        for first in (0..units).step_by(BLOCK) {
            let n = BLOCK.min(units - first);
            let reads = Reads {
                input: self.input,
                hidden: self.hidden,
                state: self.state,
                units,
                first,
                n,
            };
            reads.run(self.program, &mut values);
            let mut gradients = Gradients {
                value: vec![ZERO; instructions.len()],
                input: vec![ZERO; *leaves],
                hidden: vec![ZERO; *leaves],
                state: ZERO,
            };
            gradients.value[*output] = load(self.dh, first, n);
            let dc = load(self.dc, first, n);
            for (i, instruction) in instructions.iter().enumerate().rev() {
                let dvalue = &gradients.value[i];
                let mut dz = sloped(
                    instruction.activation,
                    &values.z[i],
                    &values.value[i],
                    dvalue,
                );
                if i == *state {
                    dz = zip(&dz, &dc, |a, b| a + b);
                }
                gradients.add(instruction, &reads, &values, &dz);
            }
            for leaf in 0..*leaves {
                let at = leaf * units + first;
                self.input[at..at + n].copy_from_slice(&gradients.input[leaf][..n]);
                self.hidden[at..at + n].copy_from_slice(&gradients.hidden[leaf][..n]);
            }
            self.dc[first..first + n].copy_from_slice(&gradients.state[..n]);
        }
    }
}

/// Gradients of a block of units.
struct Gradients {
    value: Vec<Block>,
    input: Vec<Block>,
    hidden: Vec<Block>,
    state: Block,
}

impl Gradients {
    /// Adds what the operands of an instruction get of the gradient to its z.
    #[inline(always)]
    fn add(&mut self, instruction: &Instruction, reads: &Reads, values: &Values, dz: &Block) {
        let (left, right) = (instruction.left, instruction.right);
        if instruction.combination == Combination::Add {
            self.add_to(left, dz);
            self.add_to(right, dz);
            return;
        }
        let a = reads.operand(left, &values.value);
        let b = reads.operand(right, &values.value);
        let (da, db) = match instruction.combination {
            Combination::Add => (*dz, *dz),
            Combination::ElemMult => (zip(dz, &b, |d, b| d * b), zip(dz, &a, |d, a| d * a)),
            Combination::Max => {
                let first = zip(&a, &b, |a, b| if a >= b { 1.0 } else { 0.0 });
                let da = zip(dz, &first, |d, first| if first > 0.0 { d } else { 0.0 });
                (
                    da,
                    zip(dz, &first, |d, first| if first > 0.0 { 0.0 } else { d }),
                )
            }
        };
        self.add_to(left, &da);
        self.add_to(right, &db);
    }

    #[inline(always)]
    fn add_to(&mut self, operand: Operand, share: &Block) {
        let gradient = match operand {
            Operand::Input(leaf) => &mut self.input[leaf],
            Operand::Hidden(leaf) => &mut self.hidden[leaf],
            Operand::Value(instruction) => &mut self.value[instruction],
            Operand::State => &mut self.state,
        };
        for i in 0..BLOCK {
            gradient[i] += share[i];
        }
    }
}
