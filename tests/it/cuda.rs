//! The CUDA device: its kernels executed by the host runner, which stands in for a GPU.

pub mod host;

mod budget;
mod bugs;
mod declarations;
pub mod ops;
mod policy;
mod train;
