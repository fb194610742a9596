//! Training that is stopped and gone on with, by the kernels: the same bits, whether windows are one
//! launch or one a step, and what a copy of the state moves.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use nas_engine::device::List;
use nas_engine::device::cuda::Cuda;
use nas_engine::graph::step::Content;

use super::host::{Host, MODES, PROCESSORS, PROFILES, kernels};
use crate::go_on::{children, goes_on_with_the_same_bits, stops_between_two_steps};

#[test]
fn training_goes_on_with_the_same_bits() {
    for (processors, kernel) in [(PROCESSORS, "recurrent_resident_fwd"), (0, "recurrent_fwd")] {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let to = Arc::clone(&seen);
        let host = Host::new(kernels(), MODES[0], PROFILES[0]).with_processors(processors);
        let host = host.observed(move |launch, _| {
            to.lock()
                .expect("no thread panics with it")
                .insert(launch.kernel);
        });
        let cuda = Cuda::new(Box::new(host));
        for child in &children() {
            goes_on_with_the_same_bits(&cuda, child);
            stops_between_two_steps(&cuda, child);
        }
        let seen = seen.lock().expect("no thread panicked with it");
        let ways = ["recurrent_resident_fwd", "recurrent_fwd"];
        let taken = ways.into_iter().filter(|way| seen.contains(way));
        assert_eq!(taken.collect::<Vec<_>>(), [kernel]);
    }
}

/// A copy moves each value of the state once on the device and once from it, and a plan that only
/// evaluates has no room for one.
#[test]
fn a_copy_of_the_state_moves_each_value_twice() {
    let host = Host::new(kernels(), MODES[0], PROFILES[0]);
    let copied = host.copied();
    let cuda = Cuda::new(Box::new(host));
    for child in &children() {
        let plan = child.plan(&cuda);
        let mut session = child.start(&cuda, &plan);
        child.begin(&mut *session, 0, 0);
        session.run(List::Train, 1);
        session.results().expect("a step");
        let moved = || {
            let [within, to_host] = [&copied.within, &copied.to_host];
            [within, to_host].map(|bytes| bytes.load(Ordering::Relaxed))
        };
        let before = moved();
        session.keep();
        let between = moved();
        let state = session.kept().expect("a copy");
        let after = moved();
        let values = |id| match plan.buffer(id).content {
            Content::Values(n) => n,
            _ => panic!("a state of values"),
        };
        let sizes: Vec<usize> = plan.state.iter().map(|&id| values(id)).collect();
        assert_eq!(state.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        let bytes = 4 * sizes.iter().sum::<usize>();
        println!("{}: {bytes} bytes on the device, and from it", child.name);
        assert_eq!(between, [before[0] + bytes, before[1]], "{}", child.name);
        assert_eq!(
            after,
            [before[0] + bytes, before[1] + bytes],
            "{}",
            child.name
        );
    }
}
