//! Launches of recurrent layers over a whole window, one a direction, whose blocks are all resident at
//! once. Where they cannot be, `recurrent` has a launch a step.

use bytemuck::Zeroable;

use super::cell::{CELLS, CellProgram, n_slots, program};
use super::declare::{Exchanged, In, Out, structs};
use super::driver::Limits;
use super::dropout::DropoutRate;
use super::epoch::Control;
use super::launches::Launches;
use super::recurrent::{Scratch, THREADS};
use crate::graph::recurrent::Stack;

structs! {
    /// A layer, forward.
    struct ResidentFwdLayer {
        hidden_weight: In<f32>,
        input_weight: In<f32>,
        bias: In<f32>,
        input_products: Out<f32>,
        hidden_products: Out<f32>,
        c: Out<f32>,
        h: Exchanged<f32>,
        y: Exchanged<f32>,
    }

    /// Of `recurrent_resident_fwd`.
    struct ResidentFwdArgs {
        layers: [ResidentFwdLayer; 4],
        control: In<Control>,
        counters: In<i32>,
        arrivals: Out<u64>,
        rate: DropoutRate,
        program: CellProgram,
        n_layers: i32,
        steps: i32,
        rows: i32,
        hidden: i32,
        units: i32,
        leaves: i32,
        slots: i32,
        n_resident: i32,
        has_bias: i32,
        variational: i32,
    }

    /// A layer, backward.
    struct ResidentBwdLayer {
        hidden_weight: In<f32>,
        input_weight: In<f32>,
        c: In<f32>,
        dh: Out<f32>,
        dx: Out<f32>,
        dc: Out<f32>,
        input_products: Exchanged<f32>,
        hidden_products: Exchanged<f32>,
    }

    /// Of `recurrent_resident_bwd`.
    struct ResidentBwdArgs {
        layers: [ResidentBwdLayer; 4],
        control: In<Control>,
        counters: In<i32>,
        arrivals: Out<u64>,
        rate: DropoutRate,
        program: CellProgram,
        n_layers: i32,
        steps: i32,
        rows: i32,
        hidden: i32,
        units: i32,
        leaves: i32,
        slots: i32,
        n_resident: i32,
        variational: i32,
        reserved: i32,
    }
}

/// Layers at most.
const MOST_LAYERS: usize = 4;

/// How a window is launched in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Hidden units of a block.
    units: usize,
    /// Weights whose rows a block keeps in shared memory, the rest being read at every step.
    weights: usize,
    shared_bytes: usize,
}

impl Resident {
    /// Forward, where all blocks are resident at once.
    pub fn forward(stack: &Stack, limits: Limits) -> Option<Resident> {
        Resident::new(stack, limits, |_| 4 * CELLS * n_slots(&stack.program))
    }

    /// Backward, where all blocks are resident at once.
    pub fn backward(stack: &Stack, limits: Limits) -> Option<Resident> {
        Resident::new(stack, limits, |units| {
            let products = stack.program.leaves * stack.rows * units;
            8 * CELLS * n_slots(&stack.program) + 8 * products
        })
    }

    /// With so many bytes of shared memory for a number of units, besides the weights.
    fn new(stack: &Stack, limits: Limits, bytes: impl Fn(usize) -> usize) -> Option<Resident> {
        if limits.processors == 0 || stack.layers.len() > MOST_LAYERS {
            return None;
        }
        // A block a processor, as large as it may be.
        let units = stack.hidden.div_ceil(limits.processors);
        let room = limits.shared_bytes.checked_sub(bytes(units))?;
        let weight = 4 * stack.program.leaves * units * stack.hidden;
        let weights = (room / weight).min(2 * stack.layers.len() - 1);
        Some(Resident {
            units,
            weights,
            shared_bytes: bytes(units) + weights * weight,
        })
    }
}

impl Launches<'_> {
    pub(super) fn resident_fwd(&mut self, stack: &Stack, resident: Resident) {
        let weights = self.plan.weights;
        let mut layers = [ResidentFwdLayer::zeroed(); MOST_LAYERS];
        for (i, (to, layer)) in layers.iter_mut().zip(&stack.layers).enumerate() {
            let above = stack.layers.get(i + 1);
            let bias = layer.bias.unwrap_or(layer.input_weight);
            *to = ResidentFwdLayer {
                hidden_weight: self.input_span(weights, layer.hidden_weight),
                input_weight: self.input_span(weights, layer.input_weight),
                bias: self.input_span(weights, bias),
                input_products: self.output(layer.input_products),
                hidden_products: self.output(layer.hidden_products),
                c: self.output(layer.c),
                h: self.exchanged(layer.h),
                y: self.exchanged(above.map_or(stack.output, |above| above.x)),
            };
        }
        let args = ResidentFwdArgs {
            layers,
            control: self.epoch.control(),
            counters: In::at(self.epoch.counters),
            arrivals: self.arrivals(),
            rate: self.dropout_rate(stack.dropout),
            program: program(&stack.program),
            n_layers: stack.layers.len() as i32,
            steps: stack.steps as i32,
            rows: stack.rows as i32,
            hidden: stack.hidden as i32,
            units: resident.units as i32,
            leaves: stack.program.leaves as i32,
            slots: n_slots(&stack.program) as i32,
            n_resident: resident.weights as i32,
            has_bias: i32::from(stack.layers[0].bias.is_some()),
            variational: i32::from(stack.dropout.variational),
        };
        let blocks = stack.hidden.div_ceil(resident.units);
        let shared_bytes = resident.shared_bytes;
        self.push_cooperative(
            "recurrent_resident_fwd",
            blocks,
            THREADS,
            shared_bytes,
            &args,
        );
    }

    pub(super) fn resident_bwd(&mut self, stack: &Stack, scratch: &Scratch, resident: Resident) {
        let mut layers = [ResidentBwdLayer::zeroed(); MOST_LAYERS];
        for (i, (to, layer)) in layers.iter_mut().zip(&stack.layers).enumerate() {
            let [hidden_weight, input_weight] = scratch.transposed[i];
            *to = ResidentBwdLayer {
                hidden_weight: self.scratch(hidden_weight),
                input_weight: self.scratch(input_weight),
                c: self.input(layer.c),
                dh: self.output(layer.dh),
                dx: self.output(layer.dx),
                dc: self.scratch_output(scratch.dc[i]),
                input_products: self.exchanged(layer.input_products),
                hidden_products: self.exchanged(layer.hidden_products),
            };
        }
        let args = ResidentBwdArgs {
            layers,
            control: self.epoch.control(),
            counters: In::at(self.epoch.counters),
            arrivals: self.arrivals(),
            rate: self.dropout_rate(stack.dropout),
            program: program(&stack.program),
            n_layers: stack.layers.len() as i32,
            steps: stack.steps as i32,
            rows: stack.rows as i32,
            hidden: stack.hidden as i32,
            units: resident.units as i32,
            leaves: stack.program.leaves as i32,
            slots: n_slots(&stack.program) as i32,
            n_resident: resident.weights as i32,
            variational: i32::from(stack.dropout.variational),
            reserved: 0,
        };
        let blocks = stack.hidden.div_ceil(resident.units);
        let shared_bytes = resident.shared_bytes;
        self.push_cooperative(
            "recurrent_resident_bwd",
            blocks,
            THREADS,
            shared_bytes,
            &args,
        );
    }
}
