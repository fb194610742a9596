//! A search whose last device is lost.

use std::path::Path;
use std::time::Duration;

use nas_engine::disk::Real;
use nas_engine::run::Status;
use nas_engine::run::journal::{self, FILE_NAME};
use nas_engine::search::End;
use nas_engine::search::evaluator::{Evaluator, Job, News, Stub};

use super::{Case, with_failures};

/// Loses its last device after some children.
struct Mortal<F> {
    stub: Stub<F>,
    left: usize,
}

impl<F: FnMut(&Job) -> (Status, Vec<f64>)> Evaluator for Mortal<F> {
    fn submit(&mut self, jobs: Vec<Job>) {
        self.stub.submit(jobs);
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        match self.left.checked_sub(1) {
            None => Some(News::NoDevice("it fell off the bus".to_string())),
            Some(left) => {
                self.left = left;
                self.stub.next(patience)
            }
        }
    }
}

#[test]
fn a_search_whose_last_device_is_lost_can_be_resumed() {
    let facts = |folder: &Path| journal::facts(&Real, &folder.join(FILE_NAME)).unwrap();
    let whole = tempfile::tempdir().unwrap();
    let mut stub = Stub::new(0, with_failures);
    Case::DEFAULT.run(whole.path(), &mut stub).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::new(1, with_failures);
    let end = Case::DEFAULT.run(folder.path(), &mut Mortal { stub, left: 3 });
    let lost = End::NoDevice("it fell off the bus".to_string());
    assert_eq!(end.unwrap(), lost);
    assert!(facts(folder.path()).len() < facts(whole.path()).len());
    let mut stub = Stub::new(2, with_failures);
    let end = Case::DEFAULT.run(folder.path(), &mut stub);
    assert_eq!(end.unwrap(), End::Finished);
    assert_eq!(facts(folder.path()), facts(whole.path()));
}
