//! One step of a recurrent cell for one row: the program's instructions, each a loop over a block
//! of hidden units that the compiler vectorises.

use super::loops::{self, Loop};
use super::math;
use super::simd::Isa;
use crate::graph::recurrent::{Instruction, Operand, Program};
use crate::space::cell::{Activation, Combination};

/// Hidden units that are worked on together: what is computed of them stays in the first cache. What is
/// left of a row is worked on in blocks of [`SHORT`].
const LONG: usize = 64;
/// Units of a short block; the last is filled up with zeros.
const SHORT: usize = 32;

type Block<const N: usize> = [f32; N];

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
fn load<const N: usize>(values: &[f32], first: usize, n: usize) -> Block<N> {
    match <&Block<N>>::try_from(&values[first..first + n]) {
        Ok(whole) => *whole,
        Err(_) => {
            let mut block = [0.0; N];
            block[..n].copy_from_slice(&values[first..first + n]);
            block
        }
    }
}

/// The first `n` units of a block to values `[..][h]` from `first` on.
#[inline(always)]
fn store<const N: usize>(block: &Block<N>, values: &mut [f32], first: usize, n: usize) {
    match <&mut Block<N>>::try_from(&mut values[first..first + n]) {
        Ok(whole) => *whole = *block,
        Err(_) => values[first..first + n].copy_from_slice(&block[..n]),
    }
}

/// What a block of units reads and computes.
struct Values<const N: usize> {
    input: Vec<Block<N>>,
    hidden: Vec<Block<N>>,
    state: Block<N>,
    /// Of every instruction.
    z: Vec<Block<N>>,
    value: Vec<Block<N>>,
}

impl<const N: usize> Values<N> {
    #[inline(always)]
    fn new(program: &Program) -> Values<N> {
        let zeros = |n: usize| vec![[0.0; N]; n];
        let n_instructions = program.instructions.len();
        Values {
            input: zeros(program.leaves),
            hidden: zeros(program.leaves),
            state: [0.0; N],
            z: zeros(n_instructions),
            value: zeros(n_instructions),
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
            self.input[leaf] = load(input, leaf * units + first, n);
            self.hidden[leaf] = load(hidden, leaf * units + first, n);
        }
        self.state = load(state, first, n);
        for (i, instruction) in program.instructions.iter().enumerate() {
            let [left, right] = [instruction.left, instruction.right].map(|x| self.operand(x));
            let z = combined(instruction.combination, left, right);
            self.value[i] = activated(instruction.activation, &z);
            self.z[i] = z;
        }
    }

    #[inline(always)]
    fn operand(&self, operand: Operand) -> &Block<N> {
        match operand {
            Operand::Input(leaf) => &self.input[leaf],
            Operand::Hidden(leaf) => &self.hidden[leaf],
            Operand::Value(instruction) => &self.value[instruction],
            Operand::State => &self.state,
        }
    }
}

#[inline(always)]
fn zip<const N: usize>(a: &Block<N>, b: &Block<N>, f: impl Fn(f32, f32) -> f32) -> Block<N> {
    let mut out = [0.0; N];
    for i in 0..N {
        out[i] = f(a[i], b[i]);
    }
    out
}

#[inline(always)]
fn combined<const N: usize>(how: Combination, left: &Block<N>, right: &Block<N>) -> Block<N> {
    match how {
        Combination::Add => zip(left, right, |a, b| a + b),
        Combination::ElemMult => zip(left, right, |a, b| a * b),
        // A NaN on either side stays.
        Combination::Max => zip(left, right, |a, b| if a >= b || a.is_nan() { a } else { b }),
    }
}

#[inline(always)]
fn activated<const N: usize>(activation: Activation, z: &Block<N>) -> Block<N> {
    match activation {
        Activation::Identity => *z,
        Activation::Tanh => zip(z, z, |z, _| math::tanh(z)),
        Activation::Sigmoid => zip(z, z, |z, _| math::sigmoid(z)),
        // A NaN stays, so that divergence is seen.
        Activation::Relu => zip(z, z, |z, _| if z <= 0.0 { 0.0 } else { z }),
        Activation::Sin => zip(z, z, |z, _| z.sin()),
    }
}

/// dvalue times the activation's derivative at z.
#[inline(always)]
fn sloped<const N: usize>(
    activation: Activation,
    z: &Block<N>,
    value: &Block<N>,
    dvalue: &Block<N>,
) -> Block<N> {
    match activation {
        Activation::Identity => *dvalue,
        Activation::Tanh => zip(value, dvalue, |y, d| d * (1.0 - y * y)),
        Activation::Sigmoid => zip(value, dvalue, |y, d| d * (y * (1.0 - y))),
        Activation::Relu => zip(z, dvalue, |z, d| if z <= 0.0 { 0.0 } else { d }),
        Activation::Sin => zip(z, dvalue, |z, d| d * z.cos()),
    }
}

impl Forward<'_> {
    /// The units from `from` on, in blocks of N; where the next ones begin. Short blocks take all.
    #[inline(always)]
    fn blocks<const N: usize>(&mut self, from: usize) -> usize {
        let Program { output, state, .. } = *self.program;
        let end = end_of_blocks::<N>(from, self.state.len());
        if end == from {
            return end;
        }
        let mut values = Values::<N>::new(self.program);
        for first in (from..end).step_by(N) {
            let n = N.min(end - first);
            values.run(
                self.program,
                [self.input, self.hidden, self.state],
                first,
                n,
            );
            store(&values.value[output], self.h, first, n);
            store(&values.z[state], self.c, first, n);
        }
        end
    }
}

impl Loop for Forward<'_> {
    #[inline(always)]
    fn run(mut self) {
        let done = self.blocks::<LONG>(0);
        self.blocks::<SHORT>(done);
    }
}

/// How many of `units` are in blocks of N. Only short blocks need not be whole.
#[inline(always)]
fn end_of_blocks<const N: usize>(from: usize, units: usize) -> usize {
    match N {
        SHORT => units,
        _ => units - (units - from) % N,
    }
}

impl Backward<'_> {
    /// As [`Forward::blocks`].
    #[inline(always)]
    fn blocks<const N: usize>(&mut self, from: usize) -> usize {
        let Program {
            leaves,
            output,
            state,
            ..
        } = *self.program;
        let units = self.state.len();
        let end = end_of_blocks::<N>(from, units);
        if end == from {
            return end;
        }
        let mut values = Values::<N>::new(self.program);
        let mut gradients = Values::<N>::new(self.program);
        for first in (from..end).step_by(N) {
            let n = N.min(end - first);
            values.run(
                self.program,
                [self.input, self.hidden, self.state],
                first,
                n,
            );
            gradients.clear();
            gradients.value[output] = load(self.dh, first, n);
            let dc = load(self.dc, first, n);
            for (i, instruction) in self.program.instructions.iter().enumerate().rev() {
                let dvalue = &gradients.value[i];
                let mut dz = sloped(
                    instruction.activation,
                    &values.z[i],
                    &values.value[i],
                    dvalue,
                );
                if i == state {
                    dz = zip(&dz, &dc, |a, b| a + b);
                }
                gradients.add(instruction, &values, &dz);
            }
            for leaf in 0..leaves {
                let at = leaf * units + first;
                store(&gradients.input[leaf], self.input, at, n);
                store(&gradients.hidden[leaf], self.hidden, at, n);
            }
            store(&gradients.state, self.dc, first, n);
        }
        end
    }
}

impl Loop for Backward<'_> {
    #[inline(always)]
    fn run(mut self) {
        let done = self.blocks::<LONG>(0);
        self.blocks::<SHORT>(done);
    }
}

/// As gradients to what [`Values`] holds; z is not used.
impl<const N: usize> Values<N> {
    #[inline(always)]
    fn clear(&mut self) {
        for blocks in [&mut self.input, &mut self.hidden, &mut self.value] {
            blocks.fill([0.0; N]);
        }
        self.state = [0.0; N];
    }

    /// Adds what the operands of an instruction get of the gradient to its z.
    #[inline(always)]
    fn add(&mut self, instruction: &Instruction, values: &Values<N>, dz: &Block<N>) {
        let (left, right) = (instruction.left, instruction.right);
        let (a, b) = (values.operand(left), values.operand(right));
        match instruction.combination {
            Combination::Add => {
                self.add_to(left, dz);
                self.add_to(right, dz);
            }
            Combination::ElemMult => {
                self.add_to(left, &zip(dz, b, |d, b| d * b));
                self.add_to(right, &zip(dz, a, |d, a| d * a));
            }
            Combination::Max => {
                let first = zip(a, b, |a, b| if a >= b { 1.0 } else { 0.0 });
                self.add_to(
                    left,
                    &zip(dz, &first, |d, first| if first > 0.0 { d } else { 0.0 }),
                );
                self.add_to(
                    right,
                    &zip(dz, &first, |d, first| if first > 0.0 { 0.0 } else { d }),
                );
            }
        }
    }

    #[inline(always)]
    fn add_to(&mut self, operand: Operand, share: &Block<N>) {
        let gradient = match operand {
            Operand::Input(leaf) => &mut self.input[leaf],
            Operand::Hidden(leaf) => &mut self.hidden[leaf],
            Operand::Value(instruction) => &mut self.value[instruction],
            Operand::State => &mut self.state,
        };
        for i in 0..N {
            gradient[i] += share[i];
        }
    }
}
