//! What the steps of a batch work on: the plan, its buffers in the arena, and how to view them.

use std::ops::Range;

use super::conv::PlannedConv;
use super::simd::Isa;
use crate::device::arena::Arena;
use crate::graph::plan::Plan;
use crate::graph::step::{self, BufferId};

/// What the steps of a batch work on.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    pub isa: Isa,
    pub threads: usize,
    pub plan: &'a Plan,
    /// By [`ConvId`](crate::graph::step::ConvId).
    pub convs: &'a [PlannedConv],
    /// Images of the batch; the last one of an evaluation may be smaller than the plan's.
    pub images: usize,
    pub arena: &'a Arena,
}

/// Where a buffer lies in the arena, in floats.
pub fn floats(plan: &Plan, id: BufferId) -> Range<usize> {
    let step::Buffer { offset, bytes, .. } = plan.buffers[id.0];
    offset / 4..(offset + bytes) / 4
}

impl<'a> Batch<'a> {
    /// A buffer, to read.
    ///
    /// # Safety
    /// Nothing writes to the buffer while the view lives.
    pub unsafe fn get(&self, id: BufferId) -> &'a [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.arena.view(floats(self.plan, id)) }
    }

    /// A buffer, to write.
    ///
    /// # Safety
    /// No other view of the buffer lives.
    pub unsafe fn get_mut(&self, id: BufferId) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.arena.view_mut(floats(self.plan, id)) }
    }

    /// The scratch memory.
    ///
    /// # Safety
    /// No other view of it lives.
    pub unsafe fn scratch(&self) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.get_mut(self.plan.scratch) }
    }

    /// The scratch memory in a piece for each thread.
    ///
    /// # Safety
    /// No other view of it lives.
    pub unsafe fn pieces(&self) -> impl Iterator<Item = &'a mut [f32]> + use<'a> {
        // SAFETY: the caller's promise.
        let mut rest = unsafe { self.scratch() };
        let each = rest.len() / self.threads / 16 * 16;
        (0..self.threads).map(move |_| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(each);
            rest = after;
            piece
        })
    }
}
