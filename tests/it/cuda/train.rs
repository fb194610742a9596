//! A whole child trained by the kernels: losses as on the cpu device. Here by the host runner; on a
//! GPU by `gpu.rs`.

use std::sync::Arc;

use nas_engine::data::Dataset;
use nas_engine::device::Convolution;
use nas_engine::device::cpu::Cpu;
use nas_engine::device::cuda::Cuda;

use super::host::{Host, MODES, PROFILES, kernels};
use crate::train::{config, run};

/// Skips of unequal sizes and strides of 2; the same start and the same batches. bfloat16 keeps 8
/// bits: the first loss differs by that, later ones by what has become of it.
pub fn losses_are_those_of_the_cpu(cuda: &Cuda) {
    let dataset = Arc::new(Dataset::synthetic(50, 10, 4, 2));
    let config = config(4);
    let cpu = Cpu::new(Some(1), Convolution::Direct).expect("threads");
    let (expected, got) = (run(&cpu, &dataset, &config), run(cuda, &dataset, &config));
    assert_eq!(expected.step_losses.len(), 20);
    let pairs = expected.step_losses.iter().zip(&got.step_losses);
    for (i, (want, loss)) in pairs.enumerate() {
        let bound = if i == 0 { 0.005 } else { 0.02 };
        let apart = (loss / want - 1.0).abs();
        assert!(
            apart < bound,
            "step {i}: cpu {want}, cuda {loss}, {apart} apart"
        );
    }
    let again = run(cuda, &dataset, &config);
    assert_eq!(got.step_losses, again.step_losses, "the same bits twice");
    assert_eq!(got.weights, again.weights, "the same bits twice");
}

#[test]
fn host_runner_trains_as_the_cpu() {
    let host = Host::new(kernels(), MODES[0], PROFILES[0]);
    losses_are_those_of_the_cpu(&Cuda::new(Box::new(host)));
}
