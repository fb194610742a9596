//! Launches of recurrent layers over a whole window, one a direction, whose blocks are all resident at
//! once. Where they cannot be, `recurrent` has a launch a step.

use bytemuck::Zeroable;

use super::cell::{CELLS, CellProgram, n_slots, program};
use super::declare::{Exchanged, In, Out, structs};
use super::driver::Limits;
use super::dropout::DropoutRate;
use super::epoch::Control;
use super::launches::Launches;
use super::recurrent_scratch::Scratch;
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
        dc: Out<f32>,
        input_products: Exchanged<f32>,
        hidden_products: Exchanged<f32>,
    }

    /// Of `recurrent_resident_bwd`.
    struct ResidentBwdArgs {
        layers: [ResidentBwdLayer; 4],
        dh: In<f32>,
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

/// Threads of a block, of which the first `CELLS` compute cells.
const THREADS: u32 = 512;
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
    /// Forward, where all blocks are resident at once and most weights with them.
    pub fn forward(stack: &Stack, limits: Limits) -> Option<Resident> {
        Resident::new(stack, limits, |_| 4 * CELLS * n_slots(&stack.program))
    }

    /// Backward, in the same way.
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
        let n_weights = 2 * stack.layers.len() - 1;
        let weights = (room / weight).min(n_weights);
        // A launch a step reads U as often as a step reads what is not resident, and W once a window.
        (2 * weights >= n_weights).then(|| Resident {
            units,
            weights,
            shared_bytes: bytes(units) + weights * weight,
        })
    }
}

impl Launches<'_> {
    /// All layers and steps forward in one launch, for [`Launches::unroll`], which chooses.
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

    /// All layers and steps backward in one launch, for [`Launches::unroll_grad`], which chooses.
    pub(super) fn resident_bwd(&mut self, stack: &Stack, scratch: &Scratch, resident: Resident) {
        let mut layers = [ResidentBwdLayer::zeroed(); MOST_LAYERS];
        for (i, (to, layer)) in layers.iter_mut().zip(&stack.layers).enumerate() {
            let (hidden_weight, input_weight) = scratch.transposed[i];
            *to = ResidentBwdLayer {
                hidden_weight: self.scratch(hidden_weight),
                input_weight: self.scratch(input_weight.unwrap_or(hidden_weight)),
                c: self.input(layer.c),
                dc: self.scratch_output(scratch.dc[i]),
                input_products: self.exchanged(layer.input_products),
                hidden_products: self.exchanged(layer.hidden_products),
            };
        }
        let top = stack.layers.last().expect("a stack has layers");
        let args = ResidentBwdArgs {
            layers,
            dh: self.input(top.dh),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::recurrent::{Dropout, Program, Recurrent};
    use crate::graph::step::{BufferId, Span};

    /// The memory of a window does not matter here.
    const NONE: BufferId = BufferId(0);

    /// LSTM layers of so many units.
    fn lstm(hidden: usize, n_layers: usize) -> Stack {
        let span = Span { start: 0, len: 0 };
        let layer = Recurrent {
            inputs: hidden,
            input_weight: span,
            hidden_weight: span,
            bias: None,
            x: NONE,
            input_products: NONE,
            hidden_products: NONE,
            h: NONE,
            c: NONE,
            dx: NONE,
            dh: NONE,
        };
        Stack {
            program: Program::lstm(),
            steps: 35,
            rows: 20,
            hidden,
            layers: vec![layer; n_layers],
            dropout: Dropout {
                rate: 0.5,
                variational: false,
            },
            input: NONE,
            dinput: NONE,
            output: NONE,
            doutput: NONE,
        }
    }

    fn limits(shared_bytes: usize, processors: usize) -> Limits {
        Limits {
            shared_bytes,
            processors,
            capability: (9, 0),
        }
    }

    #[test]
    fn a_block_a_processor_keeps_what_weights_it_has_room_for() {
        let (stack, h200) = (lstm(650, 2), limits(227 << 10, 132));
        // 5 units of 4 leaves: 52,000 bytes a weight, beside 17 slots of 128 cells.
        for (direction, more) in [
            (Resident::forward(&stack, h200), 0),
            (
                Resident::backward(&stack, h200),
                4 * 128 * 17 + 8 * 4 * 20 * 5,
            ),
        ] {
            let direction = direction.expect("it is resident");
            assert_eq!((direction.units, direction.weights), (5, 3));
            assert_eq!(direction.shared_bytes, 4 * 128 * 17 + more + 3 * 52_000);
        }
        let narrow = Resident::forward(&stack, limits(120 << 10, 132)).expect("most are resident");
        assert_eq!(narrow.weights, 2);
        assert_eq!(Resident::forward(&stack, limits(99 << 10, 132)), None);
    }

    #[test]
    fn where_blocks_cannot_be_resident_there_is_a_launch_a_step() {
        let stack = lstm(650, 2);
        assert_eq!(Resident::forward(&stack, limits(227 << 10, 0)), None);
        assert_eq!(Resident::forward(&stack, limits(8 << 10, 132)), None);
        assert_eq!(Resident::forward(&stack, limits(227 << 10, 1)), None);
        let many = lstm(650, MOST_LAYERS + 1);
        assert_eq!(Resident::forward(&many, limits(227 << 10, 132)), None);
    }
}
