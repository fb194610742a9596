//! The CUDA device: bfloat16 activations in planes of 8 channels, f32 parameters, and the kernels
//! of `kernels/`. A plan becomes a list of launches before anything runs; a GPU captures the list
//! once and replays it.

mod batchnorm;
mod cell;
mod classifier;
mod compiled;
mod concat_pad;
mod conv;
mod conv_args;
mod conv_choose;
mod conv_filter;
mod conv_filter_tiling;
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
pub mod kinds;
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
mod recurrent_scratch;
mod replay;
mod session;
mod snapshot;
mod softmax_xent;
mod storage;
mod support;
mod tables;

use super::policy::Policy;
use super::{Device, DeviceError, Input, PolicySession, Session};
use crate::graph::Shape;
use crate::graph::plan::{Plan, Storage};
use crate::graph::recurrent::{Decoder, Stack};
use crate::graph::step::{Content, Conv};
use declare::Declaration;
use driver::{Driver, DriverError};
use policy::CudaPolicy;
use session::CudaSession;
pub use storage::CudaStorage;

/// A GPU, or what executes its kernels.
pub struct Cuda {
    driver: Box<dyn Driver>,
}

impl Cuda {
    /// The device of a driver.
    pub fn new(driver: Box<dyn Driver>) -> Cuda {
        Cuda { driver }
    }

    /// What plans need on it.
    fn storage(&self) -> CudaStorage {
        CudaStorage {
            limits: self.driver.limits(),
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
        self.storage().bytes(content, batch)
    }

    fn packed_bytes(&self, conv: &Conv, batch: usize) -> usize {
        self.storage().packed_bytes(conv, batch)
    }

    fn scratch_bytes(&self, conv: &Conv, batch: usize) -> usize {
        self.storage().scratch_bytes(conv, batch)
    }

    fn lcn_scratch_bytes(&self, shape: &Shape, batch: usize) -> usize {
        self.storage().lcn_scratch_bytes(shape, batch)
    }

    fn decoder_scratch_bytes(&self, decoder: &Decoder) -> usize {
        self.storage().decoder_scratch_bytes(decoder)
    }

    fn recurrent_scratch_bytes(&self, stack: &Stack) -> usize {
        self.storage().recurrent_scratch_bytes(stack)
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
        if let Some(step) = self.storage().missing(plan) {
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
        conv_args::declarations(),
        conv_filter::declarations(),
        conv_filter_tiling::declarations(),
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

/// Every number that host and kernels both name, as it is written there.
pub fn constants() -> Vec<(&'static str, String)> {
    [
        batchnorm::constants(),
        cell::constants(),
        conv_args::constants(),
        decoder::constants(),
        epoch::constants(),
        gemm::constants(),
        load_batch::constants(),
    ]
    .concat()
}
