//! The whole case table, and the controller in every space, executed once by a build of the kernels
//! that counts how often each line runs.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::cases::{self, Case};
use libloading::Library;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::Launch;
use rayon::prelude::*;

use super::host::{Counters, Host, MODES, PROCESSORS, PROFILES, compile_with};
use super::{ops, policy, resident};

/// What was seen.
pub struct Observed {
    /// Every kernel of the library.
    pub kernels: BTreeSet<String>,
    /// Every launch, with what was counted of it.
    pub launches: Vec<(Launch, Counters)>,
    /// Where the counts of lines lie.
    pub folder: PathBuf,
}

/// Runs the cases; once, whatever number of tests ask.
pub fn observed() -> &'static Observed {
    static OBSERVED: OnceLock<Observed> = OnceLock::new();
    OBSERVED.get_or_init(observe)
}

fn observe() -> Observed {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coverage");
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    // Functions that nothing calls are kept, and none is a part of another before lines are counted.
    let inlining = ["-fkeep-inline-functions", "-fno-early-inlining"];
    let flags = [["--coverage", "-DCOVERAGE"], inlining].concat();
    let library = compile_with(folder.clone(), Some(&kernels), &flags);
    let library = library.expect("the kernels compile for the host");
    // Counts of an earlier run would be added to.
    for entry in fs::read_dir(&folder).expect("the build's folder") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "gcda")
        {
            fs::remove_file(path).expect("removes old counts");
        }
    }
    let launches = Arc::new(Mutex::new(vec![]));
    let with = |shared_bytes: usize, processors: usize| {
        let to = Arc::clone(&launches);
        let host = Host::new(Arc::clone(&library), MODES[0], PROFILES[0]);
        let host = host.with_processors(processors);
        let host = host.observed(move |launch, counters| {
            let mut launches = to.lock().expect("no thread panics with it");
            launches.push((launch.clone(), *counters));
        });
        Cuda::new(Box::new(resident::narrowed(host, shared_bytes)))
    };
    let cuda = || with(PROFILES[0], PROCESSORS);
    let run = |case: &Case, cuda: &Cuda| {
        let ran = ops::run(case, cuda, 1);
        ran.unwrap_or_else(|error| panic!("{error}"));
    };
    cases::all().par_iter().for_each(|case| run(case, &cuda()));
    // In other ways than on a device with so much of everything.
    resident::cases().par_iter().for_each(|case| {
        run(case, &with(PROFILES[0], 0));
        for narrow in resident::NARROW {
            let cuda = with(narrow, 2);
            if resident::fits(case, &cuda) {
                run(case, &cuda);
            }
        }
    });
    policy::sample_and_learn(&cuda());
    // SAFETY: the function's type in kernels/host/device.cpp.
    let dump = unsafe { library.get::<extern "C" fn()>(b"host_dump_coverage") };
    dump.expect("a build that counts lines")();
    let mut launches = launches.lock().expect("no thread panics with it");
    Observed {
        kernels: names(&library),
        launches: std::mem::take(&mut *launches),
        folder,
    }
}

/// Names of the kernels of a library.
fn names(library: &Library) -> BTreeSet<String> {
    // SAFETY: the functions' types in kernels/host/device.cpp; names are constants of the library.
    unsafe {
        let count = library.get::<extern "C" fn() -> usize>(b"host_kernel_count");
        let name = library.get::<extern "C" fn(usize) -> *const c_char>(b"host_kernel_name");
        let (count, name) = (count.expect("the runner's"), name.expect("the runner's"));
        let name = |i| CStr::from_ptr(name(i)).to_string_lossy().into_owned();
        (0..count()).map(name).collect()
    }
}
