//! Children trained on the threads of this process: the workers' side of a search's evaluator, which lives on a
//! thread of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Embedded;
use crate::cluster::message::Job;
use crate::cluster::worker::{Step, Trainer, Training};
use crate::run::RunError;
use crate::search::evaluator::{self, Evaluator, News};
use crate::space::Space;

/// How long news are waited for before requests are looked at.
const PATIENCE: Duration = Duration::from_millis(2);

/// What the evaluator's thread is asked.
enum Request {
    Begin(Job, UnboundedSender<Step>),
    Recorded(u64),
    Stop,
    Finish,
}

/// The workers' side.
#[derive(Clone)]
pub struct Threads {
    requests: Sender<Request>,
}

/// A child under way.
pub struct Thread {
    requests: Sender<Request>,
    steps: UnboundedReceiver<Step>,
}

impl Trainer for Threads {
    type Training = Thread;

    /// Goes on from the checkpoint of the run's directory, where there is one.
    fn begin(&self, job: &Job, _from: Option<Vec<u8>>) -> Thread {
        let (sender, steps) = unbounded_channel();
        // Where nobody is there any more, the child never ends, and its worker is told to stop.
        let _ = self.requests.send(Request::Begin(job.clone(), sender));
        Thread {
            requests: self.requests.clone(),
            steps,
        }
    }
}

impl Training for Thread {
    async fn next(&mut self) -> Step {
        match self.steps.recv().await {
            Some(step) => step,
            None => Step::Stopped,
        }
    }

    fn stop(&mut self) {
        let _ = self.requests.send(Request::Stop);
    }
}

impl Threads {
    /// Tells that a child is on record.
    pub fn recorded(&self, sample: u64) {
        let _ = self.requests.send(Request::Recorded(sample));
    }

    /// Has all children stop, once what they have is kept; waits for nothing.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }

    /// Ends the thread, once all that was asked before is done.
    pub fn finish(&self) {
        let _ = self.requests.send(Request::Finish);
    }
}

/// The evaluator's side, with why something could not be kept.
pub struct Side<E> {
    evaluator: E,
    space: Space,
    engine: Embedded,
    requests: Receiver<Request>,
    /// Hears of epochs.
    epochs: Sender<(u64, usize)>,
    /// How many GPUs were lost while they trained a child, and the last one's words.
    lost: BTreeMap<u64, (usize, String)>,
    children: HashMap<u64, UnboundedSender<Step>>,
    /// Whether no child is begun any more.
    is_over: bool,
    failed: Option<RunError>,
}

/// Begins the thread of an evaluator.
///
/// # Errors
/// Where there can be no thread.
pub fn begin<E: Evaluator + Send + 'static>(
    evaluator: E,
    (space, engine): (Space, Embedded),
    lost: BTreeMap<u64, (usize, String)>,
    epochs: Sender<(u64, usize)>,
) -> std::io::Result<(Threads, JoinHandle<Option<RunError>>)> {
    let (sender, requests) = channel();
    let side = Side {
        evaluator,
        space,
        engine,
        requests,
        epochs,
        lost,
        children: HashMap::new(),
        is_over: false,
        failed: None,
    };
    let thread = thread::Builder::new().name("evaluator".into());
    let thread = thread.spawn(move || side.run())?;
    Ok((Threads { requests: sender }, thread))
}

impl<E: Evaluator> Side<E> {
    /// Answers requests until it is told to finish; why something could not be kept.
    fn run(mut self) -> Option<RunError> {
        loop {
            let request = match self.children.is_empty() {
                true => self.requests.recv().ok(),
                false => self.requests.try_recv().ok(),
            };
            match request {
                Some(Request::Begin(job, steps)) => self.begin(&job, steps),
                Some(Request::Recorded(sample)) => {
                    if let Err(error) = self.evaluator.recorded(sample) {
                        self.fail(error);
                    }
                }
                Some(Request::Stop) => self.stop(),
                Some(Request::Finish) => {
                    self.stop();
                    return self.failed;
                }
                None if self.children.is_empty() => return self.failed, // nobody asks any more
                None => {
                    if let Some(news) = self.evaluator.next(PATIENCE) {
                        self.hear(news);
                    }
                }
            }
        }
    }

    fn begin(&mut self, job: &Job, steps: UnboundedSender<Step>) {
        if self.is_over {
            // After a failure its worker must not give it back for another to begin.
            let step = match &self.failed {
                Some(error) => Step::Unusable(error.to_string()),
                None => Step::Stopped,
            };
            let _ = steps.send(step);
            return;
        }
        let architecture = self
            .space
            .decode(&job.tokens)
            .expect("a worker has looked at its job");
        let lost = self.lost.get(&job.sample).cloned();
        self.children.insert(job.sample, steps);
        self.evaluator.submit(vec![evaluator::Job {
            lost: lost.unwrap_or_default(),
            ..evaluator::Job::new(job.sample, architecture)
        }]);
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Epoch { sample, epoch } => drop(self.epochs.send((sample, epoch))),
            News::Ended(outcome) => {
                if let Some(steps) = self.children.remove(&outcome.sample) {
                    let _ = steps.send(Step::Ended(Box::new(outcome)));
                }
            }
            News::Lost { sample, words } => {
                // Where it cannot be written, the next line cannot be either, and says so.
                let _ = self.engine.with_scribe(|scribe| scribe.lost(sample, words));
            }
            News::NoDevice(words) => {
                for (_, steps) in self.children.drain() {
                    let _ = steps.send(Step::Unusable(words.clone()));
                }
                self.is_over = true;
            }
            News::NotKept(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: RunError) {
        let words = error.to_string();
        self.failed.get_or_insert(error);
        for (_, steps) in self.children.drain() {
            let _ = steps.send(Step::Unusable(words.clone()));
        }
        self.is_over = true;
    }

    fn stop(&mut self) {
        for news in self.evaluator.stop() {
            self.hear(news);
        }
        for (_, steps) in self.children.drain() {
            let _ = steps.send(Step::Stopped);
        }
        self.is_over = true;
    }
}
