//! How workers are, as they tell whoever listens: for people alone. A beat may be lost, late or made up by
//! somebody else, and nothing is decided by one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::select;
use serde::{Deserialize, Serialize};

use super::codec::{Message, MessageError, from_json, to_json};
use super::engine::Engine;

/// Time between two beats of a worker that has nothing new to tell.
pub const EVERY: Duration = Duration::from_secs(10);

/// Bytes of a beat, at most.
const MOST_BYTES: usize = 4096;

/// Workers that are listened to, at most.
const MOST_WORKERS: usize = 100_000;

/// Seconds that are believed, at most: three centuries.
const MOST_SECONDS: f64 = 1e10;

/// A worker that is silent for so long is taken for gone.
const GONE: Duration = Duration::from_secs(60);

/// How a worker is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Itself.
    pub worker: u64,
    /// Its machine.
    pub node: String,
    /// What it trains on.
    pub device: String,
    /// What it is at.
    pub state: State,
    /// The sample that it trains.
    pub sample: Option<u64>,
    /// Epochs of it that are done.
    pub epoch: Option<u64>,
    /// Seconds since it began its child or finished an epoch of it, or since it has none.
    pub seconds_since_step: f64,
    /// Seconds since it began.
    pub seconds: f64,
    /// Seconds of these in which it did not train.
    pub idle: Idle,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a child.
    Idle,
    /// It trains one.
    Training,
    /// It was told to stop, and keeps what it has.
    Stopping,
    /// It takes no child any more.
    Left,
    /// Something that a later version knows.
    #[serde(other)]
    Unknown,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Training => "training",
            State::Stopping => "stopping",
            State::Left => "left",
            State::Unknown => "unknown",
        }
    }
}

/// Seconds without training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// While the queue had nothing to hand out.
    pub queue_empty: f64,
    /// With a job in hand, from the queue until its training and from there until its result is kept, and
    /// while the queue did not answer.
    pub job_queued: f64,
}

impl Message for Beat {
    const WHAT: &'static str = "a worker's heartbeat";
}

impl Beat {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }

    /// From bytes, which anybody may have sent.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Beat, MessageError> {
        let flaw = |flaw: &str| MessageError::Flaw {
            what: Beat::WHAT,
            flaw: flaw.to_owned(),
        };
        if bytes.len() > MOST_BYTES {
            return Err(flaw("it is too long"));
        }
        let beat: Beat = from_json(bytes)?;
        let Idle {
            queue_empty,
            job_queued,
        } = beat.idle;
        let times = [
            beat.seconds,
            beat.seconds_since_step,
            queue_empty,
            job_queued,
        ];
        match times.iter().all(|time| (0.0..MOST_SECONDS).contains(time)) {
            true => Ok(beat),
            false => Err(flaw("it has a time that is none")),
        }
    }

    /// A worker's name, the last part of its subject.
    pub fn name(worker: u64) -> String {
        format!("{worker:016x}")
    }
}

/// What a worker's time goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for the queue.
    Waiting,
    /// It has a job that is not trained, or is not answered.
    Between,
    /// It trains.
    Training,
}

/// What a worker knows of itself.
pub(super) struct Pulse {
    pub(super) worker: u64,
    node: String,
    device: String,
    began: Duration,
    now: Mutex<Now>,
}

struct Now {
    phase: Phase,
    since: Duration,
    /// When a child was begun or an epoch was done, or there was no child any more.
    step: Duration,
    idle: [Duration; 2],
    sample: Option<u64>,
    epoch: Option<u64>,
    is_stopping: bool,
}

impl Now {
    /// The time of the phase under way is its own up to now.
    fn idle_at(&self, now: Duration) -> [Duration; 2] {
        let mut idle = self.idle;
        let spent = now.saturating_sub(self.since);
        match self.phase {
            Phase::Waiting => idle[0] += spent,
            Phase::Between => idle[1] += spent,
            Phase::Training => {}
        }
        idle
    }
}

impl Pulse {
    pub(super) fn new(worker: u64, node: &str, device: &str, now: Duration) -> Pulse {
        Pulse {
            worker,
            node: node.to_owned(),
            device: device.to_owned(),
            began: now,
            now: Mutex::new(Now {
                phase: Phase::Between,
                since: now,
                step: now,
                idle: [Duration::ZERO; 2],
                sample: None,
                epoch: None,
                is_stopping: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Goes on to another phase.
    pub(super) fn phase(&self, phase: Phase, now: Duration) {
        let mut state = self.lock();
        state.idle = state.idle_at(now);
        state.since = now;
        state.phase = phase;
    }

    /// The queue did not answer: that it had nothing is not known.
    pub(super) fn no_answer(&self) {
        self.lock().phase = Phase::Between;
    }

    /// It begins a child, or is without one.
    pub(super) fn child(&self, sample: Option<u64>, now: Duration) {
        let mut state = self.lock();
        state.sample = sample;
        state.epoch = None;
        state.step = now;
    }

    /// So many epochs of its child are done; whether that is news.
    pub(super) fn epoch(&self, epoch: u64, now: Duration) -> bool {
        let mut state = self.lock();
        let is_news = state.epoch != Some(epoch);
        if is_news {
            state.epoch = Some(epoch);
            state.step = now;
        }
        is_news
    }

    /// It was told to stop; whether that is news.
    pub(super) fn stopping(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_stopping, true)
    }

    pub(super) fn beat(&self, now: Duration) -> Beat {
        let state = self.lock();
        let [queue_empty, job_queued] = state.idle_at(now).map(|time| time.as_secs_f64());
        let seconds = |since: Duration| now.saturating_sub(since).as_secs_f64();
        Beat {
            worker: self.worker,
            node: self.node.clone(),
            device: self.device.clone(),
            state: match (state.is_stopping, state.sample) {
                (true, _) => State::Stopping,
                (false, Some(_)) => State::Training,
                (false, None) => State::Idle,
            },
            sample: state.sample,
            epoch: state.epoch,
            seconds_since_step: seconds(state.step),
            seconds: seconds(self.began),
            idle: Idle {
                queue_empty,
                job_queued,
            },
        }
    }

    /// Tells how it is.
    pub(super) async fn tell<E: Engine>(&self, engine: &E) {
        let beat = self.beat(engine.now()).to_bytes();
        engine.beat(self.worker, beat).await;
    }

    /// Tells that it takes no child any more.
    pub(super) async fn tell_left<E: Engine>(&self, engine: &E) {
        let beat = Beat {
            state: State::Left,
            sample: None,
            epoch: None,
            ..self.beat(engine.now())
        };
        engine.beat(self.worker, beat.to_bytes()).await;
    }

    /// Tells it again and again, and where somebody asks.
    pub(super) async fn keep_telling<E: Engine>(&self, engine: &E) -> Infallible {
        loop {
            self.tell(engine).await;
            let (time, asked) = (pin!(engine.sleep(EVERY)), pin!(engine.asked()));
            select(time, asked).await;
        }
    }
}

/// The workers that were heard of.
#[derive(Debug, Default)]
pub struct Roll {
    heard: BTreeMap<u64, (Beat, Duration)>,
    /// Beats that cannot be understood, and what is wrong with the last.
    pub unread: (u64, String),
}

impl Roll {
    /// Hears a beat that came at a time under a worker's name; whether that is a worker that was not heard
    /// of before.
    pub fn hear(&mut self, name: &str, bytes: &[u8], now: Duration) -> bool {
        if self.heard.len() >= MOST_WORKERS {
            self.heard
                .retain(|_, (_, at)| now.saturating_sub(*at) < GONE);
        }
        let wrong = match Beat::from_bytes(bytes) {
            Ok(beat) if Beat::name(beat.worker) != name => {
                "it is under another worker's name".into()
            }
            Ok(beat) if beat.state == State::Left => {
                self.heard.remove(&beat.worker);
                return false;
            }
            Ok(beat)
                if self.heard.len() < MOST_WORKERS || self.heard.contains_key(&beat.worker) =>
            {
                return self.heard.insert(beat.worker, (beat, now)).is_none();
            }
            Ok(_) => "there are too many workers".into(),
            Err(error) => error.to_string(),
        };
        self.unread.0 += 1;
        self.unread.1 = wrong;
        false
    }

    /// The workers that are there, each with the time since it was heard.
    pub fn workers(&self, now: Duration) -> impl Iterator<Item = (&Beat, Duration)> {
        let heard = self.heard.values();
        let aged = heard.map(move |(beat, at)| (beat, now.saturating_sub(*at)));
        aged.filter(|(_, age)| *age < GONE)
    }
}
