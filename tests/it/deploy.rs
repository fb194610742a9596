//! What others run the program by: batch scripts, manifests, an image.

mod container;
mod kubernetes;
mod slurm;

use std::path::{Path, PathBuf};

/// A path of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
