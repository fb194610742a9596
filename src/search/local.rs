//! Trains children on threads of this process, several side by side where there are the cores and
//! the memory. What a child achieves depends on neither.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::data::Dataset;
use crate::device::{self, Convolution, Device, DeviceError};
use crate::graph::{Costs, Graph, Options, Params, Plan};
use crate::search::best_weights::BestWeights;
use crate::search::entry::Timing;
use crate::search::evaluator::{Evaluator, Job, News, Outcome, Status};
use crate::train::checkpoint::Metadata;
use crate::train::{self, TrainConfig, TrainError};

/// How the children of a search are trained.
#[derive(Debug)]
pub struct Settings {
    /// What they are trained on.
    pub dataset: Arc<Dataset>,
    /// Epochs, batch and so on.
    pub train: TrainConfig,
    /// The same for all children, so that `train` with this seed repeats any child of the search.
    pub seed: u64,
    /// Name of the device.
    pub device: String,
    /// Which sums a convolution may use.
    pub convolution: Convolution,
    /// Threads of all children together.
    pub threads: usize,
    /// Bytes of all plans together, and so the most that one may take. Threads of a child take
    /// some each: a child is `too_large` by what it takes with one, so that the verdict does not
    /// depend on their number.
    pub memory: u64,
    /// Where the weights of the best children are kept.
    pub best_weights: Option<BestWeights>,
}

/// The evaluator over the cores of this machine.
pub struct Local {
    settings: Arc<Settings>,
    /// The device with one thread: decides which children are too large; trains none.
    planner: Box<dyn Device>,
    waiting: VecDeque<Planned>,
    free: Share,
    n_running: usize,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    /// Tells the children under way that nobody waits for them any more.
    abandoned: Arc<AtomicBool>,
}

/// A child that fits.
struct Planned {
    job: Job,
    graph: Graph,
    parameters: u64,
}

/// What a child takes of the machine.
#[derive(Clone, Copy, Debug)]
struct Share {
    threads: usize,
    memory: u64,
}

/// From a child's thread: news, and what becomes free with it.
struct Message(News, Option<Share>);

impl Local {
    /// An evaluator with nothing to do.
    ///
    /// # Errors
    /// Where the device cannot be opened.
    pub fn new(settings: Settings) -> Result<Local, DeviceError> {
        let planner = device::open(&settings.device, Some(1), settings.convolution)?;
        let (sender, receiver) = channel();
        Ok(Local {
            planner,
            waiting: VecDeque::new(),
            free: Share {
                threads: settings.threads.max(1),
                memory: settings.memory,
            },
            n_running: 0,
            sender,
            receiver,
            abandoned: Arc::default(),
            settings: Arc::new(settings),
        })
    }

    /// The device, in words: what decides the bits of results, and so not how many threads.
    pub fn describe(&self) -> String {
        self.planner.model()
    }

    /// Children under way.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    /// Plans a child: that it fits, or how it ends without training.
    fn plan(&self, job: Job) -> Result<Planned, Box<Outcome>> {
        let settings = &self.settings;
        let n_classes = settings.dataset.classes().len();
        let graph = Graph::new(&job.architecture, n_classes)
            .map_err(|error| Box::new(failed(&job, Status::Invalid, error.to_string())))?;
        let memory = settings.plan_bytes(&graph, &*self.planner);
        let parameters = Costs::new(&graph).parameters();
        if memory > settings.memory {
            let message = format!(
                "training takes {memory} bytes, more than the {} allowed",
                settings.memory
            );
            return Err(Box::new(Outcome {
                parameters: Some(parameters),
                ..failed(&job, Status::TooLarge, message)
            }));
        }
        Ok(Planned {
            job,
            graph,
            parameters,
        })
    }

    /// Starts waiting children, in order, while there are threads and memory for the next.
    // paper P7.2
    fn start(&mut self) {
        while self.free.threads > 0
            && let Some(next) = self.waiting.pop_front()
        {
            // As many side by side as there are children; the threads left over go to the first.
            let side_by_side = self.free.threads.min(self.waiting.len() + 1);
            let threads = self.free.threads.div_ceil(side_by_side);
            let device = match self.settings.open_device(threads) {
                Ok(device) => device,
                Err(error) => {
                    let outcome = failed(&next.job, status(&error), error.to_string());
                    let _ = self.sender.send(Message(News::Ended(outcome), None));
                    continue;
                }
            };
            let memory = self.settings.plan_bytes(&next.graph, &*device);
            // A child that has the machine for itself may pass the limit by what its further
            // threads take.
            if memory > self.free.memory && self.n_running > 0 {
                self.waiting.push_front(next);
                return;
            }
            let share = Share {
                threads,
                memory: memory.min(self.free.memory),
            };
            self.free.threads -= share.threads;
            self.free.memory -= share.memory;
            self.n_running += 1;
            self.spawn(next, device, share);
        }
    }

    /// Trains a child on a thread of its own.
    fn spawn(&self, planned: Planned, device: Box<dyn Device>, share: Share) {
        let settings = Arc::clone(&self.settings);
        let abandoned = Arc::clone(&self.abandoned);
        let sender = self.sender.clone();
        let job = planned.job.clone();
        let child = move || {
            let train = || settings.train(&planned, &*device, share.threads, &abandoned, &sender);
            let outcome = catch_unwind(AssertUnwindSafe(train))
                .unwrap_or_else(|panic| Some(failed(&planned.job, Status::Crash, words(&*panic))));
            if let Some(outcome) = outcome {
                let _ = sender.send(Message(News::Ended(outcome), Some(share)));
            }
        };
        let name = format!("child {}", job.sample);
        if let Err(error) = thread::Builder::new().name(name).spawn(child) {
            let outcome = failed(
                &job,
                Status::Crash,
                format!("cannot start a thread: {error}"),
            );
            let _ = self.sender.send(Message(News::Ended(outcome), Some(share)));
        }
    }
}

impl Settings {
    fn open_device(&self, threads: usize) -> Result<Box<dyn Device>, TrainError> {
        Ok(device::open(&self.device, Some(threads), self.convolution)?)
    }

    /// What training a child on a device takes.
    fn plan_bytes(&self, graph: &Graph, device: &dyn Device) -> u64 {
        let options = Options::new(self.train.batch);
        Plan::new(graph, &Params::new(graph), device, options).arena_bytes as u64
    }

    /// Trains a child; nothing where nobody waits for it any more.
    fn train(
        &self,
        planned: &Planned,
        device: &dyn Device,
        threads: usize,
        abandoned: &AtomicBool,
        news: &Sender<Message>,
    ) -> Option<Outcome> {
        let began = Instant::now();
        let sample = planned.job.sample;
        let tell = |epoch| {
            // Nobody listens where the search was stopped meanwhile.
            let _ = news.send(Message(News::Epoch { sample, epoch }, None));
        };
        tell(0);
        let child = train::Job {
            device,
            dataset: &self.dataset,
            architecture: &planned.job.architecture,
            config: &self.train,
            learning_rate: None,
            seed: self.seed,
            init: None,
            // paper P9.4
            test: false,
            memory_limit: None,
            stop: Some(abandoned),
        };
        let outcome = match train::train(&child, &mut |epoch| tell(epoch.epoch)) {
            Ok(trained) => {
                let outcome = ended(planned, &trained);
                if let (Some(best), Status::Ok) = (&self.best_weights, outcome.status) {
                    let reward = train::reward(&outcome.accuracies);
                    let metadata = Metadata::new(&child, &trained);
                    best.offer(sample, reward, &trained.weights, &metadata);
                }
                outcome
            }
            Err(TrainError::Stopped) => return None,
            Err(error) => failed(&planned.job, status(&error), error.to_string()),
        };
        let timing = Timing {
            seconds: began.elapsed().as_secs_f64(),
            threads: Some(threads),
            ..outcome.timing
        };
        Some(Outcome { timing, ..outcome })
    }
}

impl Evaluator for Local {
    fn submit(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            match self.plan(job) {
                Ok(planned) => self.waiting.push_back(planned),
                Err(outcome) => {
                    let _ = self.sender.send(Message(News::Ended(*outcome), None));
                }
            }
        }
        self.start();
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        let Message(news, freed) = self.receiver.recv_timeout(patience).ok()?;
        if let Some(share) = freed {
            self.n_running -= 1;
            self.free.threads += share.threads;
            self.free.memory += share.memory;
            self.start();
        }
        Some(news)
    }
}

impl Drop for Local {
    /// Children under way end at their next epoch; nobody waits for them.
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// The outcome of a child that was trained until its end, good or bad.
fn ended(planned: &Planned, trained: &train::Outcome) -> Outcome {
    let epochs = &trained.epochs;
    let not_finite = || format!("not finite in epoch {}", epochs.len() + 1);
    Outcome {
        sample: planned.job.sample,
        status: if trained.diverged {
            Status::Diverged
        } else {
            Status::Ok
        },
        accuracies: epochs
            .iter()
            .map(|epoch| epoch.validation_accuracy)
            .collect(),
        parameters: Some(planned.parameters),
        message: trained.diverged.then(not_finite),
        timing: Timing {
            images_per_second: epochs.last().map(|epoch| epoch.images_per_second),
            ..Timing::default()
        },
    }
}

/// How a child ended whose training failed.
fn status(error: &TrainError) -> Status {
    match error {
        TrainError::Device(DeviceError::OutOfMemory { .. }) => Status::OutOfMemory,
        TrainError::TooLarge { .. } => Status::TooLarge,
        TrainError::Graph(_) => Status::Invalid,
        TrainError::Device(_)
        | TrainError::SmallSplit { .. }
        | TrainError::NoValidation { .. }
        | TrainError::Stopped => Status::Crash,
    }
}

/// The outcome of a child that was not trained to the end.
fn failed(job: &Job, status: Status, message: String) -> Outcome {
    Outcome {
        sample: job.sample,
        status,
        accuracies: Vec::new(),
        parameters: None,
        message: Some(message),
        timing: Timing::default(),
    }
}

/// The words of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    format!("the training panicked: {}", text.unwrap_or("without words"))
}
