//! Roles that are killed, frozen and begun again at random, and a server that is: nothing is lost, nothing
//! counts twice, and nothing is stuck.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nas_engine::rng::{Purpose, Rng};

use super::{Place, check};

/// Trials of a test run; `CHAOS_TRIALS` asks for more, from the seed `CHAOS_SEED` on.
fn asked(name: &str, usual: u64) -> u64 {
    let asked = std::env::var(name).ok();
    asked.map_or(usual, |n| n.parse().expect("a number"))
}

/// What is done to a role.
pub fn signal(child: &Child, signal: i32) {
    // SAFETY: sends a signal to a child of ours that has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

#[test]
fn chaos_changes_no_result() {
    let first = asked("CHAOS_SEED", 1);
    for seed in first..first + asked("CHAOS_TRIALS", 1) {
        trial(seed);
    }
}

fn trial(seed: u64) {
    let mut rng = Rng::new(seed, Purpose::Test, 20);
    let mut place = Place::new();
    let ended = place.init("chaos", &["--shards", "3"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // All on one machine: children that are lost three times are not at fault.
    let begin = |place: &Place, role: usize| match role {
        0 | 1 => place.start("apply", "chaos", &[]),
        2 | 3 => place.start("replica", "chaos", &[]),
        _ => place.worker("chaos", "one"),
    };
    let mut roles: Vec<Child> = (0..7).map(|role| begin(&place, role)).collect();
    let (mut n_killed, mut n_frozen, mut n_down) = (0, 0, 0);
    let began = Instant::now();
    // While it lasts, and for as long as there is anything to disturb.
    while began.elapsed() < Duration::from_secs(40) && roles[0].try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(u64::from(100 + rng.below(900))));
        let role = rng.below(7) as usize;
        match rng.below(10) {
            0 => {
                n_down += 1;
                place.server.restart();
            }
            1 | 2 => {
                n_frozen += 1;
                signal(&roles[role], libc::SIGSTOP);
                // Longer than a lease, now and then.
                thread::sleep(Duration::from_millis(u64::from(500 + rng.below(4_000))));
                signal(&roles[role], libc::SIGCONT);
            }
            3 | 4 => signal(&roles[role], libc::SIGTERM),
            _ => {
                n_killed += 1;
                let _ = roles[role].kill();
            }
        }
        for (number, child) in roles.iter_mut().enumerate() {
            if child.try_wait().unwrap().is_some() {
                *child = begin(&place, number);
            }
        }
    }
    // Then all begin once more, and are left alone.
    for (number, child) in roles.iter_mut().enumerate() {
        let _ = child.kill();
        child.wait().unwrap();
        *child = begin(&place, number);
    }
    let status = place.wait("chaos", 10);
    for child in &mut roles {
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "seed {seed}");
    }
    let took = began.elapsed();
    println!(
        "seed {seed}: {n_killed} killed, {n_frozen} frozen, server {n_down} times down, {took:?}"
    );
    check(&place, &status, 10);
}
