//! The host runner refuses what a GPU refuses: more of the device than there is, and calls that a
//! capture does not allow.

use crate::cases::{self, Case};
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::{Driver, Limits};

use super::host::{Host, Limited, MODES, PROFILES, kernels};
use super::ops::check_in;

/// Whether some case is refused with these words by a device that has less than it says.
fn is_refused(host: Host, says: Limits, words: &str) {
    let cuda = Cuda::new(Box::new(Limited(host, says)));
    let cases = cases::all();
    let refused = |case: &&Case| {
        let error = check_in(case, [&cuda].into_iter()).err();
        error.is_some_and(|e| e.contains(words))
    };
    assert!(cases.iter().any(|case| refused(&case)));
}

#[test]
fn a_tile_too_large_for_the_device_is_refused() {
    let host = Host::new(kernels(), MODES[0], 48 << 10);
    let says = Limits {
        shared_bytes: PROFILES[2],
        ..host.limits()
    };
    is_refused(host, says, "bytes of shared memory");
}

#[test]
fn blocks_that_cannot_all_be_resident_are_refused() {
    let host = Host::new(kernels(), MODES[0], PROFILES[0]).with_processors(2);
    let says = Limits {
        processors: 3,
        ..host.limits()
    };
    is_refused(host, says, "blocks that wait for each other, of 2");
}

/// Arguments are copied when launches are captured; what a GPU refuses meanwhile is refused.
#[test]
fn a_capture_keeps_arguments_and_refuses_to_wait() {
    let host = Host::new(kernels(), MODES[0], PROFILES[0]);
    let mut stream = host.stream().expect("a stream");
    let memory = stream.allocate(64).expect("room");
    stream.begin_capture().expect("begins");
    assert!(stream.allocate(64).is_err() && stream.wait().is_err());
    assert!(stream.write(memory, &[0; 4]).is_err() && stream.read(memory, &mut [0; 4]).is_err());
    stream.end_capture().expect("ends");
    assert!(stream.end_capture().is_err(), "a capture ends once");
}
