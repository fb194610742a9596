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
use std::time::Duration;

use super::child::{ChildEnd, Planned, Trainer};
use super::evaluator::{Evaluator, Job, News};
use super::pool::{Assignment, Pool, Share};
use crate::device::{Device, DeviceError, Devices};
use crate::run::{RunError, Status, under_way};

/// GPUs that one child may lose: after the second, the child is at fault and not the device.
const MOST_LOST: usize = 2;

/// What children are trained on.
pub struct Settings {
    /// How each is trained.
    pub trainer: Trainer,
    /// What trains them.
    pub devices: Devices,
    /// Threads of all children together, on a processor.
    pub threads: usize,
    /// Bytes of all plans on a processor together, or of the one on a GPU, and so the most that one
    /// may take; never more than [`share`] of the smallest GPU. Threads of a child take some each: a
    /// child is `too_large` by what it takes with one, so that the verdict does not depend on their
    /// number.
    pub memory: u64,
}

/// The part of a memory that plans may take where no setting says how much, in bytes: the rest is for
/// the data set, for what devices and their drivers keep, and for others.
pub fn share(memory_bytes: u64) -> u64 {
    memory_bytes / 4 * 3
}

/// The evaluator over the devices of this process.
pub struct Local {
    trainer: Arc<Trainer>,
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
    /// News that were not asked for yet.
    news: VecDeque<News>,
    /// Tells the children under way to stop.
    stop: Arc<AtomicBool>,
}

/// From a child's thread.
enum Message {
    /// An epoch of it ended.
    Epoch { sample: u64, epoch: usize },
    /// It ended, and what it had becomes free.
    Ended(Box<Planned>, ChildEnd, Share),
}

impl Local {
    /// An evaluator with nothing to do.
    ///
    /// # Errors
    /// Where the device cannot be opened.
    pub fn new(settings: Settings) -> Result<Local, DeviceError> {
        let Settings {
            trainer,
            devices,
            threads,
            memory,
        } = settings;
        let of_gpus = devices.memory_bytes().map_or(u64::MAX, share);
        let (sender, receiver) = channel();
        Ok(Local {
            trainer: Arc::new(trainer),
            planner: devices.first(Some(1))?,
            models: devices.models()?,
            limit: memory.min(of_gpus),
            waiting: VecDeque::new(),
            pool: Pool::new(devices, threads, memory),
            lost: String::new(),
            sender,
            receiver,
            news: VecDeque::new(),
            stop: Arc::default(),
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

    fn fail(&mut self, job: &Job, status: Status, message: String) {
        let outcome = self.trainer.failed(job, status, message);
        self.news.push_back(News::Ended(outcome));
    }

    /// Starts waiting children, in order, while there is a place for the next.
    // paper P7.2
    fn start(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            // The planner's own plan, on a device with as many threads.
            let plan = |device: &dyn Device| match device.describe() == self.planner.describe() {
                true => next.plan.clone(),
                false => next.child.plan(device),
            };
            match self.pool.assign(self.waiting.len() + 1, plan) {
                Ok(Some(assignment)) => self.spawn(next, assignment),
                Ok(None) => {
                    self.waiting.push_front(next);
                    return;
                }
                Err(error) => self.fail(&next.job, Status::Crash, error.to_string()),
            }
        }
    }

    /// Takes a GPU that is lost out of use. Its child met a fault of the machine, and is begun again
    /// on another; a child that loses them one after the other is at fault itself.
    fn lose(&mut self, planned: Planned, words: String) {
        let (sample, n_gpus) = (planned.job.sample, self.pool.n_gpus());
        tracing::warn!("sample {sample}: {words}; GPUs left: {n_gpus}");
        let job = Job {
            lost: (planned.job.lost.0 + 1, words.clone()),
            ..planned.job
        };
        self.lost.clone_from(&words);
        self.news.push_back(News::Lost { sample, words });
        let planned = Planned { job, ..planned };
        if !self.is_poison(&planned.job) {
            self.waiting.push_front(planned);
        }
    }

    /// Whether a child has lost so many GPUs that it is at fault itself; it then ends so.
    fn is_poison(&mut self, job: &Job) -> bool {
        let (n_lost, words) = &job.lost;
        let is_poison = *n_lost >= MOST_LOST;
        if is_poison {
            let message = format!("{n_lost} GPUs were lost while they trained it; {words}");
            self.fail(job, Status::Poison, message);
        }
        is_poison
    }

    /// Trains a child on a thread of its own.
    fn spawn(&mut self, planned: Planned, assignment: Assignment) {
        let trainer = Arc::clone(&self.trainer);
        let stop = Arc::clone(&self.stop);
        let sender = self.sender.clone();
        let job = planned.job.clone();
        let share = assignment.share;
        let child = move || {
            let sample = planned.job.sample;
            let Assignment {
                device,
                plan,
                share,
            } = assignment;
            // Nobody listens where the search has ended meanwhile.
            let mut tell = |epoch| {
                let _ = sender.send(Message::Epoch { sample, epoch });
            };
            let place = (&*device, &plan, share.threads);
            let train = || trainer.train(&planned, place, &stop, &mut tell);
            let end = catch_unwind(AssertUnwindSafe(train)).unwrap_or_else(|panic| {
                let words = words(&*panic);
                ChildEnd::Outcome(trainer.failed(&planned.job, Status::Crash, words))
            });
            let _ = sender.send(Message::Ended(Box::new(planned), end, share));
        };
        let name = under_way::thread_name(job.sample);
        if let Err(error) = thread::Builder::new().name(name).spawn(child) {
            self.pool.give_back(share);
            self.fail(
                &job,
                Status::Crash,
                format!("cannot start a thread: {error}"),
            );
        }
    }

    /// Makes news of what a thread says.
    fn hear(&mut self, message: Message) {
        let (planned, end, share) = match message {
            Message::Epoch { sample, epoch } => {
                return self.news.push_back(News::Epoch { sample, epoch });
            }
            Message::Ended(planned, end, share) => (*planned, end, share),
        };
        if let ChildEnd::Lost(words) = end {
            self.pool.lose(share);
            return self.lose(planned, words);
        }
        self.pool.give_back(share);
        match end {
            ChildEnd::Outcome(outcome) => self.news.push_back(News::Ended(outcome)),
            ChildEnd::NotKept(error) => self.news.push_back(News::NotKept(error)),
            ChildEnd::Stopped | ChildEnd::Lost(_) => {}
        }
    }
}

impl Evaluator for Local {
    fn submit(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            if self.is_poison(&job) {
                continue;
            }
            match self.trainer.plan(job, &*self.planner, self.limit) {
                Ok(planned) => self.waiting.push_back(planned),
                Err(outcome) => self.news.push_back(News::Ended(*outcome)),
            }
        }
        self.start();
    }

    fn next(&mut self, patience: Duration) -> Option<News> {
        if self.news.is_empty() {
            let stranded = self.pool.is_lost() && self.pool.n_running() == 0;
            let patience = if stranded { Duration::ZERO } else { patience };
            match self.receiver.recv_timeout(patience) {
                Ok(message) => self.hear(message),
                Err(_) if stranded && !self.waiting.is_empty() => {
                    return Some(News::NoDevice(self.lost.clone()));
                }
                Err(_) => {}
            }
            self.start();
        }
        self.news.pop_front()
    }

    fn recorded(&mut self, sample: u64) -> Result<(), RunError> {
        self.trainer.recorded(sample)
    }

    fn stop(&mut self) -> Vec<News> {
        self.stop.store(true, Ordering::Relaxed);
        self.waiting.clear();
        while self.pool.n_running() > 0 {
            match self.receiver.recv() {
                Ok(message) => self.hear(message),
                Err(_) => break, // not while this end holds a sender
            }
        }
        self.waiting.clear(); // of a child whose device was lost meanwhile
        self.news.drain(..).collect()
    }
}

impl Drop for Local {
    /// Children under way end at their next step; nobody waits for them.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The words of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    format!("the training panicked: {}", text.unwrap_or("without words"))
}
