//! The host runner finds what is wrong with a kernel: bugs of the kinds that people make, planted
//! one at a time in a copy of the kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::cases::{self, Case};
use libloading::Library;
use nas_engine::device::cuda::Cuda;
use rayon::prelude::*;

use super::host::{Host, MODES, Mode, PROFILES, compile, kernels};
use super::ops::check_in;
use super::policy;

struct Bug {
    what: &'static str,
    file: &'static str,
    /// The first place of this text is changed.
    find: &'static str,
    replace: &'static str,
    /// Cases of this operation find it; or [`POLICY`].
    op: &'static str,
}

/// What the controller's kernels are tested by has no case table.
const POLICY: &str = "policy";

const BUGS: &[Bug] = &[
    Bug {
        what: "no barrier before the buffers of a step are used and filled",
        file: "conv.cu",
        find: "        sync_block();\n        load_ahead(step + 2);",
        replace: "        load_ahead(step + 2);",
        op: "conv",
    },
    Bug {
        what: "a wait that is one group too lax",
        file: "conv.cu",
        find: "        wait_copies<1>();",
        replace: "        wait_copies<2>();",
        op: "conv",
    },
    Bug {
        what: "a ring of buffers that is one stage short",
        file: "conv.cuh",
        find: "#define RING 3",
        replace: "#define RING 2",
        op: "conv",
    },
    Bug {
        what: "input that is loaded where the step reads",
        file: "conv.cu",
        find: "load_input(args, seen[number], buffers.input(number)",
        replace: "load_input(args, seen[number], buffers.input(number + 1)",
        op: "conv",
    },
    Bug {
        what: "lanes that load each other's rows",
        file: "conv.cu",
        find: "lane / 16 * plane_bytes",
        replace: "lane / 8 % 2 * plane_bytes",
        op: "conv",
    },
    Bug {
        what: "no barrier before the sums reuse the pipeline's memory",
        file: "conv.cu",
        find: "    wait_copies<0>();\n    sync_block();\n\n    const ColumnSums",
        replace: "    wait_copies<0>();\n\n    const ColumnSums",
        op: "conv",
    },
    Bug {
        what: "a store outside of the image",
        file: "conv_epilogue.cuh",
        find: "return i < tile.rows",
        replace: "return i <= tile.rows",
        op: "conv",
    },
    Bug {
        what: "a primitive of the warp that one lane runs once more",
        file: "conv.cu",
        find: "for (int tap = 0; tap < n_taps; tap++) {\n        uint32_t a",
        replace: "for (int tap = 0; tap < n_taps + (lane_idx() == 0); tap++) {\n        uint32_t a",
        op: "conv",
    },
    Bug {
        what: "shared memory that is not aligned for matrices",
        file: "conv.cu",
        find: "buffers.plane_bytes = args.halo_h * args.halo_w * 16",
        replace: "buffers.plane_bytes = args.halo_h * args.halo_w * 16 + 8",
        op: "conv",
    },
    Bug {
        what: "an image that all blocks write",
        file: "conv_direct.cu",
        find: "image = (int)blockIdx.z",
        replace: "image = 0",
        op: "conv",
    },
    Bug {
        what: "a number for the sine that host and kernel do not share",
        file: "cell.cuh",
        find: "#define SINE 4",
        replace: "#define SINE 5",
        op: "recurrent",
    },
    Bug {
        what: "no barrier before a buffer is filled again",
        file: "conv_filter.cu",
        find: "        sync_block();\n    }\n    wait_copies<0>();",
        replace: "    }\n    wait_copies<0>();",
        op: "conv",
    },
    Bug {
        what: "a wait for the step before the last alone",
        file: "conv_filter.cu",
        find: "wait_copies<1>();",
        replace: "wait_copies<2>();",
        op: "conv",
    },
    Bug {
        what: "an operand that is not transposed",
        file: "conv_filter.cu",
        find: "load_matrices_transposed(a, ",
        replace: "load_matrices(a, ",
        op: "conv",
    },
    Bug {
        what: "parts of taps that no chunk has",
        file: "conv_filter.cu",
        find: "if (pair >= block.n_pairs || column >= width) continue;",
        replace: "if (column >= width) continue;",
        op: "conv",
    },
    Bug {
        what: "no barrier between writing and reading partial sums",
        file: "batchnorm.cu",
        find: "    room[thread] = all;\n    sync_block();",
        replace: "    room[thread] = all;",
        op: "batchnorm",
    },
    Bug {
        what: "threads that end before a barrier",
        file: "batchnorm.cu",
        find: "    float mean[8] = {}, squares[8] = {}, x[8];",
        replace: "    if (thread_idx() > 100) return;\n    float mean[8] = {}, squares[8] = {}, x[8];",
        op: "batchnorm",
    },
    Bug {
        what: "a block that reads another block's result",
        file: "classifier.cu",
        find: "args.dfeatures.write(image * args.n_features + c, sum);",
        replace: "args.dfeatures.write(image * args.n_features + c, sum + 0.f * args.dfeatures.read(0));",
        op: "classifier",
    },
    Bug {
        what: "no barrier before an image is blurred",
        file: "lcn.cu",
        find: "    sync_block();\n    for (int i = thread_idx(); i < h * w",
        replace: "    for (int i = thread_idx(); i < h * w",
        op: "lcn",
    },
    Bug {
        what: "a batch number frozen into the launch",
        file: "load_batch.cu",
        find: "args.counters.read(BATCH_IDX) * args.batch",
        replace: "0 * args.batch",
        op: "load_batch",
    },
    Bug {
        what: "a cell that is computed before all its gates are",
        file: "lstm.cuh",
        find: "    sync_block();\n    for (int k = thread_idx(); k < H; k += n_threads()) {\n        c[k]",
        replace: "    for (int k = thread_idx(); k < H; k += n_threads()) {\n        c[k]",
        op: POLICY,
    },
    Bug {
        what: "two architectures whose traces lie at the same place",
        file: "policy.cu",
        find: "{args, blockIdx.x};",
        replace: "{args, blockIdx.x / 2};",
        op: POLICY,
    },
    Bug {
        what: "no barrier before the next step of a product is used",
        file: "gemm.cuh",
        find: "        sync_block();\n    }\n}",
        replace: "    }\n}",
        op: "decoder",
    },
    Bug {
        what: "a word's places that are written over by those of another warp",
        file: "embedding.cu",
        find: "if (w < warp) place += counts[w];",
        replace: "",
        op: "embedding",
    },
    Bug {
        what: "no barrier before the places of a word are counted",
        file: "embedding.cu",
        find: "    sync_block();  // what is shared is free again\n",
        replace: "",
        op: "embedding",
    },
    Bug {
        what: "the end of a row that only one thread knows",
        file: "load_tokens.cu",
        find: "    for (int i = 0; i < 128; i++) end = min(end, ends[i]);\n",
        replace: "",
        op: "load_tokens",
    },
    Bug {
        what: "an anchor that does not hear of the layer that reads it",
        file: "policy_bwd.cu",
        find: "dh[k] += args.danchors.read(trace.anchor(step.anchor, 0, k));",
        replace: "",
        op: POLICY,
    },
    Bug {
        what: "a cell that is computed before its products are",
        file: "recurrent_resident.cu",
        find: "            sync_block();\n            const Mask",
        replace: "            const Mask",
        op: "recurrent",
    },
    Bug {
        what: "a mask of another layer",
        file: "recurrent_resident.cu",
        find: "mask_at(args.rate, control, batch, i + 1);",
        replace: "mask_at(args.rate, control, batch, i);",
        op: "recurrent",
    },
    Bug {
        what: "a slice of a weight that is off by one row",
        file: "recurrent_resident.cu",
        find: "const int64_t row = from.row(r);",
        replace: "const int64_t row = from.row(min(r + 1, n_rows - 1));",
        op: "recurrent",
    },
    Bug {
        what: "products that overwrite those of the layer before",
        file: "recurrent_resident.cu",
        find: "            sync_block();\n        }\n        if",
        replace: "        }\n        if",
        op: "recurrent",
    },
    Bug {
        what: "no fence before a block arrives at the grid's barrier",
        file: "grid_barrier.cuh",
        find: "        fence_grid();\n        const",
        replace: "        const",
        op: "recurrent",
    },
    Bug {
        what: "no fence after the grid's barrier",
        file: "grid_barrier.cuh",
        find: "n + n);\n        fence_grid();",
        replace: "n + n);",
        op: "recurrent",
    },
    Bug {
        what: "a barrier of the grid that is passed one step early",
        file: "grid_barrier.cuh",
        find: "ticket - ticket % n + n",
        replace: "ticket - ticket % n",
        op: "recurrent",
    },
    Bug {
        what: "a block that arrives before all its threads have written",
        file: "grid_barrier.cuh",
        find: "    sync_block();\n    if",
        replace: "    if",
        op: "recurrent",
    },
    Bug {
        what: "a block that leaves out the last barrier of the grid",
        file: "recurrent_resident.cu",
        find: "if (round + 1 < n_rounds)",
        replace: "if (round + 1 + (blockIdx.x == 1) < n_rounds)",
        op: "recurrent",
    },
    Bug {
        what: "a state that other blocks read without its being published",
        file: "recurrent_resident.cu",
        find: "layer.h.publish(before + state + at, value);",
        replace: "from(layer.h, 0).write(before + state + at, value);",
        op: "recurrent",
    },
    Bug {
        what: "a load of what another block publishes later",
        file: "recurrent_resident.cu",
        find: "const float dc = is_last_step ? 0.f",
        replace: "const float dc = is_last_step ? 0.f * In<float>{layer.input_products.data}[0]",
        op: "recurrent",
    },
];

/// A folder of its own for a test, with a copy of the kernels.
fn copy(number: usize) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bug-{number}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for a changed copy");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    // With their times, so that what is not changed is not compiled again.
    let copied = Command::new("cp")
        .arg("-pr")
        .args([&own, &folder.join("kernels")])
        .status();
    assert!(copied.expect("cp").success());
    let copied = Command::new("cp")
        .arg("-pr")
        .args([&built, &folder.join("out")])
        .status();
    assert!(copied.expect("cp").success());
    (folder.join("kernels"), folder.join("out"))
}

/// The kernels with a bug in them.
fn with(number: usize, bug: &Bug) -> Arc<Library> {
    let (sources, out) = copy(number);
    let path = sources.join(bug.file);
    let text = fs::read_to_string(&path).expect("a kernel");
    assert!(
        text.contains(bug.find),
        "{}: {} has changed",
        bug.what,
        bug.file
    );
    fs::write(&path, text.replacen(bug.find, bug.replace, 1)).expect("writes");
    compile(out, Some(&sources)).unwrap_or_else(|e| panic!("{}: {e}", bug.what))
}

fn cuda(library: &Arc<Library>, mode: Mode) -> Cuda {
    let host = Host::new(Arc::clone(library), mode, PROFILES[0]);
    Cuda::new(Box::new(host))
}

/// What a case says about kernels in the strictest profile.
fn verdict(library: &Arc<Library>, case: &Case) -> Result<(), String> {
    check_in(case, MODES.map(|mode| cuda(library, mode)).iter())
}

/// What the gradient of a policy says about kernels in the strictest profile.
fn policy_verdict(library: &Arc<Library>) -> Result<(), String> {
    let [_, (name, config, hidden), ..] = policy::spaces();
    let mut gradients = MODES.map(|mode| cuda(library, mode)).into_iter();
    let gradient = |cuda: Cuda| policy::gradient(name, &config, hidden, 3, &cuda);
    gradients.try_for_each(|cuda| gradient(cuda).map(|_| ()))
}

#[test]
fn every_planted_bug_is_found() {
    let _compiled = kernels();
    let cases = cases::all();
    let found = |(number, bug): (usize, &Bug)| {
        let library = with(number, bug);
        let mut of_op = cases.iter().filter(|case| case.op == bug.op);
        let error = match bug.op {
            POLICY => policy_verdict(&library).err(),
            _ => of_op.find_map(|case| verdict(&library, case).err()),
        };
        println!("{}: {}", bug.what, error.as_deref().unwrap_or("NOT FOUND"));
        error.is_none().then_some(bug.what)
    };
    let missed: Vec<&str> = BUGS.par_iter().enumerate().filter_map(found).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
