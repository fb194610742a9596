//! What a machine has of GPUs: asked of NVIDIA's driver, without work for any of them.

use std::env;
use std::fs;
use std::panic;

use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use cudarc::driver::{DriverError, result};

use super::compiled::{ARCHS, FATBINS, MISSING, TOOLKIT};
use super::support;

/// A GPU as the driver lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number among the visible ones, from 0.
    pub index: usize,
    /// Its model.
    pub name: String,
    /// All its memory, in bytes.
    pub memory_bytes: u64,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// Why the kernels cannot run on it.
    pub refusal: Option<String>,
}

/// The driver of a machine and its GPUs.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The CUDA version that the driver supports, such as `13.0`, where there is a driver.
    pub driver: Option<String>,
    /// The driver's own version, such as `580.65.06`, where the system tells.
    pub release: Option<String>,
    /// Every visible GPU, one at least, or why there is none.
    pub gpus: Result<Vec<Listed>, String>,
}

/// The version of the toolkit that compiled the kernels, where they are compiled in.
pub fn toolkit() -> Option<&'static str> {
    (!FATBINS.is_empty()).then_some(TOOLKIT)
}

/// What the kernels are compiled for, such as `sm_90a` (machine code) or `compute_80` (PTX).
pub fn archs() -> &'static [&'static str] {
    ARCHS
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Machine {
        // cudarc panics where a library of the driver's name lacks one of its functions.
        panic::catch_unwind(Machine::ask).unwrap_or_else(|_| Machine {
            driver: None,
            release: None,
            gpus: Err(
                "libcuda.so.1 is not NVIDIA's driver, or lacks some of it; install driver 580 or \
                 newer"
                    .into(),
            ),
        })
    }

    fn ask() -> Machine {
        let driver = driver_version();
        let release = fs::read_to_string("/proc/driver/nvidia/version").ok();
        Machine {
            driver: driver.as_ref().ok().copied().map(support::dotted),
            release: release.and_then(|text| support::release(&text).map(str::to_owned)),
            // Of what is missing, the kernels first: with them alone, a driver is of use.
            gpus: match driver.and_then(list) {
                Err(reason) => Err(missing().unwrap_or(reason)),
                gpus => gpus,
            },
        }
    }
}

/// Why this build has no kernels, where it has none.
fn missing() -> Option<String> {
    let words = format!("this build has no CUDA kernels: {MISSING}");
    FATBINS.is_empty().then_some(words)
}

fn driver_version() -> Result<i32, String> {
    // SAFETY: loads NVIDIA's library, which has no requirements.
    if !unsafe { sys::is_culib_present() } {
        return Err(
            "NVIDIA's driver (libcuda.so.1) was not found or cannot be loaded; install driver 580 or \
             newer"
                .into(),
        );
    }
    let mut version = 0;
    // SAFETY: the library is there; the place for the version outlives the call.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    asked.map_err(|e| format!("NVIDIA's driver does not tell its version: {e}"))?;
    Ok(version)
}

/// The GPUs of a driver of this version.
fn list(driver: i32) -> Result<Vec<Listed>, String> {
    let none = || support::none_visible(env::var_os("CUDA_VISIBLE_DEVICES").as_deref());
    let count = result::init().and_then(|()| result::device::get_count());
    let n = match count {
        // What the driver says at its start where all are hidden.
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) | Ok(0) => return Err(none()),
        Err(e) => return Err(format!("NVIDIA's driver does not start: {e}")),
        Ok(n) => n,
    };
    let refusal = missing().or(support::check_driver(driver, TOOLKIT).err());
    let describe = |index| describe(index).map_err(|e| format!("GPU {index}: {e}"));
    let gpus: Result<Vec<Listed>, String> = (0..n).map(describe).collect();
    let mut gpus = gpus?;
    for gpu in &mut gpus {
        let by_capability = || support::check_capability(gpu.capability, ARCHS).err();
        gpu.refusal = refusal.clone().or_else(by_capability);
    }
    Ok(gpus)
}

fn describe(index: i32) -> Result<Listed, DriverError> {
    use CUdevice_attribute::*;
    let device = result::device::get(index)?;
    // SAFETY: the device is one that `get` returned, here and below.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) };
    Ok(Listed {
        index: index as usize,
        name: result::device::get_name(device)?,
        // SAFETY: as above.
        memory_bytes: unsafe { result::device::total_mem(device) }? as u64,
        capability: (
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        refusal: None,
    })
}
