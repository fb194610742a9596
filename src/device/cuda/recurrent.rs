//! Launches of recurrent layers over a window: a launch a step of a layer, unless one does a whole
//! window (`recurrent_resident`).

use super::cell::{CELLS, CellProgram, MOST_INSTRUCTIONS, n_slots, program};
use super::declare::{In, Out, structs};
use super::gemm::Transposed;
use super::launches::Launches;
use super::recurrent_resident::Resident;
use super::recurrent_scratch::Scratch;
use crate::graph::recurrent::{Recurrent, Stack};
use crate::graph::step::Span;

structs! {
    /// Of `recurrent_carry`.
    struct CarryArgs {
        counters: In<i32>,
        h: Out<f32>,
        c: Out<f32>,
        n: i32,
        steps: i32,
    }

    /// Of `recurrent_fwd`.
    struct RecurrentFwdArgs {
        weight: In<f32>,
        input_products: In<f32>,
        h_before: In<f32>,
        c_before: In<f32>,
        hidden_products: Out<f32>,
        h: Out<f32>,
        c: Out<f32>,
        program: CellProgram,
        rows: i32,
        hidden: i32,
        units: i32,
        leaves: i32,
        slots: i32,
        reserved: i32,
    }

    /// Of `recurrent_bwd`.
    struct RecurrentBwdArgs {
        weight: In<f32>,
        after: In<f32>,
        c_before: In<f32>,
        dh: In<f32>,
        input_products: Out<f32>,
        hidden_products: Out<f32>,
        dc: Out<f32>,
        program: CellProgram,
        rows: i32,
        hidden: i32,
        units: i32,
        leaves: i32,
        slots: i32,
        is_last: i32,
    }
}

/// Threads of a block, of which the first `CELLS` compute cells.
const THREADS: u32 = 256;
/// Hidden units of a block at most.
const UNITS: usize = 4;

/// Whether the kernels run a stack on a device with so much shared memory: the largest cells take
/// more than some have for batches of hundreds of rows.
pub fn fits(stack: &Stack, shared_bytes: usize) -> bool {
    stack.program.instructions.len() <= MOST_INSTRUCTIONS
        && backward_bytes(stack, 1) <= shared_bytes
}

/// Shared memory of a block backward, with so many units.
fn backward_bytes(stack: &Stack, units: usize) -> usize {
    let slots = n_slots(&stack.program);
    8 * CELLS * slots + 4 * stack.program.leaves * stack.rows * units
}

/// Values of a step of a layer.
struct Sizes {
    /// `[b][h]` and `[b][l][h]`.
    state: usize,
    products: usize,
    /// Hidden units of a block.
    units: usize,
}

impl Launches<'_> {
    /// Forward: in one launch for all layers and steps where its blocks can all be resident, else in a
    /// launch a step of each layer.
    pub(super) fn unroll(&mut self, stack: &Stack) {
        if let Some(resident) = Resident::forward(stack, self.limits) {
            let first = &stack.layers[0];
            self.dropout(stack, 0, first.inputs, (stack.input, 0), first.x);
            for layer in &stack.layers {
                self.recurrent_carry(stack, layer);
            }
            self.input_products(stack, 0);
            return self.resident_fwd(stack, resident);
        }
        let mut below = (stack.input, 0);
        for (place, layer) in stack.layers.iter().enumerate() {
            self.dropout(stack, place, layer.inputs, below, layer.x);
            self.recurrent_carry(stack, layer);
            self.input_products(stack, place);
            for step in 0..stack.steps {
                self.recurrent_fwd(stack, layer, step);
            }
            below = (layer.h, stack.rows * stack.hidden);
        }
        let place = stack.layers.len();
        self.dropout(stack, place, stack.hidden, below, stack.output);
    }

    /// Backward, in one of the same two ways, whichever it was forward.
    pub(super) fn unroll_grad(&mut self, stack: &Stack) {
        let scratch = Scratch::new(stack);
        let n = stack.program.leaves * stack.hidden;
        let places = stack.layers.iter().zip(&scratch.transposed);
        for (layer, (hidden_weight, input_weight)) in places {
            self.transpose_weight(layer.hidden_weight, *hidden_weight, [n, stack.hidden]);
            if let Some(input_weight) = input_weight {
                self.transpose_weight(layer.input_weight, *input_weight, [n, layer.inputs]);
            }
        }
        let resident = Resident::backward(stack, self.limits);
        let mut above = stack.doutput;
        for (place, layer) in stack.layers.iter().enumerate().rev() {
            let is_top = place + 1 == stack.layers.len();
            if is_top || resident.is_none() {
                self.dropout(stack, place + 1, stack.hidden, (above, 0), layer.dh);
            }
            match resident {
                Some(resident) if is_top => self.resident_bwd(stack, &scratch, resident),
                Some(_) => {}
                None => (0..stack.steps).rev().for_each(|step| {
                    self.recurrent_bwd(stack, layer, &scratch, place, step);
                }),
            }
            if place == 0 || resident.is_none() {
                self.input_gradient(stack, place, scratch.transposed[place].1);
            }
            self.weight_gradients(stack, layer);
            above = layer.dx;
        }
        self.dropout(stack, 0, stack.layers[0].inputs, (above, 0), stack.dinput);
    }

    /// Gradient to x of all steps. Above the first layer, where W is transposed, the sums are those that
    /// one launch for all steps makes; of the first it makes none.
    fn input_gradient(&mut self, stack: &Stack, place: usize, transposed: Option<usize>) {
        let layer = &stack.layers[place];
        let dinputs = self.input(layer.input_products);
        let dx = self.output(layer.dx);
        let n = stack.program.leaves * stack.hidden;
        let sizes = [stack.steps * stack.rows, layer.inputs, n];
        if let Some(transposed) = transposed {
            let factors = (dinputs, self.scratch(transposed));
            return self.product_rows(factors, None, dx, sizes, stack.program.leaves);
        }
        let weight = self.input_span(self.plan.weights, layer.input_weight);
        self.gemm(Transposed::Nn, (dinputs, weight), None, dx, sizes);
    }

    fn recurrent_carry(&mut self, stack: &Stack, layer: &Recurrent) {
        let n = stack.rows * stack.hidden;
        let args = CarryArgs {
            counters: In::at(self.epoch.counters),
            h: self.output(layer.h),
            c: self.output(layer.c),
            n: n as i32,
            steps: stack.steps as i32,
        };
        self.push("recurrent_carry", [n.div_ceil(256), 1, 1], THREADS, &args);
    }

    /// W x and the bias of all steps; as [`Launches::input_gradient`].
    fn input_products(&mut self, stack: &Stack, place: usize) {
        let layer = &stack.layers[place];
        let weights = self.plan.weights;
        let factors = (
            self.input(layer.x),
            self.input_span(weights, layer.input_weight),
        );
        let bias = layer.bias.map(|bias| self.input_span(weights, bias));
        let out = self.output(layer.input_products);
        let n = stack.program.leaves * stack.hidden;
        let sizes = [stack.steps * stack.rows, n, layer.inputs];
        match place {
            0 => self.gemm(Transposed::Nt, factors, bias, out, sizes),
            _ => self.product_rows(factors, bias, out, sizes, 1),
        }
    }

    fn recurrent_fwd(&mut self, stack: &Stack, layer: &Recurrent, step: usize) {
        let sizes = self.sizes(stack);
        let (state, products) = (step * sizes.state, step * sizes.products);
        let slots = n_slots(&stack.program);
        let args = RecurrentFwdArgs {
            weight: self.input_span(self.plan.weights, layer.hidden_weight),
            input_products: self.input_at(layer.input_products, products),
            h_before: self.input_at(layer.h, state),
            c_before: self.input_at(layer.c, state),
            hidden_products: self.output_at(layer.hidden_products, products),
            h: self.output_at(layer.h, state + sizes.state),
            c: self.output_at(layer.c, state + sizes.state),
            program: program(&stack.program),
            rows: stack.rows as i32,
            hidden: stack.hidden as i32,
            units: sizes.units as i32,
            leaves: stack.program.leaves as i32,
            slots: slots as i32,
            reserved: 0,
        };
        let grid = [stack.hidden.div_ceil(sizes.units), 1, 1];
        self.push_shared("recurrent_fwd", grid, THREADS, 4 * CELLS * slots, &args);
    }

    fn recurrent_bwd(
        &mut self,
        stack: &Stack,
        layer: &Recurrent,
        scratch: &Scratch,
        place: usize,
        step: usize,
    ) {
        let sizes = self.sizes(stack);
        let (state, products) = (step * sizes.state, step * sizes.products);
        let is_last = step + 1 == stack.steps;
        let after = if is_last {
            0
        } else {
            products + sizes.products
        };
        let args = RecurrentBwdArgs {
            weight: self.scratch(scratch.transposed[place].0),
            after: self.input_at(layer.hidden_products, after),
            c_before: self.input_at(layer.c, state),
            dh: self.input_at(layer.dh, state),
            input_products: self.output_at(layer.input_products, products),
            hidden_products: self.output_at(layer.hidden_products, products),
            dc: self.scratch_output(scratch.dc[place]),
            program: program(&stack.program),
            rows: stack.rows as i32,
            hidden: stack.hidden as i32,
            units: sizes.units as i32,
            leaves: stack.program.leaves as i32,
            slots: n_slots(&stack.program) as i32,
            is_last: i32::from(is_last),
        };
        let grid = [stack.hidden.div_ceil(sizes.units), 1, 1];
        let shared_bytes = backward_bytes(stack, sizes.units);
        self.push_shared("recurrent_bwd", grid, THREADS, shared_bytes, &args);
    }

    /// Gradients to W, U and the bias, from those to the products.
    fn weight_gradients(&mut self, stack: &Stack, layer: &Recurrent) {
        let (places, n) = (
            stack.steps * stack.rows,
            stack.program.leaves * stack.hidden,
        );
        let gradients = self.plan.gradients;
        let dinputs = self.input(layer.input_products);
        for (factors, span, width) in [
            (
                (dinputs, self.input(layer.x)),
                layer.input_weight,
                layer.inputs,
            ),
            (
                (self.input(layer.hidden_products), self.input(layer.h)),
                layer.hidden_weight,
                stack.hidden,
            ),
        ] {
            let out = self.output_span(gradients, span);
            self.gemm(Transposed::Tn, factors, None, out, [n, width, places]);
        }
        if let Some(bias) = layer.bias {
            let dbias = self.output_span(gradients, bias);
            self.column_sums(dinputs, dbias, [places, n]);
        }
    }

    fn transpose_weight(&mut self, weight: Span, to: usize, sizes: [usize; 2]) {
        let weight = self.input_span(self.plan.weights, weight);
        let to = self.scratch_output(to);
        self.transpose(weight, to, sizes);
    }

    fn sizes(&self, stack: &Stack) -> Sizes {
        let state = stack.rows * stack.hidden;
        let fits = |units: &usize| backward_bytes(stack, *units) <= self.limits.shared_bytes;
        Sizes {
            state,
            products: stack.program.leaves * state,
            units: (1..=UNITS).rev().find(fits).unwrap_or(1),
        }
    }
}
