//! The fast CPU device: f32 in planes of 8 channels, all cores, the instruction set that the CPU has.
//!
//! One file per operation; most work on one image, and `steps` shares the images among threads.
//! What is summed over images is summed in their order, so results do not depend on the number of
//! threads.

mod batch;
mod batchnorm;
mod cell;
mod classifier;
mod concat_pad;
pub mod conv;
mod decoder;
mod dropout;
mod embedding;
mod gather;
mod global_average_pool;
pub mod layout;
mod lcn;
mod load_batch;
mod load_tokens;
mod loops;
mod math;
mod optim;
mod pool;
mod product;
mod recurrent;
mod session;
pub mod simd;
mod softmax_xent;
mod steps;
mod timings;
mod workers;

use super::{Convolution, Device, DeviceError, Input, Session};
use crate::graph::Shape;
use crate::graph::plan::{Plan, Storage};
use crate::graph::recurrent::{Decoder, Stack};
use crate::graph::step::{self, Content};
use conv::{ConvShape, PlannedConv};
use session::CpuSession;
use simd::Isa;

/// The CPU.
pub struct Cpu {
    isa: Isa,
    pool: rayon::ThreadPool,
    convolution: Convolution,
}

impl Cpu {
    /// The CPU with a pool of `threads` threads of its own; all cores by default.
    ///
    /// # Errors
    /// Where the threads cannot be started.
    pub fn new(threads: Option<usize>, convolution: Convolution) -> Result<Cpu, DeviceError> {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = threads.unwrap_or_else(cores).max(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| DeviceError::Threads {
            threads,
            reason: e.to_string(),
        })?;
        Ok(Cpu {
            isa: Isa::detect(),
            pool,
            convolution,
        })
    }

    /// The same with another of the instruction sets that the CPU has: tests run them all.
    pub fn with_isa(self, isa: Isa) -> Cpu {
        Cpu { isa, ..self }
    }

    fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The kernels of a convolution.
    fn conv(&self, conv: &step::Conv, batch: usize) -> PlannedConv {
        let sources = conv.sources.iter().map(|source| source.shape.clone());
        let shape = ConvShape {
            n: batch,
            sources: sources.collect(),
            filters: conv.output.c(),
            filter: conv.filter,
            stride: conv.stride,
        };
        PlannedConv::new(shape, self.isa, self.convolution == Convolution::Auto)
    }
}

impl Storage for Cpu {
    fn bytes(&self, content: &Content, batch: usize) -> usize {
        match content {
            Content::Images(shape) => 4 * batch * layout::image_len(shape),
            Content::Values(n) => 4 * n,
            Content::Statistics(shape) => 4 * batch * shape.statistics_len(),
            Content::Bytes(n) => *n,
        }
    }

    fn packed_bytes(&self, conv: &step::Conv, batch: usize) -> usize {
        4 * self.conv(conv, batch).packed_len(conv.gradients)
    }

    fn scratch_bytes(&self, conv: &step::Conv, batch: usize) -> usize {
        let kernels = self.conv(conv, batch);
        let (piece, partials) = match conv.gradients {
            true => (kernels.scratch_len(), kernels.partials_len()),
            false => (kernels.fwd_scratch_len(), 0),
        };
        // Pieces for the threads begin with a cache line.
        4 * (self.threads() * piece.next_multiple_of(16) + partials)
    }

    fn lcn_scratch_bytes(&self, shape: &Shape, _: usize) -> usize {
        4 * self.threads() * lcn::workspace_len(shape)
    }

    fn decoder_scratch_bytes(&self, decoder: &Decoder) -> usize {
        4 * decoder::scratch_len(decoder)
    }

    fn recurrent_scratch_bytes(&self, stack: &Stack) -> usize {
        4 * recurrent::scratch_len(stack)
    }
}

impl Device for Cpu {
    fn describe(&self) -> String {
        let (isa, threads) = (self.isa.name(), self.threads());
        let plural = if threads == 1 { "" } else { "s" };
        format!("cpu ({isa}, {threads} thread{plural})")
    }

    fn model(&self) -> String {
        format!("cpu ({})", self.isa.name())
    }

    fn load<'a>(
        &'a self,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<Box<dyn Session + 'a>, DeviceError> {
        Ok(Box::new(CpuSession::new(self, plan, input)?))
    }
}
