//! A window in one launch, whose blocks wait for each other, gives the bits of a launch a step: for
//! any number of blocks, in every order of theirs, and whatever of the weights lies in shared memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::cases::{self, Case, Outputs, same_bits};
use libloading::Library;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::{Driver, Limits};
use nas_engine::device::reference::Reference;
use nas_engine::graph::step::Step;

use super::host::{Host, Limited, MODES, Mode, PROFILES, kernels};
use super::ops::{check_all, run};

/// Shared memory with room for most of the weights of some cases, on two processors, and for all of
/// others: backward of the two layers of the worked example, forward of the large LSTM.
pub const NARROW: [usize; 2] = [10 << 10, 40 << 10];

/// How the backward pass of a case was launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backward {
    /// There is none.
    None,
    /// In one launch.
    Resident,
    /// In a launch a step.
    BySteps,
}

/// Kernels that were launched, with their blocks.
type Seen = Arc<Mutex<BTreeSet<(&'static str, u32)>>>;

fn cuda(
    library: &Arc<Library>,
    mode: Mode,
    shared_bytes: usize,
    processors: usize,
) -> (Cuda, Seen) {
    let seen = Seen::default();
    let to = Arc::clone(&seen);
    let host = Host::new(Arc::clone(library), mode, PROFILES[0]).with_processors(processors);
    let host = host.observed(move |launch, _| {
        let mut seen = to.lock().expect("no thread panics with it");
        seen.insert((launch.kernel, launch.grid[0]));
    });
    (Cuda::new(Box::new(narrowed(host, shared_bytes))), seen)
}

/// A host that says it has so much shared memory: what decides where weights lie. Products by tensor
/// cores need more than that, and have it.
pub fn narrowed(host: Host, shared_bytes: usize) -> Limited<Host> {
    let says = Limits {
        shared_bytes,
        ..host.limits()
    };
    Limited(host, says)
}

/// Blocks of the launches of a kernel, of which there is one grid at most.
fn blocks(seen: &Seen, kernel: &str) -> Option<u32> {
    let seen = seen.lock().expect("no thread panics with it");
    let mut grids = seen.iter().filter(|(name, _)| *name == kernel);
    grids.next().map(|(_, blocks)| *blocks)
}

/// The case by launches of a step each.
fn by_steps(case: &Case) -> Result<Outputs, String> {
    let (cuda, seen) = cuda(&kernels(), MODES[0], PROFILES[0], 0);
    let outputs = run(case, &cuda, 1)?;
    assert!(blocks(&seen, "recurrent_fwd").is_some());
    assert!(blocks(&seen, "recurrent_resident_fwd").is_none());
    let backward = blocks(&seen, "recurrent_bwd").is_some();
    assert_eq!(backward, has_backward(case), "{case}");
    assert!(blocks(&seen, "recurrent_resident_bwd").is_none());
    Ok(outputs)
}

/// Whether a case has a backward pass.
fn has_backward(case: &Case) -> bool {
    let steps = case.plan(&Reference).plan.evaluate;
    steps.iter().any(|step| matches!(step, Step::UnrollGrad(_)))
}

/// Whether kernels give a case these bits with so many processors and so much shared memory: by one
/// launch forward, and backward, if there is such a pass, by one or a launch a step; which, is told.
///
/// # Errors
/// What differs, or the runner's words.
pub fn check_with(
    library: &Arc<Library>,
    case: &Case,
    expected: &Outputs,
    (shared_bytes, processors): (usize, usize),
) -> Result<Backward, String> {
    let mut backward = Backward::None;
    for mode in MODES {
        let (cuda, seen) = cuda(library, mode, shared_bytes, processors);
        let with = |e| format!("{processors} processors, {shared_bytes} bytes, {mode:?}: {e}");
        let got = run(case, &cuda, 2).map_err(with)?;
        same_bits(expected, &got).map_err(with)?;
        let forward = blocks(&seen, "recurrent_resident_fwd");
        let n = forward.ok_or(format!("{case}: no launch of a whole window"))?;
        assert!(n as usize <= processors, "{case}: {n} blocks");
        assert!(blocks(&seen, "recurrent_fwd").is_none(), "{case}");
        let ways = ["recurrent_resident_bwd", "recurrent_bwd"].map(|kernel| blocks(&seen, kernel));
        backward = match ways {
            [None, None] => Backward::None,
            [Some(n), None] if n as usize <= processors => Backward::Resident,
            [None, Some(_)] => Backward::BySteps,
            _ => return Err(with(format!("{case}: backward by blocks {ways:?}"))),
        };
        assert_eq!(backward != Backward::None, has_backward(case), "{case}");
    }
    Ok(backward)
}

/// Whether kernels give a case the bits of a launch a step, however many blocks there are.
///
/// # Errors
/// As [`check_with`].
pub fn check(library: &Arc<Library>, case: &Case) -> Result<(), String> {
    let expected = by_steps(case)?;
    for processors in [1, 2, 7] {
        let backward = check_with(library, case, &expected, (PROFILES[0], processors))?;
        assert_ne!(
            backward,
            Backward::BySteps,
            "{case}: {processors} processors"
        );
    }
    Ok(())
}

/// The cases that have recurrent layers.
pub fn cases() -> Vec<Case> {
    let mut cases = cases::of_text();
    cases.retain(|case| case.op == "recurrent");
    cases
}

#[test]
fn bits_do_not_depend_on_the_number_of_blocks_or_their_order() {
    check_all(&cases(), |case| check(&kernels(), case));
}

/// Whether a device has kernels for a case.
pub fn fits(case: &Case, cuda: &Cuda) -> bool {
    case.plan(cuda).load(cuda).is_ok()
}

#[test]
fn bits_do_not_depend_on_where_weights_lie() {
    // Cases forward, and of these backward.
    let checked = Mutex::new([[0; 2]; NARROW.len()]);
    check_all(&cases(), |case| {
        let expected = by_steps(case)?;
        for (i, shared_bytes) in NARROW.into_iter().enumerate() {
            let cuda = cuda(&kernels(), MODES[0], shared_bytes, 2).0;
            if fits(case, &cuda) {
                let backward = check_with(&kernels(), case, &expected, (shared_bytes, 2))?;
                let checked = &mut checked.lock().expect("no thread panics with it")[i];
                checked[0] += 1;
                checked[1] += usize::from(backward == Backward::Resident);
            }
        }
        Ok(())
    });
    let checked = checked.into_inner().expect("no thread panicked");
    let enough = |&[forward, backward]: &[usize; 2]| forward > 2 && backward > 0;
    assert!(checked.iter().all(enough), "{checked:?}");
}
