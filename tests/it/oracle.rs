//! Random architectures against JAX: an implementation of formats.md, section 1, that shares no
//! line with the engine (`tests/oracle/`), asked once for all networks and once for all cells.
//!
//! It needs Python with JAX; `scripts/test` sets that up. Without it the tests here fail.

mod cells;
pub mod draw;
mod files;
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use nas_engine::device::reference::Reference;
use nas_engine::device::{Convolution, cpu::Cpu};

use draw::{Case, STEPS};
use files::Answer;
use run::Found;

/// Cases drawn at random, besides those of [`draw::written`].
const N_DRAWN: u64 = 48;

/// Every case with the oracle's answer.
static ANSWERS: LazyLock<Vec<(Case, Answer)>> = LazyLock::new(ask);

/// Names the interpreter that has JAX, in place of `.venv/bin/python`.
const PYTHON_VARIABLE: &str = "NAS_ENGINE_ORACLE_PYTHON";

/// What keeps compilation short.
const XLA_FLAGS: &str =
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true";

fn ask() -> Vec<(Case, Answer)> {
    let mut cases = draw::written();
    cases.extend((0..N_DRAWN).map(draw::case));
    let folder = tempfile::tempdir().unwrap();
    for case in &cases {
        files::write_question(folder.path(), case);
    }
    consult(folder.path());
    let answer = |case: Case| {
        let answer = files::read_answer(folder.path(), &case);
        (case, answer)
    };
    cases.into_iter().map(answer).collect()
}

/// Has the oracle answer the questions in a folder.
fn consult(folder: &Path) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = match std::env::var_os(PYTHON_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => root.join(".venv/bin/python"),
    };
    let output = Command::new(&python)
        .arg(root.join("tests/oracle/run.py"))
        .arg(folder)
        .env("JAX_PLATFORMS", "cpu")
        // Compiling is most of the oracle's time: no optimisation, and a cache for the next run.
        .env("XLA_FLAGS", XLA_FLAGS)
        .env(
            "JAX_COMPILATION_CACHE_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/oracle-cache"),
        )
        .env("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        .env("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        .output();
    let setup =
        format!("run scripts/test, which sets it up, or name a Python in {PYTHON_VARIABLE}");
    let output = output.unwrap_or_else(|e| {
        panic!(
            "cannot start the oracle with {}: {e}; {setup}",
            python.display()
        )
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the oracle failed; {setup}\n{errors}"
    );
}

#[test]
fn shapes_and_counts_are_the_oracles() {
    let (mut valid, mut invalid) = (0, 0);
    for (case, answer) in ANSWERS.iter() {
        let ours = run::inspect(case);
        assert_eq!(ours, answer.inspect, "{case}");
        match ours {
            Some(_) => valid += 1,
            None => invalid += 1,
        }
    }
    assert!(
        valid >= 40 && invalid >= 1,
        "{valid} valid and {invalid} invalid cases"
    );
}

/// A view is rounded to f32 three times on its way: 3 x 6e-8 of values that reach 5 or so.
#[test]
fn views_are_the_oracles() {
    for (case, answer) in valid() {
        let ours: Vec<f64> = case.views().into_iter().map(f64::from).collect();
        answer.compare("views", &ours, 1e-6, case);
    }
}

/// Both sides compute in f64, in different orders. What differs is rounding: 1e-16 of the largest
/// terms, amplified by batch normalisation over few values and by steps at rates up to 0.2.
// paper P1.4, P2.4, P2.6, P2.7
#[test]
fn the_reference_is_the_oracle_to_1e_9() {
    for (case, answer) in valid() {
        for (name, values) in Found::run(&Reference, case).quantities {
            answer.compare(&name, &values, 1e-9, case);
        }
    }
}

#[test]
fn cpu_with_plain_sums_is_the_oracle_within_f32() {
    compare_f32(Convolution::Direct, &PLAIN);
}

#[test]
fn cpu_with_transforms_is_the_oracle_within_their_rounding() {
    compare_f32(Convolution::Auto, &TRANSFORMED);
}

/// How far f32 may be from the oracle, as a share of the largest value of a tensor.
struct Bounds {
    /// What batch normalisation gives: nearer to a jump of the gradient than this, a value may lie
    /// on its other side.
    rounding: f64,
    /// Results and weights.
    values: f64,
    /// Gradients and momentum, sums over a batch whose terms cancel.
    gradients: f64,
    /// Cases, of the valid ones, that must be clear of every jump in all steps.
    clear: usize,
}

/// Sums of up to some thousand terms, each rounded by 6e-8; ten times the worst seen.
const PLAIN: Bounds = Bounds {
    rounding: 2e-6,
    values: 1e-5,
    gradients: 2e-4,
    clear: 30,
};

/// The largest transforms round by 1e-5 of the largest value.
const TRANSFORMED: Bounds = Bounds {
    rounding: 1e-5,
    values: 1e-4,
    gradients: 1e-3,
    clear: 15,
};

/// On the other side of a jump, one position's gradient is there or not: it is one of the hundreds
/// that a sum has at least.
const ACROSS_A_JUMP: f64 = 0.1;

fn compare_f32(convolution: Convolution, bounds: &Bounds) {
    let device = Cpu::new(Some(2), convolution).unwrap();
    let mut n_clear = 0;
    for (case, answer) in valid() {
        let margins = answer.get("margins");
        let clear_until = |step: usize| margins[..step].iter().all(|&m| m > bounds.rounding);
        n_clear += usize::from(clear_until(STEPS));
        for (name, values) in Found::run(&device, case).quantities {
            let (bound, clear) = match name.split('.').next() {
                Some("first") => (bounds.values, true),
                _ if name == "logits.train" => (bounds.values, true),
                Some("gradient") => (bounds.gradients, clear_until(1)),
                Some("momentum") => (bounds.gradients, clear_until(STEPS)),
                _ => (bounds.values, clear_until(STEPS)),
            };
            if clear {
                answer.compare(&name, &values, bound, case);
            } else if name != "correct.evaluate" {
                answer.compare(&name, &values, ACROSS_A_JUMP, case);
            }
        }
    }
    assert!(
        n_clear >= bounds.clear,
        "{n_clear} cases are clear of every jump"
    );
}

fn valid() -> impl Iterator<Item = &'static (Case, Answer)> {
    ANSWERS.iter().filter(|(case, _)| case.graph().is_some())
}
