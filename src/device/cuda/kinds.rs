//! Kinds of GPU by name, with what plans ask of them: a machine without one can tell what fits.

use super::driver::Limits;
use super::storage::CudaStorage;

/// A kind of GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// As `--gpu` names it.
    pub name: &'static str,
    /// All its memory in bytes, by the data sheet; what a driver tells differs by a few hundredths.
    pub memory_bytes: u64,
    /// What its launches must respect: the CUDA programming guide's shared memory of a block of its
    /// compute capability, and the data sheet's processors.
    pub limits: Limits,
}

/// Every kind that has a name.
pub const KINDS: [Kind; 4] = [
    kind("h200", 141, (9, 0), 227, 132),
    kind("h100", 80, (9, 0), 227, 132),
    kind("a100", 80, (8, 0), 163, 108),
    kind("4090", 24, (8, 9), 99, 128),
];

/// Memory in units of 10^9 bytes, compute capability, shared memory of a block in KiB, processors.
const fn kind(
    name: &'static str,
    memory_gb: u64,
    capability: (i32, i32),
    shared_kib: usize,
    processors: usize,
) -> Kind {
    Kind {
        name,
        memory_bytes: memory_gb * 1_000_000_000,
        limits: Limits {
            shared_bytes: shared_kib << 10,
            processors,
            capability,
        },
    }
}

impl Kind {
    /// The kind of a name.
    pub fn named(name: &str) -> Option<Kind> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    /// What plans need on it.
    pub fn storage(&self) -> CudaStorage {
        CudaStorage {
            limits: self.limits,
        }
    }
}
