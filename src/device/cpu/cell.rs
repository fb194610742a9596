//! One step of a recurrent cell for one row: the program's instructions, each a loop over a block
//! of hidden units that the compiler vectorises.

use super::loops::{self, Loop};
use super::math;
use super::simd::Isa;
use crate::graph::recurrent::{Operand, Program};
use crate::space::cell::{Activation, Combination};

/// Hidden units that are worked on together: few enough that copying them takes no call, and that what
/// is computed of them stays in the first cache.
const UNITS: usize = 32;

type Block = [f32; UNITS];

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
    pub workspace: &'a mut Workspace,
}

/// What goes back through a step of a row.
pub struct Backward<'a> {
    pub program: &'a Program,
    /// As in [`Forward`]; takes the gradient in its place.
    pub input: &'a mut [f32],
    pub hidden: &'a mut [f32],
    /// `c` of the step before, `[h]`.
    pub state: &'a [f32],
    /// Gradient to h, `[h]`.
    pub dh: &'a [f32],
    /// Gradient to c, `[h]`; then that to c of the step before.
    pub dc: &'a mut [f32],
    pub workspace: &'a mut Workspace,
}

/// Computes `h` and `c`.
pub fn forward(isa: Isa, row: Forward) {
    loops::run(isa, row);
}

/// Computes the gradients.
pub fn backward(isa: Isa, row: Backward) {
    loops::run(isa, row);
}

/// What is computed of a block, for one thread.
pub struct Workspace {
    read: Leaves,
    /// Gradients to what is read.
    gradient: Leaves,
    /// Of every instruction.
    z: Vec<Block>,
    value: Vec<Block>,
    dvalue: Vec<Block>,
}

/// What the instructions read from outside.
struct Leaves {
    /// Of `W x` and of `U h`.
    input: Vec<Block>,
    hidden: Vec<Block>,
    state: Block,
}

impl Workspace {
    /// Room for the blocks of a program.
    pub fn new(program: &Program) -> Workspace {
        let zeros = |n: usize| vec![[0.0; UNITS]; n];
        let leaves = || Leaves {
            input: zeros(program.leaves),
            hidden: zeros(program.leaves),
            state: [0.0; UNITS],
        };
        let instructions = || zeros(program.instructions.len());
        Workspace {
            read: leaves(),
            gradient: leaves(),
            z: instructions(),
            value: instructions(),
            dvalue: instructions(),
        }
    }

    /// Reads the leaves `[l][h]` and the state `[h]` of `n` units, and runs every instruction.
    #[inline(always)]
    fn run(
        &mut self,
        program: &Program,
        [input, hidden, state]: [&[f32]; 3],
        first: usize,
        n: usize,
    ) {
        let units = state.len();
        for leaf in 0..program.leaves {
            self.read.input[leaf] = load(input, leaf * units + first, n);
            self.read.hidden[leaf] = load(hidden, leaf * units + first, n);
        }
        self.read.state = load(state, first, n);
        for (i, instruction) in program.instructions.iter().enumerate() {
            let [left, right] = [instruction.left, instruction.right].map(|of| self.operand(of));
            let z = combined(instruction.combination, left, right);
            self.value[i] = activated(instruction.activation, &z);
            self.z[i] = z;
        }
    }

    #[inline(always)]
    fn operand(&self, operand: Operand) -> &Block {
        match operand {
            Operand::Input(leaf) => &self.read.input[leaf],
            Operand::Hidden(leaf) => &self.read.hidden[leaf],
            Operand::Value(instruction) => &self.value[instruction],
            Operand::State => &self.read.state,
        }
    }

    /// Back through every instruction, after [`Workspace::run`], from the gradients to h and c.
    #[inline(always)]
    fn run_back(&mut self, program: &Program, dh: Block, dc: &Block) {
        let gradient = &mut self.gradient;
        for blocks in [&mut gradient.input, &mut gradient.hidden, &mut self.dvalue] {
            blocks.fill([0.0; UNITS]);
        }
        gradient.state = [0.0; UNITS];
        self.dvalue[program.output] = dh;
        for (i, instruction) in program.instructions.iter().enumerate().rev() {
            let (z, value, dvalue) = (&self.z[i], &self.value[i], &self.dvalue[i]);
            let mut dz = sloped(instruction.activation, z, value, dvalue);
            if i == program.state {
                dz = zip(&dz, dc, |a, b| a + b);
            }
            let [left, right] = [instruction.left, instruction.right].map(|of| self.operand(of));
            let (dleft, dright) = shares(instruction.combination, left, right, &dz);
            self.add(instruction.left, &dleft);
            self.add(instruction.right, &dright);
        }
    }

    /// Adds to the gradient to an operand.
    #[inline(always)]
    fn add(&mut self, operand: Operand, share: &Block) {
        let gradient = match operand {
            Operand::Input(leaf) => &mut self.gradient.input[leaf],
            Operand::Hidden(leaf) => &mut self.gradient.hidden[leaf],
            Operand::Value(instruction) => &mut self.dvalue[instruction],
            Operand::State => &mut self.gradient.state,
        };
        *gradient = zip(gradient, share, |sum, share| sum + share);
    }
}

/// Units from `first` of values `[..][h]`, for up to a block of them; beyond the last, zeros.
#[inline(always)]
fn load(values: &[f32], first: usize, n: usize) -> Block {
    match <&Block>::try_from(&values[first..first + n]) {
        Ok(whole) => *whole,
        Err(_) => {
            let mut block = [0.0; UNITS];
            block[..n].copy_from_slice(&values[first..first + n]);
            block
        }
    }
}

/// The first `n` units of a block to values `[..][h]` from `first` on.
#[inline(always)]
fn store(block: &Block, values: &mut [f32], first: usize, n: usize) {
    match <&mut Block>::try_from(&mut values[first..first + n]) {
        Ok(whole) => *whole = *block,
        Err(_) => values[first..first + n].copy_from_slice(&block[..n]),
    }
}

#[inline(always)]
fn zip(a: &Block, b: &Block, f: impl Fn(f32, f32) -> f32) -> Block {
    let mut out = [0.0; UNITS];
    for i in 0..UNITS {
        out[i] = f(a[i], b[i]);
    }
    out
}

#[inline(always)]
fn combined(how: Combination, left: &Block, right: &Block) -> Block {
    match how {
        Combination::Add => zip(left, right, |a, b| a + b),
        Combination::ElemMult => zip(left, right, |a, b| a * b),
        // A NaN on either side stays.
        Combination::Max => zip(left, right, |a, b| if a >= b || a.is_nan() { a } else { b }),
    }
}

#[inline(always)]
fn activated(activation: Activation, z: &Block) -> Block {
    match activation {
        Activation::Identity => *z,
        Activation::Tanh => zip(z, z, |z, _| math::tanh(z)),
        Activation::Sigmoid => zip(z, z, |z, _| math::sigmoid(z)),
        // A NaN stays, so that divergence is seen.
        Activation::Relu => zip(z, z, |z, _| if z <= 0.0 { 0.0 } else { z }),
        Activation::Sin => of_angles(z, math::sin, f32::sin),
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
        Activation::Sin => zip(&of_angles(z, math::cos, f32::cos), dvalue, |cos, d| d * cos),
    }
}

/// What the operands get of the gradient to z. Of two equal ones the first is the larger.
#[inline(always)]
fn shares(how: Combination, left: &Block, right: &Block, dz: &Block) -> (Block, Block) {
    match how {
        Combination::Add => (*dz, *dz),
        Combination::ElemMult => (zip(dz, right, |d, b| d * b), zip(dz, left, |d, a| d * a)),
        Combination::Max => {
            let first = zip(left, right, |a, b| if a >= b { 1.0 } else { 0.0 });
            (
                zip(dz, &first, |d, first| if first > 0.0 { d } else { 0.0 }),
                zip(dz, &first, |d, first| if first > 0.0 { 0.0 } else { d }),
            )
        }
    }
}

/// A function of angles: by `near`, and where that is not exact, one after the other by `far`.
#[inline(always)]
fn of_angles(z: &Block, near: impl Fn(f32) -> f32, far: impl Fn(f32) -> f32) -> Block {
    let mut out = zip(z, z, |z, _| near(z));
    let is_far = |z: f32| z.abs() > math::LARGEST_ANGLE;
    if z.iter().any(|&z| is_far(z)) {
        for (out, &z) in out.iter_mut().zip(z).filter(|(_, z)| is_far(**z)) {
            *out = far(z);
        }
    }
    out
}

/// The first of each block of units, and how many it has.
fn blocks(units: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..units)
        .step_by(UNITS)
        .map(move |first| (first, UNITS.min(units - first)))
}

impl Loop for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        let Program { output, state, .. } = *self.program;
        let workspace = self.workspace;
        for (first, n) in blocks(self.state.len()) {
            let leaves = [self.input, self.hidden, self.state];
            workspace.run(self.program, leaves, first, n);
            store(&workspace.value[output], self.h, first, n);
            store(&workspace.z[state], self.c, first, n);
        }
    }
}

impl Loop for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        let units = self.state.len();
        let workspace = self.workspace;
        for (first, n) in blocks(units) {
            let leaves = [&*self.input, &*self.hidden, self.state];
            workspace.run(self.program, leaves, first, n);
            let (dh, dc) = (load(self.dh, first, n), load(self.dc, first, n));
            workspace.run_back(self.program, dh, &dc);
            for leaf in 0..self.program.leaves {
                let at = leaf * units + first;
                store(&workspace.gradient.input[leaf], self.input, at, n);
                store(&workspace.gradient.hidden[leaf], self.hidden, at, n);
            }
            store(&workspace.gradient.state, self.dc, first, n);
        }
    }
}
