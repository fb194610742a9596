//! The CUDA device: its kernels executed by the host runner, which stands in for a GPU, and by a GPU
//! where there is one.

pub mod host;

mod budget;
mod bugs;
mod choose;
mod comments;
mod coverage;
mod declarations;
mod faults;
mod go_on;
mod gpu;
mod idle;
mod limits;
mod observed;
pub mod ops;
mod policy;
mod pool;
mod probe;
mod refusals;
mod resident;
mod toolkit;
mod traffic;
mod train;
