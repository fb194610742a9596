//! A stack of recurrent layers, unrolled over a window: forward, and back-propagation through time
//! as far as the window's first step.

use super::dropout::dropped;
use super::tensor::Memory;
use crate::device::Moment;
use crate::graph::plan::Plan;
use crate::graph::recurrent::{Instruction, Operand, Program, Recurrent, Stack, Unit};
use crate::graph::step::BufferId;
use crate::space::cell::{Activation, Combination};

/// What goes back from a unit: gradients to the same.
struct Gradient {
    input: Vec<f64>,
    hidden: Vec<f64>,
    state: f64,
}

impl Gradient {
    /// Of a unit, from the gradients to its `h_t` and `c_t`.
    fn of(unit: &Unit, program: &Program, dh: f64, dc: f64) -> Gradient {
        let (zs, values) = unit.run(program);
        let mut dvalues = vec![0.0; values.len()];
        let mut gradient = Gradient {
            input: vec![0.0; program.leaves],
            hidden: vec![0.0; program.leaves],
            state: 0.0,
        };
        dvalues[program.output] += dh;
        for (i, instruction) in program.instructions.iter().enumerate().rev() {
            let mut dz = dvalues[i] * slope(instruction.activation, zs[i], values[i]);
            if i == program.state {
                dz += dc;
            }
            let (dleft, dright) = shares(unit, instruction, &values, dz);
            for (operand, share) in [(instruction.left, dleft), (instruction.right, dright)] {
                match operand {
                    Operand::Input(leaf) => gradient.input[leaf] += share,
                    Operand::Hidden(leaf) => gradient.hidden[leaf] += share,
                    Operand::Value(instruction) => dvalues[instruction] += share,
                    Operand::State => gradient.state += share,
                }
            }
        }
        gradient
    }
}

/// What the operands get of the gradient to z. Of two equal ones the first is the larger.
fn shares(unit: &Unit, instruction: &Instruction, values: &[f64], dz: f64) -> (f64, f64) {
    let left = unit.operand(instruction.left, values);
    let right = unit.operand(instruction.right, values);
    match instruction.combination {
        Combination::Add => (dz, dz),
        Combination::ElemMult => (dz * right, dz * left),
        Combination::Max if left >= right => (dz, 0.0),
        Combination::Max => (0.0, dz),
    }
}

/// The derivative of an activation at z, where it gives `value`.
fn slope(activation: Activation, z: f64, value: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Tanh => 1.0 - value * value,
        Activation::Sigmoid => value * (1.0 - value),
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Relu => 1.0,
        Activation::Sin => z.cos(),
    }
}

/// Forward over a window.
pub fn fwd(plan: &Plan, stack: &Stack, moment: &Moment, memory: &mut Memory) {
    let mut below = memory[stack.input].values.clone();
    for (place, layer) in stack.layers.iter().enumerate() {
        memory[layer.x].values = dropped(stack, moment, place, layer.inputs, &below);
        carry(stack, layer.h, moment, memory);
        carry(stack, layer.c, moment, memory);
        for step in 0..stack.steps {
            for row in 0..stack.rows {
                layer_fwd(plan, stack, layer, step, row, memory);
            }
        }
        below = memory[layer.h].values[stack.rows * stack.hidden..].to_vec();
    }
    let place = stack.layers.len();
    memory[stack.output].values = dropped(stack, moment, place, stack.hidden, &below);
}

/// The first state of a window is the last of the window before, or zeros.
fn carry(stack: &Stack, buffer: BufferId, moment: &Moment, memory: &mut Memory) {
    let n = stack.rows * stack.hidden;
    let values = &mut memory[buffer].values;
    let last = stack.steps * n;
    values.copy_within(last..last + n, 0);
    if moment.batch == 0 {
        values[..n].fill(0.0);
    }
}

/// Products and cell of a layer at one step of one row.
fn layer_fwd(
    plan: &Plan,
    stack: &Stack,
    layer: &Recurrent,
    step: usize,
    row: usize,
    memory: &mut Memory,
) {
    let (hidden, leaves) = (stack.hidden, stack.program.leaves);
    let place = step * stack.rows + row;
    let weights = memory[plan.weights].values.clone();
    let x = memory[layer.x].values[place * layer.inputs..][..layer.inputs].to_vec();
    let h = memory[layer.h].values[place * hidden..][..hidden].to_vec();
    let c = memory[layer.c].values[place * hidden..][..hidden].to_vec();
    let mut products = [vec![], vec![]];
    for unit in 0..leaves * hidden {
        let w = &weights[layer.input_weight.range()][unit * layer.inputs..][..layer.inputs];
        let u = &weights[layer.hidden_weight.range()][unit * hidden..][..hidden];
        let bias = layer.bias.map_or(0.0, |bias| weights[bias.start + unit]);
        products[0].push(bias + dot(w, &x));
        products[1].push(dot(u, &h));
    }
    for j in 0..hidden {
        let of_unit = |products: &[f64]| (0..leaves).map(|l| products[l * hidden + j]).collect();
        let (input, hiddens): (Vec<f64>, Vec<f64>) = (of_unit(&products[0]), of_unit(&products[1]));
        let unit = Unit {
            input: &input,
            hidden: &hiddens,
            state: c[j],
        };
        let (zs, values) = unit.run(&stack.program);
        let next = (place + stack.rows) * hidden + j;
        memory[layer.h].values[next] = values[stack.program.output];
        memory[layer.c].values[next] = zs[stack.program.state];
    }
    let n = leaves * hidden;
    memory[layer.input_products].values[place * n..][..n].copy_from_slice(&products[0]);
    memory[layer.hidden_products].values[place * n..][..n].copy_from_slice(&products[1]);
}

/// Backward over a window: gradients to the weights of every layer and to the stack's input.
pub fn bwd(plan: &Plan, stack: &Stack, moment: &Moment, memory: &mut Memory) {
    let place = stack.layers.len();
    let doutput = memory[stack.doutput].values.clone();
    let mut dh = dropped(stack, moment, place, stack.hidden, &doutput);
    for (place, layer) in stack.layers.iter().enumerate().rev() {
        memory[layer.dh].values = dh;
        layer_bwd(plan, stack, layer, memory);
        let dx = memory[layer.dx].values.clone();
        dh = dropped(stack, moment, place, layer.inputs, &dx);
    }
    memory[stack.dinput].values = dh;
}

fn layer_bwd(plan: &Plan, stack: &Stack, layer: &Recurrent, memory: &mut Memory) {
    let (hidden, leaves) = (stack.hidden, stack.program.leaves);
    let n = leaves * hidden;
    let weights = memory[plan.weights].values.clone();
    let w = &weights[layer.input_weight.range()];
    let u = &weights[layer.hidden_weight.range()];
    let mut dw = vec![0.0; w.len()];
    let mut du = vec![0.0; u.len()];
    let mut dbias = vec![0.0; n];
    let mut dx = vec![0.0; memory[layer.dx].values.len()];
    // To h and c of the step before, of each row.
    let mut dh_next = vec![0.0; stack.rows * hidden];
    let mut dc_next = vec![0.0; stack.rows * hidden];
    for step in (0..stack.steps).rev() {
        for row in 0..stack.rows {
            let place = step * stack.rows + row;
            let mut dinput = vec![0.0; n];
            let mut dhidden = vec![0.0; n];
            for j in 0..hidden {
                let of_unit = |buffer: BufferId| -> Vec<f64> {
                    let values = &memory[buffer].values[place * n..][..n];
                    (0..leaves).map(|l| values[l * hidden + j]).collect()
                };
                let unit = Unit {
                    input: &of_unit(layer.input_products),
                    hidden: &of_unit(layer.hidden_products),
                    state: memory[layer.c].values[place * hidden + j],
                };
                let at = row * hidden + j;
                let dh = memory[layer.dh].values[place * hidden + j] + dh_next[at];
                let gradient = Gradient::of(&unit, &stack.program, dh, dc_next[at]);
                for l in 0..leaves {
                    dinput[l * hidden + j] = gradient.input[l];
                    dhidden[l * hidden + j] = gradient.hidden[l];
                }
                dc_next[at] = gradient.state;
            }
            let x = &memory[layer.x].values[place * layer.inputs..][..layer.inputs];
            let h = &memory[layer.h].values[place * hidden..][..hidden];
            let dx = &mut dx[place * layer.inputs..][..layer.inputs];
            let dh_next = &mut dh_next[row * hidden..][..hidden];
            dh_next.fill(0.0);
            for unit in 0..n {
                dbias[unit] += dinput[unit];
                for k in 0..layer.inputs {
                    dw[unit * layer.inputs + k] += dinput[unit] * x[k];
                    dx[k] += dinput[unit] * w[unit * layer.inputs + k];
                }
                for k in 0..hidden {
                    du[unit * hidden + k] += dhidden[unit] * h[k];
                    dh_next[k] += dhidden[unit] * u[unit * hidden + k];
                }
            }
            memory[layer.input_products].values[place * n..][..n].copy_from_slice(&dinput);
            memory[layer.hidden_products].values[place * n..][..n].copy_from_slice(&dhidden);
        }
    }
    memory[layer.dx].values = dx;
    let gradients = &mut memory[plan.gradients].values;
    gradients[layer.input_weight.range()].copy_from_slice(&dw);
    gradients[layer.hidden_weight.range()].copy_from_slice(&du);
    if let Some(bias) = layer.bias {
        gradients[bias.range()].copy_from_slice(&dbias);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
