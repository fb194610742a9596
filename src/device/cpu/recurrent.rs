//! A stack of recurrent layers, unrolled over a window: large products by `gemm`, the cell in
//! vectorised loops over hidden units.

use super::cell::{self, Backward, Forward};
use super::dropout;
use super::product::{Left, Product, product};
use super::steps::Batch;
use super::workers::each;
use crate::device::Moment;
use crate::graph::recurrent::{Recurrent, Stack};
use crate::graph::step::BufferId;

/// Forward over a window.
///
/// # Safety
/// As [`Batch::run`].
pub unsafe fn fwd(batch: &Batch, stack: &Stack, moment: &Moment) {
    // SAFETY: one step, and the planner keeps apart the buffers that it touches.
    unsafe {
        let mut below: &[f32] = batch.get(stack.input);
        for (place, layer) in stack.layers.iter().enumerate() {
            dropout::run(
                stack,
                moment,
                place,
                layer.inputs,
                below,
                batch.get_mut(layer.x),
            );
            layer_fwd(batch, stack, layer, moment);
            below = &batch.get(layer.h)[stack.rows * stack.hidden..];
        }
        let place = stack.layers.len();
        let output = batch.get_mut(stack.output);
        dropout::run(stack, moment, place, stack.hidden, below, output);
    }
}

/// # Safety
/// As [`Batch::run`].
unsafe fn layer_fwd(batch: &Batch, stack: &Stack, layer: &Recurrent, moment: &Moment) {
    let (steps, rows, hidden) = (stack.steps, stack.rows, stack.hidden);
    let n = stack.program.leaves * hidden;
    // SAFETY: the caller's promise.
    let (weights, x, inputs, hiddens, h, c) = unsafe {
        (
            batch.get(batch.plan.weights),
            batch.get(layer.x),
            batch.get_mut(layer.input_products),
            batch.get_mut(layer.hidden_products),
            batch.get_mut(layer.h),
            batch.get_mut(layer.c),
        )
    };
    let w = &weights[layer.input_weight.range()];
    product(Product {
        m: steps * rows,
        n,
        k: layer.inputs,
        left: Left::Rows(x),
        right: w,
        right_transposed: true,
        out: inputs,
        add: false,
    });
    if let Some(bias) = layer.bias {
        for products in inputs.chunks_exact_mut(n) {
            products
                .iter_mut()
                .zip(&weights[bias.range()])
                .for_each(|(x, b)| *x += b);
        }
    }
    let u = &weights[layer.hidden_weight.range()];
    let a_step = rows * hidden;
    for state in [&mut *h, &mut *c] {
        state.copy_within(steps * a_step.., 0);
        if moment.batch == 0 {
            state[..a_step].fill(0.0);
        }
    }
    for step in 0..steps {
        let (before, after) = h.split_at_mut((step + 1) * a_step);
        let hiddens = &mut hiddens[step * rows * n..][..rows * n];
        product(Product {
            m: rows,
            n,
            k: hidden,
            left: Left::Rows(&before[step * a_step..]),
            right: u,
            right_transposed: true,
            out: hiddens,
            add: false,
        });
        let (c_before, c_after) = c.split_at_mut((step + 1) * a_step);
        let inputs = &inputs[step * rows * n..][..rows * n];
        let tasks = (inputs.chunks_exact(n).zip(hiddens.chunks_exact(n)))
            .zip(c_before[step * a_step..].chunks_exact(hidden))
            .zip(
                after
                    .chunks_exact_mut(hidden)
                    .zip(c_after.chunks_exact_mut(hidden)),
            );
        each(tasks, |(((input, hidden), state), (h, c))| {
            let row = Forward {
                program: &stack.program,
                input,
                hidden,
                state,
                h,
                c,
            };
            cell::forward(batch.isa, row);
        });
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
            dropout::run(stack, moment, place, stack.hidden, dy, dh);
            layer_bwd(batch, stack, layer);
            above = layer.dx;
            place -= 1;
        }
        let width = stack.layers[0].inputs;
        let (dx, dinput) = (batch.get(above), batch.get_mut(stack.dinput));
        dropout::run(stack, moment, place, width, dx, dinput);
    }
}

/// # Safety
/// As [`Batch::run`].
unsafe fn layer_bwd(batch: &Batch, stack: &Stack, layer: &Recurrent) {
    let (steps, rows, hidden) = (stack.steps, stack.rows, stack.hidden);
    let n = stack.program.leaves * hidden;
    let a_step = rows * hidden;
    // SAFETY: the caller's promise.
    let (weights, gradients, x, inputs, hiddens, h, c, dh, dx) = unsafe {
        (
            batch.get(batch.plan.weights),
            batch.get_mut(batch.plan.gradients),
            batch.get(layer.x),
            batch.get_mut(layer.input_products),
            batch.get_mut(layer.hidden_products),
            batch.get(layer.h),
            batch.get(layer.c),
            batch.get_mut(layer.dh),
            batch.get_mut(layer.dx),
        )
    };
    let w = &weights[layer.input_weight.range()];
    let u = &weights[layer.hidden_weight.range()];
    // To c of the step before: it takes the place of no buffer, as it lives for a step only.
    let mut dc = vec![0.0; a_step];
    for step in (0..steps).rev() {
        let inputs = &mut inputs[step * rows * n..][..rows * n];
        let hiddens = &mut hiddens[step * rows * n..][..rows * n];
        let (dh_before, dh) = dh.split_at_mut(step * a_step);
        let tasks = (inputs.chunks_exact_mut(n).zip(hiddens.chunks_exact_mut(n)))
            .zip(c[step * a_step..].chunks_exact(hidden))
            .zip(dh.chunks_exact(hidden).zip(dc.chunks_exact_mut(hidden)));
        each(tasks, |(((input, hidden), state), (dh, dc))| {
            let row = Backward {
                program: &stack.program,
                input,
                hidden,
                state,
                dh,
                dc,
            };
            cell::backward(batch.isa, row);
        });
        if step > 0 {
            // What h of the step before gets besides what came from above.
            product(Product {
                m: rows,
                n: hidden,
                k: n,
                left: Left::Rows(hiddens),
                right: u,
                right_transposed: false,
                out: &mut dh_before[(step - 1) * a_step..],
                add: true,
            });
        }
    }
    product(Product {
        m: steps * rows,
        n: layer.inputs,
        k: n,
        left: Left::Rows(inputs),
        right: w,
        right_transposed: false,
        out: dx,
        add: false,
    });
    product(Product {
        m: n,
        n: layer.inputs,
        k: steps * rows,
        left: Left::Columns(inputs),
        right: x,
        right_transposed: false,
        out: &mut gradients[layer.input_weight.range()],
        add: false,
    });
    product(Product {
        m: n,
        n: hidden,
        k: steps * rows,
        left: Left::Columns(hiddens),
        right: &h[..steps * a_step],
        right_transposed: false,
        out: &mut gradients[layer.hidden_weight.range()],
        add: false,
    });
    if let Some(bias) = layer.bias {
        let dbias = &mut gradients[bias.range()];
        dbias.fill(0.0);
        for dinput in inputs.chunks_exact(n) {
            dbias.iter_mut().zip(dinput).for_each(|(sum, x)| *sum += x);
        }
    }
}
