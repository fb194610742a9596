//! The CUDA device: bfloat16 activations in planes of 8 channels, f32 parameters, and the kernels
//! of `kernels/`. A plan becomes a list of launches before anything runs; a GPU captures the list
//! once and replays it.

mod batchnorm;
mod cell;
mod classifier;
mod compiled;
mod concat_pad;
mod conv;
mod conv_filter;
mod conv_tiling;
#[allow(clippy::multiple_bound_locations)] // in what bytemuck derives for generic structs
pub mod declare;
mod decoder;
pub mod driver;
mod dropout;
mod embedding;
mod epoch;
mod gather;
mod gemm;
mod global_average_pool;
pub mod gpu;
mod launches;
mod layout;
mod lcn;
mod load_batch;
mod load_tokens;
pub mod machine;
mod memory;
mod optim;
mod policy;
mod policy_args;
mod pool;
#[doc(hidden)]
pub mod probe;
mod product;
mod records;
mod recurrent;
mod recurrent_resident;
mod session;
mod snapshot;
mod softmax_xent;
mod support;
mod tables;
mod work;

use super::policy::Policy;
use super::{Device, DeviceError, Input, PolicySession, Session};
use crate::graph::Shape;
use crate::graph::plan::{Plan, Storage};
use crate::graph::recurrent::{Decoder, Stack};
use crate::graph::step::{self, Content, Step};
use declare::Declaration;
use driver::{Driver, DriverError};
use policy::CudaPolicy;
use session::CudaSession;

/// A GPU, or what executes its kernels.
pub struct Cuda {
    driver: Box<dyn Driver>,
}

impl Cuda {
    /// The device of a driver.
    pub fn new(driver: Box<dyn Driver>) -> Cuda {
        Cuda { driver }
    }

    /// Whether a step can be launched.
    fn has_kernels(&self, step: &Step) -> bool {
        match step {
            Step::Unroll(stack) | Step::UnrollGrad(stack) => {
                recurrent::fits(stack, self.driver.limits().shared_bytes)
            }
            _ => true,
        }
    }

    fn error(&self, error: DriverError) -> DeviceError {
        let device = self.driver.describe();
        match error {
            DriverError::OutOfMemory { bytes, free } => DeviceError::OutOfMemory {
                device,
                bytes,
                free,
            },
            DriverError::Failed(what) => DeviceError::Failed { device, what },
            DriverError::Lost(what) => DeviceError::Lost { device, what },
        }
    }
}

impl Storage for Cuda {
    fn bytes(&self, content: &Content, batch: usize) -> usize {
        match content {
            Content::Images(shape) => 2 * batch * layout::image_len(shape),
            Content::Statistics(shape) => conv::statistics_bytes(shape, batch),
            Content::Values(n) => 4 * n,
            Content::Bytes(n) => *n,
        }
    }

    fn packed_bytes(&self, conv: &step::Conv, _: usize) -> usize {
        conv::packed_bytes(conv)
    }

    fn scratch_bytes(&self, conv: &step::Conv, batch: usize) -> usize {
        conv_filter::partials_bytes(conv, batch, self.driver.limits().shared_bytes)
    }

    fn lcn_scratch_bytes(&self, _: &Shape, _: usize) -> usize {
        0 // it works in shared memory
    }

    fn decoder_scratch_bytes(&self, decoder: &Decoder) -> usize {
        decoder::scratch_bytes(decoder)
    }

    fn recurrent_scratch_bytes(&self, stack: &Stack) -> usize {
        recurrent::scratch_bytes(stack)
    }
}

impl Device for Cuda {
    fn describe(&self) -> String {
        self.driver.describe()
    }

    fn model(&self) -> String {
        self.driver.model()
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.driver.memory().ok().map(|memory| memory.total)
    }

    fn load<'a>(
        &'a self,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<Box<dyn Session + 'a>, DeviceError> {
        let mut steps = [&plan.prepare, &plan.train, &plan.evaluate]
            .into_iter()
            .flatten();
        if let Some(step) = steps.find(|step| !self.has_kernels(step)) {
            return Err(DeviceError::Unavailable {
                device: self.describe(),
                reason: format!("{} does not run on it", step.name()),
            });
        }
        Ok(Box::new(CudaSession::new(self, plan, input)?))
    }

    fn policy<'a>(
        &'a self,
        policy: &Policy,
        capacity: usize,
    ) -> Result<Option<Box<dyn PolicySession + 'a>>, DeviceError> {
        let opened = CudaPolicy::open(self, policy, capacity);
        let opened = opened.map_err(|error| self.error(error))?;
        Ok(opened.map(|policy| Box::new(policy) as Box<dyn PolicySession>))
    }
}

/// Every struct that host and kernels both declare.
pub fn declarations() -> Vec<Declaration> {
    [
        batchnorm::declarations(),
        cell::declarations(),
        classifier::declarations(),
        concat_pad::declarations(),
        conv::declarations(),
        conv_filter::declarations(),
        decoder::declarations(),
        dropout::declarations(),
        embedding::declarations(),
        epoch::declarations(),
        gemm::declarations(),
        global_average_pool::declarations(),
        lcn::declarations(),
        load_batch::declarations(),
        load_tokens::declarations(),
        optim::declarations(),
        policy_args::declarations(),
        pool::declarations(),
        product::declarations(),
        recurrent::declarations(),
        recurrent_resident::declarations(),
        softmax_xent::declarations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every number that host and kernels both name.
pub fn constants() -> Vec<(&'static str, usize)> {
    [
        cell::constants(),
        decoder::constants(),
        epoch::constants(),
        gemm::constants(),
    ]
    .concat()
}
