//! What must hold when a run is done, by formulas of their own: nothing is lost, nothing counts twice.

use std::collections::BTreeMap;

use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::message::{Ended, Gradient, Replica, Round, Shard};
use nas_engine::config::Staleness;
use nas_engine::controller::Scored;

use super::trial::Finished;

/// What is wrong with a run that is done.
pub fn faults(run: &Finished) -> Vec<String> {
    let mut wrong = run.errors.clone();
    if !run.is_done {
        wrong.push(format!("stuck at {:?}", run.time));
        return wrong;
    }
    told(run, &mut wrong);
    let rounds = rounds(run, &mut wrong);
    gradients(run, &rounds, &mut wrong);
    shards(run, &rounds, &mut wrong);
    exported(run, &mut wrong);
    wrong
}

/// What anyone was told of a fact stays so.
fn told(run: &Finished, wrong: &mut Vec<String>) {
    let world = run.engine.world.lock().unwrap();
    for (fact, value) in &world.told {
        if world.fact(*fact) != Some(value) {
            wrong.push(format!("{fact} has changed"));
        }
    }
}

/// Every round is there once, and the numbers of each replica's have no gap.
fn rounds(run: &Finished, wrong: &mut Vec<String>) -> BTreeMap<(u32, u64), (u64, Round)> {
    let world = run.engine.world.lock().unwrap();
    let mut rounds = BTreeMap::new();
    for t in 0..run.learner.scheme().rounds() {
        let Some(bytes) = world.fact(Fact::Round(t)) else {
            wrong.push(format!("round {t} is missing"));
            continue;
        };
        let round = Round::from_bytes(bytes).unwrap();
        if let Some((other, _)) = rounds.insert((round.replica, round.n), (t, round)) {
            wrong.push(format!("rounds {other} and {t} have one number"));
        }
    }
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for &(replica, n) in rounds.keys() {
        let before = last.insert(replica, n).unwrap_or(0);
        if n != before + 1 {
            wrong.push(format!("replica {replica} has round {n} after {before}"));
        }
    }
    rounds
}

/// Every gradient that was sent is that of its round's facts, whoever sent it.
fn gradients(run: &Finished, rounds: &BTreeMap<(u32, u64), (u64, Round)>, wrong: &mut Vec<String>) {
    let world = run.engine.world.lock().unwrap();
    let mut opened = BTreeMap::new();
    for (&(r, n), (t, _)) in rounds {
        let values = &world.values[&Cell::Replica(r)];
        let states = values
            .iter()
            .map(|bytes| Replica::from_bytes(bytes).unwrap());
        let its = states.filter(|state| state.head.open && state.head.n == n);
        let of_round: Vec<Replica> = its.filter(|state| state.head.round == Some(*t)).collect();
        match &of_round[..] {
            [state, ..] => drop(opened.insert((r, n), state.clone())),
            [] => wrong.push(format!("round {t} was never opened")),
        }
    }
    for (s, pushes) in &world.pushed {
        for (_, bytes) in pushes {
            let gradient = Gradient::from_bytes(bytes).unwrap();
            let key = (gradient.head.replica, gradient.head.n);
            let (Some(state), Some((t, _))) = (opened.get(&key), rounds.get(&key)) else {
                wrong.push(format!("a gradient of {key:?}, which is no round"));
                continue;
            };
            let children = run.learner.scheme().samples_of(*t).map(|sample| {
                Ended::from_bytes(world.fact(Fact::Child(sample)).unwrap())
                    .unwrap()
                    .child
            });
            let children: Vec<_> = children.collect();
            let scored: Vec<Scored> = children
                .iter()
                .filter_map(|child| {
                    let reward = child.reward?;
                    Some(Scored {
                        tokens: &child.tokens,
                        reward,
                    })
                })
                .collect();
            let expected = run.learner.gradient(state, &scored);
            let expected = expected.map(|(_, all)| run.learner.share(*s, &all).to_vec());
            if gradient.values != expected.unwrap_or_default() {
                wrong.push(format!(
                    "the gradient of round {t} for shard {s} is another one"
                ));
            }
        }
    }
}

/// The parameters are what the whole log makes of them: the first gradient of each number, in its order.
fn shards(run: &Finished, rounds: &BTreeMap<(u32, u64), (u64, Round)>, wrong: &mut Vec<String>) {
    let world = run.engine.world.lock().unwrap();
    for s in 0..run.learner.scheme().shards {
        let found = Shard::from_bytes(world.cell(Cell::Shard(s)).unwrap()).unwrap();
        let counted: Vec<(u32, u64)> = found
            .head
            .marks
            .iter()
            .flat_map(|(&r, &n)| (1..=n).map(move |n| (r, n)))
            .collect();
        if !counted.iter().eq(rounds.keys()) {
            wrong.push(format!(
                "shard {s} has counted {} of {} rounds",
                counted.len(),
                rounds.len()
            ));
        }
        if run.learner.scheme().is_synchronous() {
            continue; // compared with the run without a server
        }
        let mut weights = run.learner.fresh(s).weights;
        let (mut mean, mut square) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
        let mut sum = vec![0.0; weights.len()];
        let mut marks: BTreeMap<u32, u64> = BTreeMap::new();
        let (mut step, mut waiting, mut counted) = (0, 0, 0);
        let scheme = run.learner.scheme();
        for (_, bytes) in &world.pushed[&s] {
            let gradient = Gradient::from_bytes(bytes).unwrap();
            let mark = marks.entry(gradient.head.replica).or_insert(0);
            if gradient.head.n != *mark + 1 {
                continue;
            }
            *mark += 1;
            counted += 1;
            let late = step as u64 - gradient.head.seen;
            let weight = match scheme.staleness {
                Staleness::Paper => 1.0,
                Staleness::Scale { tau0 } => 1.0 / (1.0 + late as f64 / tau0),
                Staleness::Bound { most } if late <= most => 1.0,
                Staleness::Bound { .. } => 0.0,
            };
            if weight > 0.0 && !gradient.values.is_empty() {
                sum.iter_mut()
                    .zip(&gradient.values)
                    .for_each(|(sum, g)| *sum += weight * g);
                waiting += 1;
            }
            if waiting == 0 || (waiting < scheme.gradients_per_update && counted < scheme.rounds())
            {
                continue;
            }
            step += 1;
            for (i, sum) in sum.iter_mut().enumerate() {
                let g = *sum / f64::from(waiting);
                mean[i] = 0.9 * mean[i] + (1.0 - 0.9) * g;
                square[i] = 0.999 * square[i] + (1.0 - 0.999) * g * g;
                let m = mean[i] / (1.0 - 0.9f64.powi(step));
                let v = square[i] / (1.0 - 0.999f64.powi(step));
                weights[i] += 0.05 * m / (v.sqrt() + 1e-8);
                *sum = 0.0;
            }
            waiting = 0;
        }
        if found.weights != weights {
            wrong.push(format!("shard {s} has other parameters than its log makes"));
        }
    }
}

/// The run was exported while it ran, which compares everything with what the facts come to, and in the end
/// whole.
fn exported(run: &Finished, wrong: &mut Vec<String>) {
    let scheme = run.learner.scheme();
    let Some(last) = run.exports.last() else {
        return wrong.push("the run was not exported".to_owned());
    };
    let (rounds, shards) = (scheme.rounds(), u64::from(scheme.shards));
    if last.len() as u64 != scheme.samples + rounds * (1 + shards) {
        wrong.push(format!("the journal of the run has {} lines", last.len()));
    }
}
