//! A stack of recurrent layers, unrolled over a window: products of packed weights, and the cell in
//! vectorised loops over hidden units.

use super::batch::Batch;
use super::cell::{self, Backward, Forward, Workspace};
use super::dropout;
use super::product::{Left, Packed, Right, packed_len};
use super::workers::{each_with, threads};
use crate::device::Moment;
use crate::graph::recurrent::{Recurrent, Stack};
use crate::graph::step::BufferId;

/// Floats that it needs while it runs: the largest of the factors that are packed, and the gradient
/// to c.
pub fn scratch_len(stack: &Stack) -> usize {
    let (hidden, places) = (stack.hidden, stack.steps * stack.rows);
    let n = stack.program.leaves * hidden;
    let of = |width: usize| packed_len(n, width).max(packed_len(width, n.max(places)));
    let widths = stack
        .layers
        .iter()
        .map(|layer| layer.inputs)
        .chain([hidden]);
    widths.map(of).max().unwrap_or(0) + stack.rows * hidden
}

/// One for each thread.
fn workspaces(stack: &Stack) -> Vec<Workspace> {
    let workspaces = std::iter::repeat_with(|| Workspace::new(&stack.program));
    workspaces.take(threads()).collect()
}

/// Forward over a window.
///
/// # Safety
/// As [`Batch::run`].
pub unsafe fn fwd(batch: &Batch, stack: &Stack, moment: &Moment) {
    // SAFETY: one step, and the planner keeps apart the buffers that it touches.
    unsafe {
        let mut below: &[f32] = batch.get(stack.input);
        for (place, layer) in stack.layers.iter().enumerate() {
            let x = batch.get_mut(layer.x);
            dropout::run(batch.isa, (stack, moment), place, layer.inputs, below, x);
            layer_fwd(batch, stack, layer, moment);
            below = &batch.get(layer.h)[stack.rows * stack.hidden..];
        }
        let place = stack.layers.len();
        let output = batch.get_mut(stack.output);
        dropout::run(
            batch.isa,
            (stack, moment),
            place,
            stack.hidden,
            below,
            output,
        );
    }
}

/// `W x`, and the bias where there is one, for every step of the window.
///
/// # Safety
/// As [`Batch::run`].
unsafe fn input_products(batch: &Batch, stack: &Stack, layer: &Recurrent) {
    let n = stack.program.leaves * stack.hidden;
    // SAFETY: the caller's promise.
    let (weights, x, products, scratch) = unsafe {
        (
            batch.get(batch.plan.weights),
            batch.get(layer.x),
            batch.get_mut(layer.input_products),
            batch.scratch(),
        )
    };
    let w = Right::Columns(&weights[layer.input_weight.range()]);
    let w = Packed::new(batch.isa, w, n, layer.inputs, scratch);
    w.product(stack.steps * stack.rows, Left::Rows(x), products, false);
    let Some(bias) = layer.bias else {
        return;
    };
    for products in products.chunks_exact_mut(n) {
        products
            .iter_mut()
            .zip(&weights[bias.range()])
            .for_each(|(x, b)| *x += b);
    }
}

/// # Safety
/// As [`Batch::run`].
unsafe fn layer_fwd(batch: &Batch, stack: &Stack, layer: &Recurrent, moment: &Moment) {
    let (steps, rows, hidden) = (stack.steps, stack.rows, stack.hidden);
    let n = stack.program.leaves * hidden;
    // SAFETY: the caller's promise.
    unsafe { input_products(batch, stack, layer) };
    // SAFETY: the caller's promise; the packed weights of the inputs are used up.
    let (weights, inputs, hiddens, h, c, scratch) = unsafe {
        (
            batch.get(batch.plan.weights),
            batch.get(layer.input_products),
            batch.get_mut(layer.hidden_products),
            batch.get_mut(layer.h),
            batch.get_mut(layer.c),
            batch.scratch(),
        )
    };
    let u = Right::Columns(&weights[layer.hidden_weight.range()]);
    let u = Packed::new(batch.isa, u, n, hidden, scratch);
    let a_step = rows * hidden;
    for state in [&mut *h, &mut *c] {
        state.copy_within(steps * a_step.., 0);
        if moment.batch == 0 {
            state[..a_step].fill(0.0);
        }
    }
    let mut workspaces = workspaces(stack);
    for step in 0..steps {
        let (before, after) = h.split_at_mut((step + 1) * a_step);
        let hiddens = &mut hiddens[step * rows * n..][..rows * n];
        u.product(rows, Left::Rows(&before[step * a_step..]), hiddens, false);
        let (c_before, c_after) = c.split_at_mut((step + 1) * a_step);
        let inputs = &inputs[step * rows * n..][..rows * n];
        let tasks = (inputs.chunks_exact(n).zip(hiddens.chunks_exact(n)))
            .zip(c_before[step * a_step..].chunks_exact(hidden))
            .zip(
                after
                    .chunks_exact_mut(hidden)
                    .zip(c_after.chunks_exact_mut(hidden)),
            );
        each_with(
            tasks,
            workspaces.iter_mut(),
            |(((input, hidden), state), (h, c)), workspace| {
                let row = Forward {
                    program: &stack.program,
                    input,
                    hidden,
                    state,
                    h,
                    c,
                    workspace,
                };
                cell::forward(batch.isa, row);
            },
        );
    }
}

/// Backward over a window.
///
/// # Safety
/// As [`Batch::run`].
pub unsafe fn bwd(batch: &Batch, stack: &Stack, moment: &Moment) {
    let mut place = stack.layers.len();
    let mut above: BufferId = stack.doutput;
    // SAFETY: as in `fwd`.
    unsafe {
        for layer in stack.layers.iter().rev() {
            let (dy, dh) = (batch.get(above), batch.get_mut(layer.dh));
            dropout::run(batch.isa, (stack, moment), place, stack.hidden, dy, dh);
            layer_bwd(batch, stack, layer);
            above = layer.dx;
            place -= 1;
        }
        let width = stack.layers[0].inputs;
        let (dx, dinput) = (batch.get(above), batch.get_mut(stack.dinput));
        dropout::run(batch.isa, (stack, moment), place, width, dx, dinput);
    }
}

/// # Safety
/// As [`Batch::run`].
unsafe fn layer_bwd(batch: &Batch, stack: &Stack, layer: &Recurrent) {
    let (steps, rows, hidden) = (stack.steps, stack.rows, stack.hidden);
    let n = stack.program.leaves * hidden;
    let a_step = rows * hidden;
    // SAFETY: the caller's promise.
    let (weights, inputs, hiddens, c, dh, scratch) = unsafe {
        (
            batch.get(batch.plan.weights),
            batch.get_mut(layer.input_products),
            batch.get_mut(layer.hidden_products),
            batch.get(layer.c),
            batch.get_mut(layer.dh),
            batch.get_mut(batch.plan.scratch),
        )
    };
    let u = Right::Rows(&weights[layer.hidden_weight.range()]);
    // The gradient to c lives while U is packed.
    let (room, dc) = scratch.split_at_mut(packed_len(hidden, n));
    let u = Packed::new(batch.isa, u, hidden, n, room);
    let dc = &mut dc[..a_step];
    dc.fill(0.0);
    let mut workspaces = workspaces(stack);
    for step in (0..steps).rev() {
        let inputs = &mut inputs[step * rows * n..][..rows * n];
        let hiddens = &mut hiddens[step * rows * n..][..rows * n];
        let (dh_before, dh) = dh.split_at_mut(step * a_step);
        let tasks = (inputs.chunks_exact_mut(n).zip(hiddens.chunks_exact_mut(n)))
            .zip(c[step * a_step..].chunks_exact(hidden))
            .zip(dh.chunks_exact(hidden).zip(dc.chunks_exact_mut(hidden)));
        each_with(
            tasks,
            workspaces.iter_mut(),
            |(((input, hidden), state), (dh, dc)), workspace| {
                let row = Backward {
                    program: &stack.program,
                    input,
                    hidden,
                    state,
                    dh,
                    dc,
                    workspace,
                };
                cell::backward(batch.isa, row);
            },
        );
        if step > 0 {
            // What h of the step before gets besides what came from above.
            let before = &mut dh_before[(step - 1) * a_step..];
            u.product(rows, Left::Rows(hiddens), before, true);
        }
    }
    // SAFETY: the caller's promise; U is used up.
    unsafe { products_bwd(batch, stack, layer) };
}

/// From the gradients to `W x` and `U h` those to W, U, the bias and x.
///
/// # Safety
/// As [`Batch::run`].
unsafe fn products_bwd(batch: &Batch, stack: &Stack, layer: &Recurrent) {
    let (places, hidden) = (stack.steps * stack.rows, stack.hidden);
    let n = stack.program.leaves * hidden;
    // SAFETY: the caller's promise.
    let (weights, gradients, x, inputs, hiddens, h, dx) = unsafe {
        (
            batch.get(batch.plan.weights),
            batch.get_mut(batch.plan.gradients),
            batch.get(layer.x),
            batch.get(layer.input_products),
            batch.get(layer.hidden_products),
            batch.get(layer.h),
            batch.get_mut(layer.dx),
        )
    };
    // SAFETY: the caller's promise; packed factors are used up before others are packed.
    let scratch = || unsafe { batch.get_mut(batch.plan.scratch) };
    let isa = batch.isa;
    let w = Right::Rows(&weights[layer.input_weight.range()]);
    let w = Packed::new(isa, w, layer.inputs, n, scratch());
    w.product(places, Left::Rows(inputs), dx, false);
    let x = Packed::new(
        isa,
        Right::Rows(&x[..places * layer.inputs]),
        layer.inputs,
        places,
        scratch(),
    );
    let dw = &mut gradients[layer.input_weight.range()];
    x.product(n, Left::Columns(inputs), dw, false);
    let h = Packed::new(
        isa,
        Right::Rows(&h[..places * hidden]),
        hidden,
        places,
        scratch(),
    );
    let du = &mut gradients[layer.hidden_weight.range()];
    h.product(n, Left::Columns(hiddens), du, false);
    if let Some(bias) = layer.bias {
        let dbias = &mut gradients[bias.range()];
        dbias.fill(0.0);
        for dinput in inputs.chunks_exact(n) {
            dbias.iter_mut().zip(dinput).for_each(|(sum, x)| *sum += x);
        }
    }
}
