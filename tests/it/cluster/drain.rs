//! A run that is drained and goes on later: meanwhile nobody works on it, and nothing is lost.

use std::time::Duration;

use super::check::faults;
use super::trial::{CALM, IMMORTAL, MORTAL, ROUGH, Trial, scheme};
use nas_engine::cluster::key::Fact;
use nas_engine::cluster::message::Ended;

fn trial(seed: u64) -> Trial {
    let from = Duration::from_secs(30 + 7 * seed);
    Trial {
        scheme: scheme(),
        seed,
        faults: CALM,
        fate: IMMORTAL,
        broken: None,
        poison: vec![],
        is_noisy: false,
        drained: Some([from, from + Duration::from_secs(600)]),
    }
}

#[test]
fn a_drained_run_rests_and_repeats_no_epoch() {
    for seed in 0..10 {
        let run = trial(seed).run();
        assert_eq!(faults(&run), [""; 0], "seed {seed}");
        let world = run.engine.world.lock().unwrap();
        let trained = (0..40)
            .map(|i| Ended::from_bytes(world.fact(Fact::Child(i)).unwrap()).unwrap())
            .filter(|ended| ended.child.duplicate_of.is_none())
            .count();
        // Replicas and appliers twice each, and five workers.
        let n_roles = 2 * 4 + 2 * 3 + 5;
        assert_eq!(run.n_left, 0, "seed {seed}");
        assert!(
            run.n_drained >= n_roles,
            "seed {seed}: {} roles",
            run.n_drained
        );
        assert!(run.time > Duration::from_secs(630), "seed {seed}");
        // A child is stopped in an epoch that is begun again, and each of five workers has one child.
        let most = 4 * trained + 5;
        assert!((4 * trained..=most).contains(&run.n_epochs), "seed {seed}");
    }
}

#[test]
fn faults_do_not_keep_a_run_from_being_drained() {
    for seed in 0..20 {
        let run = Trial {
            faults: ROUGH,
            fate: MORTAL,
            poison: vec![7],
            is_noisy: true,
            ..trial(seed)
        }
        .run();
        assert_eq!(faults(&run), [""; 0], "seed {seed}");
        assert_eq!(run.n_left, 0, "seed {seed}");
    }
}
