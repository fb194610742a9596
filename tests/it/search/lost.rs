//! A search whose last device is lost.

use std::path::Path;
use std::time::Duration;

use nas_engine::disk::Real;
use nas_engine::run::Status;
use nas_engine::run::journal::{self, FILE_NAME};
use nas_engine::search::End;
use nas_engine::search::evaluator::{Evaluator, Job, News, Outcome, Stub};

use nas_engine::train::Scores;

use super::{Case, by_architecture, with_failures};

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

/// Loses its only GPU with the first child it is given.
#[derive(Default)]
struct Doomed {
    jobs: Vec<Job>,
    n_told: usize,
}

impl Evaluator for Doomed {
    fn submit(&mut self, jobs: Vec<Job>) {
        self.jobs.extend(jobs);
    }

    fn next(&mut self, _: Duration) -> Option<News> {
        self.n_told += 1;
        Some(match self.n_told {
            1 => News::Lost {
                sample: self.jobs[0].sample,
                words: "it fell off the bus".to_string(),
            },
            _ => News::NoDevice("it fell off the bus".to_string()),
        })
    }
}

/// The count is on disk, so that the child is not begun for ever.
#[test]
fn losses_of_a_child_are_counted_from_session_to_session() {
    let folder = tempfile::tempdir().unwrap();
    for n_lost in 0..3 {
        let mut doomed = Doomed::default();
        let end = Case::DEFAULT.run(folder.path(), &mut doomed).unwrap();
        assert!(matches!(end, End::NoDevice(_)), "{end:?}");
        let [first, others @ ..] = &doomed.jobs[..] else {
            panic!("no jobs");
        };
        assert_eq!((first.sample, first.lost.0), (0, n_lost));
        let words = ["", "it fell off the bus"][usize::from(n_lost > 0)];
        assert_eq!(first.lost.1, words);
        assert!(others.iter().all(|job| job.lost.0 == 0));
    }
}

/// A second report of a job is none of its first, and is passed over.
#[test]
fn a_report_that_comes_twice_changes_nothing() {
    struct Twice<F>(Stub<F>, Vec<News>);
    impl<F: FnMut(&Job) -> (Status, Vec<f64>)> Evaluator for Twice<F> {
        fn submit(&mut self, jobs: Vec<Job>) {
            self.0.submit(jobs);
        }

        fn next(&mut self, patience: Duration) -> Option<News> {
            if self.1.len() > 3 {
                return Some(self.1.remove(0));
            }
            let news = self.0.next(patience);
            if let Some(News::Ended(outcome)) = &news {
                let other = Outcome {
                    scores: Scores::Accuracies(vec![0.01]),
                    ..outcome.clone()
                };
                self.1.push(News::Ended(other));
            }
            news
        }
    }
    let facts = |folder: &Path| journal::facts(&Real, &folder.join(FILE_NAME)).unwrap();
    let [once, twice] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let stub = || Stub::new(0, with_failures);
    Case::DEFAULT.run(once.path(), &mut stub()).unwrap();
    let mut evaluator = Twice(stub(), vec![]);
    Case::DEFAULT.run(twice.path(), &mut evaluator).unwrap();
    assert!(!evaluator.1.is_empty());
    assert_eq!(facts(once.path()), facts(twice.path()));
}

#[test]
fn what_faults_of_the_machine_ended_is_tried_again() {
    let facts = |folder: &Path| journal::facts(&Real, &folder.join(FILE_NAME)).unwrap();
    let whole = tempfile::tempdir().unwrap();
    let case = Case {
        samples: 16,
        ..Case::DEFAULT
    };
    case.run(whole.path(), &mut Stub::new(0, by_architecture))
        .unwrap();
    // The machine has no memory for the second batch, and stops.
    let folder = tempfile::tempdir().unwrap();
    let first = Case { samples: 8, ..case };
    first
        .run(folder.path(), &mut Stub::new(0, by_architecture))
        .unwrap();
    let mut without_memory = Mortal {
        stub: Stub::new(0, |_: &Job| (Status::OutOfMemory, vec![])),
        left: 3,
    };
    let end = case.run(folder.path(), &mut without_memory).unwrap();
    assert!(matches!(end, End::NoDevice(_)));
    assert_ne!(facts(folder.path()), facts(whole.path()));
    let end = case.run(folder.path(), &mut Stub::new(1, by_architecture));
    assert_eq!(end.unwrap(), End::Finished);
    assert_eq!(facts(folder.path()), facts(whole.path()));
}
