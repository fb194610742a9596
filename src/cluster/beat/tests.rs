//! What a worker tells of itself, and what is made of what anybody sends.

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn time_goes_into_what_it_was_spent_on() {
    let pulse = Pulse::new(7, "node", "cpu", seconds(100));
    pulse.phase(Phase::Waiting, seconds(101));
    pulse.phase(Phase::Between, seconds(111)); // a job came
    pulse.child(Some(3), seconds(112));
    pulse.phase(Phase::Training, seconds(113));
    assert!(pulse.epoch(1, seconds(120)) && !pulse.epoch(1, seconds(125)));
    pulse.phase(Phase::Between, seconds(150));
    pulse.phase(Phase::Waiting, seconds(152));
    let beat = pulse.beat(seconds(160));
    let idle = Idle {
        queue_empty: 18.0,
        job_queued: 5.0,
    };
    assert_eq!((beat.seconds, beat.idle), (60.0, idle));
    assert_eq!((beat.sample, beat.epoch), (Some(3), Some(1)));
    assert_eq!(
        (beat.seconds_since_step, beat.state),
        (40.0, State::Training)
    );
    // What the queue did not answer is no sign that it had nothing.
    pulse.no_answer();
    pulse.child(None, seconds(170));
    pulse.phase(Phase::Waiting, seconds(170));
    let beat = pulse.beat(seconds(171));
    let idle = Idle {
        queue_empty: 9.0,
        job_queued: 5.0 + 18.0 - 0.0,
    };
    assert_eq!(beat.idle.job_queued, idle.job_queued);
    assert_eq!(beat.idle.queue_empty, 11.0);
    assert!(pulse.stopping() && !pulse.stopping());
    assert_eq!(pulse.beat(seconds(171)).state, State::Stopping);
    assert_eq!(Beat::from_bytes(&beat.to_bytes()), Ok(beat));
}

fn beat(worker: u64) -> Beat {
    Pulse::new(worker, "node", "cpu", seconds(0)).beat(seconds(5))
}

#[test]
fn what_anybody_sends_is_no_worker() {
    let good = String::from_utf8(beat(1).to_bytes()).unwrap();
    let name = Beat::name(1);
    let mut roll = Roll::default();
    assert!(roll.hear(&name, good.as_bytes(), seconds(1)));
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        good.replacen(from, to, 1).into_bytes()
    };
    let long = "x".repeat(MOST_BYTES);
    let wrong: Vec<Vec<u8>> = vec![
        vec![],
        b"{}".to_vec(),
        vec![0xff; 40],
        good.as_bytes()[..good.len() - 9].to_vec(),
        changed("\"schema\":1", "\"schema\":2"),
        changed("\"seconds\":5.0", "\"seconds\":-5.0"),
        changed("\"seconds\":5.0", "\"seconds\":1e300"),
        changed("\"seconds\":5.0", "\"seconds\":1e999"),
        changed("\"seconds\":5.0", "\"seconds\":null"),
        changed("\"node\":\"node\"", &format!("\"node\":\"{long}\"")),
        changed("\"worker\":1", "\"worker\":2"),
        b"[".repeat(4000),
    ];
    for (number, bytes) in wrong.iter().enumerate() {
        assert!(!roll.hear(&name, bytes, seconds(1)), "{number}");
        assert_eq!(roll.unread.0, number as u64 + 1, "{number}");
    }
    assert_eq!(roll.workers(seconds(1)).count(), 1);
    // What a later version adds is passed over.
    let later = changed("\"idle\":{", "\"new\":[1],\"idle\":{\"sleeping\":1.0,");
    let unknown = changed("\"state\":\"idle\"", "\"state\":\"dreaming\"");
    assert!(!roll.hear(&name, &later, seconds(2)));
    assert!(!roll.hear(&name, &unknown, seconds(3)));
    let heard = roll.workers(seconds(4)).next().unwrap();
    assert_eq!((heard.0.state, heard.1), (State::Unknown, seconds(1)));
}

#[test]
fn those_that_leave_or_are_silent_are_gone() {
    let mut roll = Roll::default();
    for worker in [1, 2, 3] {
        let bytes = beat(worker).to_bytes();
        assert!(roll.hear(&Beat::name(worker), &bytes, seconds(10 * worker)));
    }
    let left = Beat {
        state: State::Left,
        ..beat(2)
    };
    assert!(!roll.hear(&Beat::name(2), &left.to_bytes(), seconds(31)));
    let there = |now: u64| {
        let workers = roll.workers(seconds(now));
        workers.map(|(beat, _)| beat.worker).collect::<Vec<_>>()
    };
    assert_eq!(there(69), [1, 3]);
    assert_eq!(there(70), [3]);
    assert_eq!(there(90), [0; 0]);
}
