//! Power is cut at every call in turn that changes something on the disk: the search that goes on
//! afterwards ends as one that was never cut, and has lost nothing that it had told.

use std::path::Path;

use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::entry::{Entry, Lost, Timing};
use nas_engine::run::journal::{FILE_NAME, Journal};
use nas_engine::search::End;

use super::case::{Case, Heard, Whole};
use super::disk::{TestDisk, Trouble, kinds};

/// Runs a search whose power is cut in these calls, each in a session of its own, and then to the end.
fn cut_and_go_on(
    case: &Case,
    whole: &Whole,
    cuts: &[usize],
    seed: u64,
    ignored: Option<&str>,
) -> Result<(), String> {
    let (mut disk, mut heard) = (TestDisk::new(), Heard::default());
    for (n, &cut) in cuts.iter().enumerate() {
        disk.set_trouble(Trouble::PowerCut(cut));
        ignored.into_iter().for_each(|kind| disk.ignore(kind));
        let ended = case.session(&disk, &mut heard);
        match ended {
            Ok(end) => heard.is_finished = end == End::Finished,
            Err(words) if disk.n_calls() <= cut => return Err(words),
            Err(_) => {}
        }
        disk = disk.after_power_cut(seed + n as u64);
        whole.check_promises(&disk, &heard)?;
    }
    let end = case.session(&disk, &mut heard)?;
    if end != End::Finished {
        return Err(format!("{end:?}"));
    }
    whole.check_promises(&disk, &heard)?;
    whole.check_end(&disk)?;
    // Two children are trained at a time, and each may repeat an epoch.
    let most = whole.n_epochs + 2 * cuts.len();
    match heard.n_epochs <= most {
        true => Ok(()),
        false => Err(format!("{} epochs, not {most} at most", heard.n_epochs)),
    }
}

/// As above, for every `step`th call of a search, also after its end, with as many seeds.
fn cut_everywhere(case: &Case, step: usize, seeds: u64) {
    let whole = case.whole();
    let n_calls = whole.disk.n_calls();
    assert!(n_calls > 100, "{n_calls} calls");
    for cut in (0..=n_calls).step_by(step) {
        for seed in 0..seeds {
            cut_and_go_on(case, &whole, &[cut], seed, None)
                .unwrap_or_else(|words| panic!("cut in call {cut}, seed {seed}: {words}"));
        }
    }
    println!(
        "power was cut in {} calls, {seeds} times in each",
        n_calls / step + 1
    );
}

/// As above, with several cuts, each after as many calls of its session.
fn cut_often(case: &Case, rounds: impl Iterator<Item = usize>) {
    let whole = case.whole();
    for calls in rounds {
        let cuts: Vec<usize> = (0..8)
            .map(|n| (calls * (n + 3)) % (7 * calls + 5))
            .collect();
        cut_and_go_on(case, &whole, &cuts, 10 * calls as u64, None)
            .unwrap_or_else(|words| panic!("cut in calls {cuts:?}: {words}"));
    }
}

#[test]
fn a_search_whose_power_is_cut_in_any_call_loses_nothing() {
    cut_everywhere(&Case::stub(), 1, 4);
}

#[test]
fn a_search_whose_power_is_cut_again_and_again_loses_nothing() {
    cut_often(&Case::stub(), 1..60);
}

#[test]
fn children_whose_power_is_cut_go_on() {
    cut_everywhere(&Case::real(5), 2, 3);
    cut_often(&Case::real(5), (1..40).step_by(4));
}

/// Minutes: of every call, what may be left of it in many ways.
#[test]
#[ignore = "takes minutes; run with --ignored"]
fn children_whose_power_is_cut_in_any_call_go_on() {
    cut_everywhere(&Case::real(6), 1, 8);
    cut_often(&Case::real(6), 1..60);
}

/// Without any one of the syncs there is a power cut that loses something.
#[test]
fn every_sync_is_needed() {
    let case = Case::real(4);
    let whole = case.whole();
    let (syncs, n_calls) = (whole.disk.syncs(), whole.disk.n_calls());
    let mut needless = vec![];
    for kind in kinds(&syncs) {
        // First where the sync has just been passed over, then anywhere.
        let calls = syncs
            .iter()
            .filter(|(_, of)| *of == kind)
            .map(|(call, _)| *call);
        let near = calls.flat_map(|call| call + 1..call + 8);
        let cuts: Vec<usize> = near.chain((0..=n_calls).step_by(3)).collect();
        let found = [0, 1, 2, 3, 4, 5].into_iter().find_map(|seed| {
            let lost = |&cut: &usize| cut_and_go_on(&case, &whole, &[cut], seed, Some(&kind)).err();
            cuts.iter().find_map(lost)
        });
        match found {
            Some(words) => println!("without the sync of the {kind}: {words}"),
            None => needless.push(kind),
        }
    }
    assert!(needless.is_empty(), "nothing is lost without: {needless:?}");
}

/// Appends lines of many lengths, those of large children among them, with many cuts: whether each
/// that was appended is there, and what a cut left of another never stands in the way.
fn append_and_cut(seed: u64, ignored: Option<&str>) -> Result<(), String> {
    let path = Path::new("/").join(FILE_NAME);
    let mut rng = Rng::new(seed, Purpose::Test, 1);
    let mut line = |sample| {
        let message = "x".repeat(rng.below(4000) as usize);
        Entry::Lost(Lost {
            sample,
            message,
            timing: Timing::default(),
        })
    };
    let mut disk = TestDisk::new();
    drop(Journal::create(&disk, &path).unwrap());
    let mut appended = vec![];
    for round in 0..8 {
        let (mut journal, contents) =
            Journal::resume(&disk, &path).map_err(|error| format!("round {round}: {error}"))?;
        let lines: Vec<Entry> = contents.lines.into_iter().map(|line| line.entry).collect();
        // The last may be there although nobody heard of it.
        if !lines.starts_with(&appended) || lines.len() > appended.len() + 1 {
            return Err(format!("round {round}: lines are lost"));
        }
        appended = lines;
        let n_calls = disk.n_calls();
        disk.set_trouble(Trouble::PowerCut(n_calls + (seed + round) as usize % 9));
        ignored.into_iter().for_each(|kind| disk.ignore(kind));
        loop {
            let entry = line(appended.len() as u64);
            match journal.append(&entry) {
                Ok(()) => appended.push(entry),
                Err(_) => break,
            }
        }
        disk = disk.after_power_cut(2 + 10 * seed + round);
    }
    Ok(())
}

#[test]
fn a_journal_whose_power_is_cut_has_every_line_that_was_appended() {
    for seed in 0..2000 {
        append_and_cut(seed, None).unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
    for kind in ["bytes of /journal.jsonl", "cut of /journal.jsonl"] {
        let lost = (0..2000).find_map(|seed| append_and_cut(seed, Some(kind)).err());
        let words =
            lost.unwrap_or_else(|| panic!("nothing is lost without the sync of the {kind}"));
        println!("without the sync of the {kind}: {words}");
    }
}
