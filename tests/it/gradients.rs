//! Backward = central finite differences of the loss, in f64 on the reference: every operation over
//! the table of `cases`, and whole children.
//!
//! ReLU and max pooling have kinks. Where one lies within a step, the slopes to the left and to the
//! right differ, which the loss alone shows: such a place is passed over, and only few may be.

mod children;

use crate::cases::{self, Case, Nudge};
use nas_engine::device::Device;
use nas_engine::device::reference::Reference;
use nas_engine::rng::{Purpose, Rng};

/// The step: small, so that few kinks lie within one.
const STEP: f64 = 1e-6;
/// How far a gradient may be from the difference, relative to the tensor's largest.
const TOLERANCE: f64 = 1e-6;
/// Slopes to the left and right that differ by more are a kink's.
const KINK: f64 = 1e-4;
/// Rounding of a loss in f64 after a long sum.
const ROUNDING: f64 = 1e-14;

/// What a place showed.
pub enum Verdict {
    Agrees,
    Kink,
    Differs(String),
}

/// Compares `gradient` with the differences of `loss`, a function of what is added at the place;
/// `middle` is the loss with nothing added, `largest` the largest gradient of the tensor.
pub fn check(
    gradient: f64,
    largest: f64,
    middle: f64,
    mut loss: impl FnMut(f64) -> f64,
) -> Verdict {
    let (low, high) = (loss(-STEP), loss(STEP));
    let rounding = ROUNDING * (1.0 + middle.abs()) / STEP;
    let (left, right) = ((middle - low) / STEP, (high - middle) / STEP);
    if (right - left).abs() > KINK * largest + 4.0 * rounding {
        return Verdict::Kink;
    }
    let difference = (high - low) / (2.0 * STEP);
    let allowed = TOLERANCE * largest + rounding;
    // Written so that a NaN differs.
    if (gradient - difference).abs() <= allowed {
        Verdict::Agrees
    } else {
        Verdict::Differs(format!(
            "gradient {gradient:e}, difference {difference:e}, allowed {allowed:e}"
        ))
    }
}

/// At most `n` different places out of `len`, at an address.
fn places(len: usize, n: usize, seed: u64, index: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..len).collect();
    Rng::new(seed, Purpose::Test, index).shuffle(&mut all);
    all.truncate(n);
    all
}

/// Counts places, and collects what differs.
#[derive(Default)]
pub struct Tally {
    places: usize,
    kinks: usize,
    failures: Vec<String>,
}

impl Tally {
    pub fn note(&mut self, place: Verdict, at: impl FnOnce() -> String) {
        self.places += 1;
        match place {
            Verdict::Agrees => {}
            Verdict::Kink => self.kinks += 1,
            Verdict::Differs(how) => self.failures.push(format!("{}: {how}", at())),
        }
    }

    pub fn assert(&self, what: &str) {
        let list = self.failures.join("\n");
        let (n, failures) = (self.places, self.failures.len());
        assert!(
            failures == 0,
            "{what}: {failures} of {n} places differ:\n{list}"
        );
        assert!(
            n > 0 && self.kinks * 20 <= n,
            "{what}: {} of {n} places lie on kinks; choose other data",
            self.kinks
        );
    }
}

/// Checks up to 8 places of every gradient of a case.
fn check_case(case: &Case, seed: u64, tally: &mut Tally) {
    let prepared = case.plan(&Reference);
    let mut session = Reference
        .load(&prepared.plan, None)
        .expect("the reference loads any plan");
    for &(buffer, dbuffer) in prepared.gradients() {
        prepared.run(&mut *session, seed).expect("runs");
        let gradient = session.read(dbuffer).expect("reads");
        let largest = gradient.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
        let mut loss = |index, by| {
            let nudge = Nudge { buffer, index, by };
            prepared.loss(&mut *session, seed, nudge).expect("runs")
        };
        let middle = loss(0, 0.0);
        for index in places(gradient.len(), 8, seed, buffer.0 as u64) {
            let place = check(gradient[index], largest, middle, |by| loss(index, by));
            tally.note(place, || {
                let name = &prepared.plan.buffer(buffer).name;
                format!("{case}, seed {seed}, {name} value {index}")
            });
        }
    }
}

#[test]
fn of_every_operation() {
    let mut ops = vec![];
    for case in cases::all() {
        let mut tally = Tally::default();
        check_case(&case, 1, &mut tally);
        if tally.places > 0 {
            tally.assert(&case.to_string());
            ops.push(case.op);
        }
    }
    ops.dedup();
    let expected = [
        "conv",
        "batchnorm",
        "pool",
        "lcn",
        "concat_pad",
        "global_average_pool",
        "classifier",
        "softmax_xent",
        "gather",
        "embedding",
        "recurrent",
        "decoder",
    ];
    assert_eq!(ops, expected, "operations with a gradient");
}

/// The check itself: it must tell a wrong gradient from a right one, and see a kink.
#[test]
fn the_check_can_fail() {
    let square = |x: f64| (3.0 + x) * (3.0 + x);
    let of_square = |gradient| check(gradient, 6.0, 9.0, square);
    assert!(matches!(of_square(6.0), Verdict::Agrees));
    assert!(matches!(of_square(6.001), Verdict::Differs(_)));
    assert!(matches!(of_square(f64::NAN), Verdict::Differs(_)));
    let relu = |x: f64| x.max(0.0);
    assert!(matches!(check(0.5, 1.0, 0.0, relu), Verdict::Kink));
}
