//! Where recurrent layers keep in the plan's scratch memory what they need while they run.

use crate::graph::recurrent::Stack;

/// Where in the scratch memory of a stack something lies, in values.
pub struct Scratch {
    /// Of each layer, transposed: U `[h][l][h]` and, but of the first, W `[k][l][h]`.
    pub transposed: Vec<(usize, Option<usize>)>,
    /// Of each layer the gradient to c, `[b][h]`.
    pub dc: Vec<usize>,
    len: usize,
}

impl Scratch {
    /// Of a stack.
    pub fn new(stack: &Stack) -> Scratch {
        let n = stack.program.leaves * stack.hidden;
        let mut len = 0;
        let mut take = |values: usize| {
            len += values;
            len - values
        };
        let transposed = stack.layers.iter().enumerate().map(|(place, layer)| {
            let hidden = take(n * stack.hidden);
            (hidden, (place > 0).then(|| take(n * layer.inputs)))
        });
        let transposed = transposed.collect();
        let dc = stack.layers.iter();
        let dc = dc.map(|_| take(stack.rows * stack.hidden)).collect();
        Scratch {
            transposed,
            dc,
            len,
        }
    }

    /// Bytes that the stack needs while it runs.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.len
    }
}
