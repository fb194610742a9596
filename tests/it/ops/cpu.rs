//! Every operation of `cpu` against `reference`: values within the case's tolerance on every
//! instruction set, guard bands intact, the same bits twice and with any number of threads.

use crate::cases::{self, Case, Outputs, compare, same_bits};
use nas_engine::device::cpu::Cpu;
use nas_engine::device::cpu::simd::Isa;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Convolution, Device};

const SEEDS: [u64; 2] = [1, 2];

/// Runs a case twice in one session; an error if a guard broke or the bits differ.
fn run_twice(case: &Case, device: &dyn Device, seed: u64) -> Result<Outputs, String> {
    let prepared = case.plan(device);
    let mut session = prepared.load(device).map_err(|e| e.to_string())?;
    let mut run = || prepared.run(&mut *session, seed).map_err(|e| e.to_string());
    let (first, second) = (run()?, run()?);
    if let Some(buffer) = session.broken_guard() {
        return Err(format!("{case}, seed {seed}: a write behind '{buffer}'"));
    }
    same_bits(&first, &second).map_err(|e| format!("run again: {e}"))?;
    Ok(first)
}

/// The CPU with 1, 2 and 3 threads, for one instruction set.
struct Cpus {
    isa: Isa,
    by_threads: [Cpu; 3],
}

impl Cpus {
    fn new(isa: Isa, convolution: Convolution) -> Cpus {
        let cpu = |threads| Cpu::new(Some(threads), convolution).expect("threads can be started");
        Cpus {
            isa,
            by_threads: [1, 2, 3].map(|threads| cpu(threads).with_isa(isa)),
        }
    }

    /// What goes wrong with a case.
    fn check(
        &self,
        case: &Case,
        expected: &Outputs,
        convolution: Convolution,
    ) -> Result<(), String> {
        let [one, more @ ..] = &self.by_threads;
        let got = run_twice(case, one, expected.seed)?;
        compare(expected, &got, &case.tolerance, convolution)?;
        for cpu in more {
            let other = run_twice(case, cpu, expected.seed)?;
            same_bits(&got, &other).map_err(|e| format!("{}: {e}", cpu.describe()))?;
        }
        Ok(())
    }
}

fn check_all(convolution: Convolution) {
    let isas = Isa::available().into_iter();
    let cpus: Vec<Cpus> = isas.map(|isa| Cpus::new(isa, convolution)).collect();
    let mut failures = vec![];
    let mut runs = 0;
    for case in cases::all() {
        for seed in SEEDS {
            let expected = case.run(&Reference, seed).expect("loads");
            for cpu in &cpus {
                let result = cpu.check(&case, &expected, convolution);
                failures.extend(result.err().map(|e| format!("{}: {e}", cpu.isa.name())));
                runs += 1;
            }
        }
    }
    let (n, list) = (failures.len(), failures.join("\n"));
    assert!(n == 0, "{n} of {runs} runs with {convolution}:\n{list}");
}

#[test]
fn cpu_equals_reference_with_plain_sums() {
    check_all(Convolution::Direct);
}

#[test]
fn cpu_equals_reference_with_transforms() {
    check_all(Convolution::Auto);
}
