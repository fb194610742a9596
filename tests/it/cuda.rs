//! The CUDA device: its kernels executed by the host runner, which stands in for a GPU.

pub mod host;

mod budget;
mod bugs;
mod choose;
mod comments;
mod coverage;
mod declarations;
mod faults;
mod observed;
pub mod ops;
mod policy;
mod pool;
mod toolkit;
mod traffic;
mod train;
