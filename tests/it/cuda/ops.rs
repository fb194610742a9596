//! Every operation of `cuda` against `reference`: values within the case's tolerance, guard bands
//! intact, and the same bits twice. Here by the host runner, in every order and in every profile; on
//! a GPU by `gpu.rs`. The two need not have the same bits as each other: tensor cores round sums in
//! a way of their own. Whole numbers, which many cases have, are exact on both.

use crate::cases::{self, Case, Outputs, Tolerance, compare, same_bits};
use half::bf16;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Convolution, Device};

use rayon::prelude::*;

use super::host::{Host, MODES, Mode, PROFILES, kernels};

const SEED: u64 = 1;

fn cuda(mode: Mode, shared_bytes: usize) -> Cuda {
    Cuda::new(Box::new(Host::new(kernels(), mode, shared_bytes)))
}

/// Operations that compute in f32 throughout.
const IN_F32: [&str; 5] = [
    "classifier",
    "softmax_xent",
    "optim",
    "embedding",
    "descend",
];
/// Results are rounded to 8 bits, and what is computed of rounded results may be as far again.
const BF16: f64 = 1.0 / 128.0;

fn tolerance(case: &Case) -> Tolerance {
    let given = case.tolerance;
    let bound = match case.op {
        op if IN_F32.contains(&op) || given.direct == 0.0 => return given,
        // What other operations read there is the rounded result of a normalisation.
        "gather" => 2.0 * BF16,
        // Rounded factors in every layer, and their sums go through the cell of the next.
        "recurrent" => 2.0 * BF16,
        _ => BF16,
    };
    Tolerance::new(bound).absolute(given.absolute)
}

/// Whole numbers are exact until they are stored: images in bfloat16.
fn stored(mut outputs: Outputs) -> Outputs {
    for output in outputs
        .list
        .iter_mut()
        .filter(|output| output.dims.len() == 4)
    {
        let values = output.values.iter_mut();
        values.for_each(|x| *x = bf16::from_f64(*x).to_f64());
    }
    outputs
}

/// Runs a case `times` times in one session.
///
/// # Errors
/// If it fails, a guard broke or the bits differ.
pub fn run(case: &Case, device: &dyn Device, times: usize) -> Result<Outputs, String> {
    let prepared = case.plan(device).in_bf16();
    let mut session = prepared.load(device).map_err(|e| format!("{case}: {e}"))?;
    let mut run = || {
        let outputs = prepared.run(&mut *session, SEED);
        outputs.map_err(|e| format!("{case}: {e}"))
    };
    let first = run()?;
    for _ in 1..times {
        same_bits(&first, &run()?).map_err(|e| format!("run again: {e}"))?;
    }
    if let Some(buffer) = session.broken_guard() {
        return Err(format!("{case}: a write behind '{buffer}'"));
    }
    Ok(first)
}

/// Whether devices agree with the reference, and have the same bits as the first.
///
/// # Errors
/// What does not.
pub fn check_in<'a>(
    case: &Case,
    mut devices: impl Iterator<Item = &'a Cuda>,
) -> Result<(), String> {
    let expected = stored(run(case, &Reference, 1)?);
    let first = devices.next().expect("a device");
    let got = run(case, first, 2)?;
    let agrees = compare(&expected, &got, &tolerance(case), Convolution::Direct);
    agrees.map_err(|e| format!("{}: {e}", first.describe()))?;
    devices.try_for_each(|device| {
        let other = run(case, device, 1)?;
        same_bits(&got, &other).map_err(|e| format!("{}: {e}", device.describe()))
    })
}

/// In the strictest profile in every mode, in the others once.
fn check(case: &Case) -> Result<(), String> {
    let [strictest, more @ ..] = PROFILES;
    check_in(case, MODES.map(|mode| cuda(mode, strictest)).iter())?;
    more.into_iter()
        .try_for_each(|shared_bytes| check_in(case, [cuda(MODES[0], shared_bytes)].iter()))
}

/// Runs a check over cases, and says of all that fail why.
pub fn check_all(cases: &[Case], check: impl Fn(&Case) -> Result<(), String> + Sync) {
    assert!(!cases.is_empty());
    let failures = cases.par_iter().filter_map(|case| check(case).err());
    let failures: Vec<String> = failures.collect();
    let n = failures.len();
    let list = failures.join("\n");
    assert!(n == 0, "{n} of {} cases:\n{list}", cases.len());
}

#[test]
fn cuda_equals_reference() {
    check_all(&cases::all(), check);
}
