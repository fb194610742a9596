//! What GPUs can do at most, and where each figure comes from.

/// A GPU by the two rates that bound every kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpu {
    /// As `--gpu` names it.
    pub name: &'static str,
    /// Of dense bfloat16 products with f32 sums.
    pub flops_per_second: f64,
    /// To and from its memory.
    pub bytes_per_second: f64,
    /// Where `flops_per_second` comes from.
    pub flops_source: &'static str,
    /// Where `bytes_per_second` comes from.
    pub bytes_source: &'static str,
}

/// Every GPU that `--gpu` names, the default first. Rates that a product or a copy reached are
/// better bounds than a data sheet's, which no program reaches; they are taken where there are any.
pub const GPUS: [Gpu; 4] = [
    Gpu {
        name: "h200",
        flops_per_second: 790e12,
        bytes_per_second: 4.3e12,
        flops_source: "a large matrix product by cuBLAS",
        bytes_source: "a large copy; the data sheet says 4.8 TB/s",
    },
    Gpu {
        name: "h100",
        flops_per_second: 762e12,
        bytes_per_second: 3.35e12,
        flops_source: "a product of 8192 x 8192 by cuBLAS, \
                       github.com/waynehacking8/blackwell-tensorcore-kernels",
        bytes_source: "data sheet, SXM",
    },
    Gpu {
        name: "a100",
        flops_per_second: 312e12,
        bytes_per_second: 2.039e12,
        flops_source: "data sheet",
        bytes_source: "data sheet, 80 GB SXM",
    },
    Gpu {
        name: "4090",
        flops_per_second: 165.2e12,
        bytes_per_second: 1.008e12,
        flops_source: "data sheet, f32 sums",
        bytes_source: "data sheet",
    },
];

/// What bounds a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The products.
    Compute,
    /// The traffic to memory.
    Memory,
}

impl Bound {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
        }
    }
}

impl Gpu {
    /// The GPU of a name.
    pub fn named(name: &str) -> Option<Gpu> {
        GPUS.into_iter().find(|gpu| gpu.name == name)
    }

    /// The least time for so many FLOPs and bytes, where both go on side by side.
    pub fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops_per_second).max(bytes / self.bytes_per_second)
    }

    /// Which of the two it is.
    pub fn bound(&self, flops: f64, bytes: f64) -> Bound {
        match flops / self.flops_per_second > bytes / self.bytes_per_second {
            true => Bound::Compute,
            false => Bound::Memory,
        }
    }
}
