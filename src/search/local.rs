//! Trains children on threads of this process, several side by side where there are the cores and
//! the memory, or the GPUs. What a child achieves depends on none of them.
//!
//! Which children are too large is decided before any is launched, by the plan and by what the
//! devices have in all, never by what is free at the moment: the verdict is one on the architecture,
//! and the same whenever the search comes to it. What does not fit at the moment, because others use
//! the device too, ends as `out_of_memory`, a fault of the machine.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::device::{Device, DeviceError, Devices};
use crate::search::best_weights::BestWeights;
use crate::search::entry::Timing;
use crate::search::evaluator::{Evaluator, Job, News, Outcome, Status};
use crate::search::pool::{Place, Pool, Share};
use crate::train::{self, Child, Course, Pace, Place as TrainingPlace, Scores, TrainError};

/// GPUs that one child may lose: after the second, the child is at fault and not the device.
const MOST_LOST: usize = 2;

/// How the children of a search are trained.
pub struct Settings {
    /// What they are trained on, and how.
    pub course: Course,
    /// The same for all children, so that `train` with this seed repeats any child of the search.
    pub seed: u64,
    /// What trains them.
    pub devices: Devices,
    /// Threads of all children together, on a processor.
    pub threads: usize,
    /// Bytes of all plans on a processor together, or of the one on a GPU, and so the most that one
    /// may take; never more than [`share`] of the smallest GPU. Threads of a child take some each: a
    /// child is `too_large` by what it takes with one, so that the verdict does not depend on their
    /// number.
    pub memory: u64,
    /// Where the weights of the best children are kept.
    pub best_weights: Option<BestWeights>,
}

/// The part of a memory that plans may take where no setting says how much, in bytes: the rest is for
/// the data set, for what devices and their drivers keep, and for others.
pub fn share(memory_bytes: u64) -> u64 {
    memory_bytes / 4 * 3
}

/// The evaluator over the devices of this process.
pub struct Local {
    settings: Arc<Settings>,
    /// A device with one thread: decides which children are too large.
    planner: Arc<dyn Device>,
    models: Vec<String>,
    /// Bytes that a plan may take.
    limit: u64,
    waiting: VecDeque<Planned>,
    pool: Pool,
    /// What the device that was lost last said.
    lost: String,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    /// Tells the children under way that nobody waits for them any more.
    abandoned: Arc<AtomicBool>,
}

/// A child that fits.
struct Planned {
    job: Job,
    child: Box<dyn Child>,
    /// GPUs that were lost while they trained it.
    n_lost: usize,
}

/// From a child's thread.
enum Message {
    /// News of it, and what becomes free with them.
    News(News, Option<Share>),
    /// Its device is lost, with the words of the device.
    Lost(Planned, Share, String),
}

impl Local {
    /// An evaluator with nothing to do.
    ///
    /// # Errors
    /// Where the device cannot be opened.
    pub fn new(settings: Settings) -> Result<Local, DeviceError> {
        let devices = &settings.devices;
        let planner = devices.first(Some(1))?;
        let of_gpus = devices.memory_bytes().map_or(u64::MAX, share);
        let (sender, receiver) = channel();
        Ok(Local {
            planner,
            models: devices.models()?,
            limit: settings.memory.min(of_gpus),
            waiting: VecDeque::new(),
            pool: Pool::new(devices.clone(), settings.threads, settings.memory),
            lost: String::new(),
            sender,
            receiver,
            abandoned: Arc::default(),
            settings: Arc::new(settings),
        })
    }

    /// The device, in words: what decides the bits of results, and so not how many threads or GPUs.
    pub fn describe(&self) -> String {
        self.models.join(", ")
    }

    /// Children under way.
    pub fn n_running(&self) -> usize {
        self.pool.n_running()
    }

    /// Plans a child: that it fits, or how it ends without training.
    fn plan(&self, job: Job) -> Result<Planned, Box<Outcome>> {
        let child = self
            .settings
            .course
            .child(&job.architecture)
            .map_err(|error| Box::new(self.failed(&job, status(&error), error.to_string())))?;
        let memory = child.plan(&*self.planner).arena_bytes as u64;
        if memory > self.limit {
            let message = format!(
                "training takes {memory} bytes, more than the {} allowed",
                self.limit
            );
            return Err(Box::new(Outcome {
                parameters: Some(child.parameters()),
                ..self.failed(&job, Status::TooLarge, message)
            }));
        }
        Ok(Planned {
            job,
            child,
            n_lost: 0,
        })
    }

    fn failed(&self, job: &Job, status: Status, message: String) -> Outcome {
        self.settings.failed(job, status, message)
    }

    /// Starts waiting children, in order, while there is a place for the next.
    // paper P7.2
    fn start(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            let bytes = |device: &dyn Device| next.child.plan(device).arena_bytes as u64;
            match self.pool.place(self.waiting.len() + 1, bytes) {
                Ok(Some(place)) => self.spawn(next, place),
                Ok(None) => {
                    self.waiting.push_front(next);
                    return;
                }
                Err(error) => {
                    let outcome = self.failed(&next.job, Status::Crash, error.to_string());
                    self.tell(outcome, None);
                }
            }
        }
    }

    fn tell(&self, outcome: Outcome, freed: Option<Share>) {
        let _ = self.sender.send(Message::News(News::Ended(outcome), freed));
    }

    /// Takes a GPU that is lost out of use. Its child met a fault of the machine, and is begun again
    /// on another; a child that loses them one after the other is at fault itself.
    fn lose(&mut self, planned: Planned, share: Share, words: String) -> Option<News> {
        self.pool.lose(share);
        let (sample, n_gpus) = (planned.job.sample, self.pool.n_gpus());
        tracing::warn!("sample {sample}: {words}; GPUs left: {n_gpus}");
        let n_lost = planned.n_lost + 1;
        self.lost = words;
        if n_lost >= MOST_LOST {
            let message = format!(
                "{n_lost} GPUs were lost while they trained it; {}",
                self.lost
            );
            return Some(News::Ended(self.failed(
                &planned.job,
                Status::Poison,
                message,
            )));
        }
        self.waiting.push_front(Planned { n_lost, ..planned });
        None
    }

    /// Trains a child on a thread of its own.
    fn spawn(&self, planned: Planned, Place { device, share }: Place) {
        let settings = Arc::clone(&self.settings);
        let abandoned = Arc::clone(&self.abandoned);
        let sender = self.sender.clone();
        let job = planned.job.clone();
        let child = move || {
            let train = || settings.train(&planned, &*device, share.threads, &abandoned, &sender);
            let end = catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|panic| {
                ChildEnd::Outcome(settings.failed(&planned.job, Status::Crash, words(&*panic)))
            });
            let _ = match end {
                ChildEnd::Outcome(outcome) => {
                    sender.send(Message::News(News::Ended(outcome), Some(share)))
                }
                ChildEnd::Lost(words) => sender.send(Message::Lost(planned, share, words)),
                ChildEnd::Abandoned => Ok(()),
            };
        };
        let name = format!("child {}", job.sample);
        if let Err(error) = thread::Builder::new().name(name).spawn(child) {
            let message = format!("cannot start a thread: {error}");
            let outcome = self.failed(&job, Status::Crash, message);
            self.tell(outcome, Some(share));
        }
    }
}

/// How the thread of a child ends.
enum ChildEnd {
    /// With what became of it.
    Outcome(Outcome),
    /// Its device is lost, in these words.
    Lost(String),
    /// Nobody waits for it any more.
    Abandoned,
}

impl Settings {
    /// Trains a child.
    fn train(
        &self,
        planned: &Planned,
        device: &dyn Device,
        threads: usize,
        abandoned: &AtomicBool,
        news: &Sender<Message>,
    ) -> ChildEnd {
        let began = Instant::now();
        let sample = planned.job.sample;
        let tell = |epoch| {
            // Nobody listens where the search was stopped meanwhile.
            let _ = news.send(Message::News(News::Epoch { sample, epoch }, None));
        };
        tell(0);
        let child = &*planned.child;
        let training = train::Job {
            child,
            place: TrainingPlace {
                device,
                memory_limit: None,
            },
            learning_rate: None,
            seed: self.seed,
            init: None,
            // paper P9.4
            test: false,
            stop: Some(abandoned),
        };
        let outcome = match train::train(&training, &mut |epoch| tell(epoch.epoch)) {
            Ok(trained) => {
                let outcome = self.ended(planned, &trained);
                if let (Some(best), Status::Ok) = (&self.best_weights, outcome.status) {
                    let reward = outcome.scores.reward();
                    let metadata = trained.metadata(&training);
                    best.offer(sample, reward, child.params(), &trained.weights, &metadata);
                }
                outcome
            }
            Err(TrainError::Stopped) => return ChildEnd::Abandoned,
            Err(TrainError::Device(error @ DeviceError::Lost { .. })) => {
                return ChildEnd::Lost(error.to_string());
            }
            Err(error) => self.failed(&planned.job, status(&error), error.to_string()),
        };
        let timing = Timing {
            seconds: began.elapsed().as_secs_f64(),
            threads: Some(threads),
            device: device.memory_bytes().map(|_| device.describe()),
            ..outcome.timing
        };
        ChildEnd::Outcome(Outcome { timing, ..outcome })
    }

    /// The outcome of a child that was trained until its end, good or bad.
    fn ended(&self, planned: &Planned, trained: &train::Outcome) -> Outcome {
        let epochs = &trained.epochs;
        let mut scores = Scores::none(self.course.kind());
        epochs
            .iter()
            .for_each(|epoch| scores.push(epoch.score.value()));
        let not_finite = || format!("not finite in epoch {}", epochs.len() + 1);
        let mut timing = Timing::default();
        match epochs.last().map(|epoch| epoch.pace) {
            Some(Pace::ImagesPerSecond(pace)) => timing.images_per_second = Some(pace),
            Some(Pace::WordsPerSecond(pace)) => timing.words_per_second = Some(pace),
            None => {}
        }
        Outcome {
            sample: planned.job.sample,
            status: if trained.diverged {
                Status::Diverged
            } else {
                Status::Ok
            },
            scores,
            parameters: Some(planned.child.parameters()),
            message: trained.diverged.then(not_finite),
            timing,
        }
    }

    /// The outcome of a child that was not trained to the end.
    fn failed(&self, job: &Job, status: Status, message: String) -> Outcome {
        Outcome {
            sample: job.sample,
            status,
            scores: Scores::none(self.course.kind()),
            parameters: None,
            message: Some(message),
            timing: Timing::default(),
        }
    }
}

impl Evaluator for Local {
    fn submit(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            match self.plan(job) {
                Ok(planned) => self.waiting.push_back(planned),
                Err(outcome) => self.tell(*outcome, None),
            }
        }
        self.start();
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        let stranded = self.pool.is_lost() && self.pool.n_running() == 0;
        let patience = if stranded { Duration::ZERO } else { patience };
        let news = match self.receiver.recv_timeout(patience) {
            Ok(Message::News(news, freed)) => {
                freed
                    .into_iter()
                    .for_each(|share| self.pool.give_back(share));
                Some(news)
            }
            Ok(Message::Lost(planned, share, words)) => self.lose(planned, share, words),
            Err(_) if stranded && !self.waiting.is_empty() => {
                return Some(News::NoDevice(self.lost.clone()));
            }
            Err(_) => return None,
        };
        self.start();
        news
    }
}

impl Drop for Local {
    /// Children under way end at their next epoch; nobody waits for them.
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// How a child ended whose training failed.
fn status(error: &TrainError) -> Status {
    match error {
        TrainError::Device(DeviceError::OutOfMemory { .. }) => Status::OutOfMemory,
        TrainError::TooLarge { .. } => Status::TooLarge,
        TrainError::Graph(_) | TrainError::Language(_) => Status::Invalid,
        TrainError::Device(_)
        | TrainError::Corpus(_)
        | TrainError::OtherKind(..)
        | TrainError::SmallSplit { .. }
        | TrainError::NoValidation { .. }
        | TrainError::Stopped => Status::Crash,
    }
}

/// The words of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    format!("the training panicked: {}", text.unwrap_or("without words"))
}
