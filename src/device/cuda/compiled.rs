//! The kernels as `build.rs` compiled them: nothing but what it wrote.

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
