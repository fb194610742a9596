//! Every call that changes something on the disk fails in turn: the search says so, or ends in good
//! order, and ends as any other once the disk is well again.

use nas_engine::search::End;

use super::case::{Case, Heard, Whole};
use super::disk::{TestDisk, Trouble};

/// Runs a search on a disk that fails so, and again where it may have room again.
fn fail_and_go_on(case: &Case, whole: &Whole, trouble: Trouble) -> Result<(), String> {
    let (mut disk, mut heard) = (TestDisk::new(), Heard::default());
    disk.set_trouble(trouble);
    let ended = case.session(&disk, &mut heard);
    if ended == Ok(End::Finished) {
        heard.is_finished = true;
        whole.check_end(&disk)?;
    }
    disk = disk.after_kill();
    whole.check_promises(&disk, &heard)?;
    if let Trouble::Full(_) = trouble {
        // Tried while there is no room: a finished run takes none.
        disk.set_trouble(Trouble::Full(0));
        let ended = case.session(&disk, &mut heard);
        if ended.is_ok() {
            whole.check_end(&disk)?;
        }
        disk = disk.after_kill();
        whole.check_promises(&disk, &heard)?;
    }
    // The power may go as well.
    whole.check_promises(&disk.after_power_cut(0), &heard)?;
    let end = case.session(&disk, &mut heard)?;
    assert_eq!(end, End::Finished);
    whole.check_end(&disk)
}

/// As above, for every `step`th call of a search.
fn fail_everywhere(case: &Case, step: usize) {
    let whole = case.whole();
    for call in (0..=whole.disk.n_calls()).step_by(step) {
        for trouble in [Trouble::Error(call), Trouble::Full(call)] {
            fail_and_go_on(case, &whole, trouble)
                .unwrap_or_else(|words| panic!("{trouble:?}: {words}"));
        }
    }
}

#[test]
fn a_search_on_a_disk_that_fails_in_any_call_goes_on_later() {
    fail_everywhere(&Case::stub(), 1);
}

#[test]
fn children_on_a_disk_that_fails_go_on_later() {
    fail_everywhere(&Case::real(5), 4);
}

/// Minutes: every call.
#[test]
#[ignore = "takes minutes; run with --ignored"]
fn children_on_a_disk_that_fails_in_any_call_go_on_later() {
    fail_everywhere(&Case::real(6), 1);
}
