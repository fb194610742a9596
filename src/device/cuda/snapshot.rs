//! A copy of what training goes on from, on the device itself: made between two steps, and read while
//! the steps behind it run.

use super::driver::{DriverError, Stream};
use crate::graph::plan::Plan;
use crate::graph::step::{BufferId, Content};

/// Room for the copy.
pub struct Snapshot {
    address: u64,
    /// Whether there is one.
    is_kept: bool,
}

impl Snapshot {
    /// With memory for [`Snapshot::bytes`].
    pub fn new(address: u64) -> Snapshot {
        let is_kept = false;
        Snapshot { address, is_kept }
    }

    /// Bytes of the copy; a plan that does not train needs none.
    pub fn bytes(plan: &Plan) -> usize {
        let trained = plan.state.iter().filter(|_| !plan.train.is_empty());
        trained.map(|&id| bytes_of(plan, id)).sum()
    }

    /// Copies the state of a plan in an arena, after all that was launched so far.
    ///
    /// # Panics
    /// If the plan does not train.
    pub fn keep(
        &mut self,
        stream: &mut dyn Stream,
        plan: &Plan,
        arena: u64,
    ) -> Result<(), DriverError> {
        assert!(!plan.train.is_empty(), "a plan that trains has a state");
        let mut to = self.address;
        for &id in &plan.state {
            let from = arena + plan.buffer(id).offset as u64;
            let bytes = bytes_of(plan, id);
            if bytes > 0 {
                stream.copy(from, to, bytes)?;
            }
            to += bytes as u64;
        }
        self.is_kept = true;
        stream.mark()
    }

    /// The copy, a vector a buffer; nothing where none was made.
    pub fn kept(&self, stream: &mut dyn Stream, plan: &Plan) -> Result<Vec<Vec<f64>>, DriverError> {
        if !self.is_kept {
            return Ok(vec![]);
        }
        let mut values = vec![0f32; Snapshot::bytes(plan) / size_of::<f32>()];
        stream.read_marked(self.address, bytemuck::cast_slice_mut(&mut values))?;
        let mut rest = values.as_slice();
        let of = |&id: &BufferId| {
            let (values, after) = rest.split_at(bytes_of(plan, id) / size_of::<f32>());
            rest = after;
            values.iter().map(|&x| f64::from(x)).collect()
        };
        Ok(plan.state.iter().map(of).collect())
    }
}

/// Bytes of a buffer of the state.
fn bytes_of(plan: &Plan, id: BufferId) -> usize {
    match plan.buffer(id).content {
        Content::Values(n) => size_of::<f32>() * n,
        _ => unreachable!("what training goes on from are values"),
    }
}
