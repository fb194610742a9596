//! What plans need on a GPU of a kind: a function of its limits, for which no GPU is opened.

use super::conv_choose::filter_gradient;
use super::driver::Limits;
use super::recurrent_scratch::Scratch;
use super::{conv_args, conv_tiling, decoder, layout, recurrent};
use crate::graph::Shape;
use crate::graph::plan::{Plan, Storage};
use crate::graph::recurrent::{Decoder, Stack};
use crate::graph::step::{Content, Conv, Step};

/// A kind of GPU as plans see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaStorage {
    /// What its launches must respect.
    pub limits: Limits,
}

impl CudaStorage {
    /// The first step of a plan that no kernel can run.
    pub fn missing<'a>(&self, plan: &'a Plan) -> Option<&'a Step> {
        let lists = [&plan.prepare, &plan.train, &plan.evaluate];
        let mut steps = lists.into_iter().flatten();
        steps.find(|step| match step {
            Step::Unroll(stack) | Step::UnrollGrad(stack) => {
                !recurrent::fits(stack, self.limits.shared_bytes)
            }
            _ => false,
        })
    }
}

impl Storage for CudaStorage {
    fn bytes(&self, content: &Content, batch: usize) -> usize {
        match content {
            Content::Images(shape) => 2 * batch * layout::image_len(shape),
            Content::Statistics(shape) => conv_tiling::statistics_bytes(shape, batch),
            Content::Values(n) => 4 * n,
            Content::Bytes(n) => *n,
        }
    }

    fn packed_bytes(&self, conv: &Conv, _: usize) -> usize {
        conv_args::packed_bytes(conv)
    }

    fn scratch_bytes(&self, conv: &Conv, batch: usize) -> usize {
        filter_gradient(conv, batch, &self.limits).scratch_bytes(conv, batch)
    }

    fn lcn_scratch_bytes(&self, _: &Shape, _: usize) -> usize {
        0 // it works in shared memory
    }

    fn decoder_scratch_bytes(&self, decoder: &Decoder) -> usize {
        decoder::scratch_bytes(decoder)
    }

    fn recurrent_scratch_bytes(&self, stack: &Stack) -> usize {
        Scratch::new(stack).bytes()
    }
}
