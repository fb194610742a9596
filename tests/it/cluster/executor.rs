//! Tasks in virtual time, in one thread: a seed decides which of those that can go on does, and time passes
//! only where none can. A task may be ended at any of its awaits, and begun anew.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use nas_engine::rng::{Purpose, Rng};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time that passes where a test says so.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    now: Duration,
    /// Moments that somebody waits for, with a number that tells them apart.
    moments: BinaryHeap<Reverse<(Duration, u64)>>,
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

impl Clock {
    pub fn now(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep {
            clock: self.clone(),
            until: self.now() + time,
            number: None,
        }
    }

    /// Goes on to the next moment that somebody waits for; whether there is one.
    fn advance(&self) -> bool {
        let mut time = self.0.lock().unwrap();
        loop {
            let Some(Reverse((moment, number))) = time.moments.pop() else {
                return false;
            };
            // One that was dropped waits for nothing.
            if let Some(waker) = time.waiting.remove(&number) {
                time.now = time.now.max(moment);
                drop(time);
                waker.wake();
                return true;
            }
        }
    }
}

pub struct Sleep {
    clock: Clock,
    until: Duration,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<()> {
        let clock = self.clock.clone();
        let mut time = clock.0.lock().unwrap();
        if time.now >= self.until {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            time.next += 1;
            time.next
        });
        if time
            .waiting
            .insert(number, context.waker().clone())
            .is_none()
        {
            time.moments.push(Reverse((self.until, number)));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.0.lock().unwrap().waiting.remove(&number);
        }
    }
}

struct Ready {
    number: usize,
    queue: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.queue.lock().unwrap().push_back(self.number);
    }
}

/// A task that may be ended and begun again.
struct Role {
    begin: Box<dyn Fn() -> Task>,
    /// Nothing where it has come to its end, or waits to be begun again.
    task: Option<Task>,
    is_mortal: bool,
    /// Until when nothing wakes it.
    frozen_until: Duration,
    /// What says that it is to be ended now.
    doomed: Doom,
}

/// By which a task's own work ends it, as a child that takes its machine down does.
#[derive(Clone, Default)]
pub struct Doom(Arc<Mutex<bool>>);

impl Doom {
    pub fn kill(&self) {
        *self.0.lock().unwrap() = true;
    }

    fn take(&self) -> bool {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// How often what happens to tasks.
#[derive(Clone, Copy)]
pub struct Fate {
    /// Chance that a task is ended at an await.
    pub end: f64,
    /// Chance that it is frozen there.
    pub freeze: f64,
    /// How long at most.
    pub frozen: Duration,
}

pub struct Executor {
    pub clock: Clock,
    roles: Vec<Role>,
    queue: Arc<Mutex<VecDeque<usize>>>,
    rng: Rng,
    fate: Fate,
    pub n_ended: u64,
    pub n_frozen: u64,
}

impl Executor {
    pub fn new(seed: u64, fate: Fate) -> Executor {
        Executor {
            clock: Clock::default(),
            roles: vec![],
            queue: Arc::default(),
            rng: Rng::new(seed, Purpose::Test, 1),
            fate,
            n_ended: 0,
            n_frozen: 0,
        }
    }

    pub fn add(&mut self, is_mortal: bool, doomed: Doom, begin: impl Fn() -> Task + 'static) {
        self.queue.lock().unwrap().push_back(self.roles.len());
        self.roles.push(Role {
            task: Some(begin()),
            begin: Box::new(begin),
            is_mortal,
            frozen_until: Duration::ZERO,
            doomed,
        });
    }

    /// Runs until `is_done`, or for so long.
    pub fn run(&mut self, most: Duration, is_done: impl Fn() -> bool) -> bool {
        while self.clock.now() < most {
            let number = {
                let mut queue = self.queue.lock().unwrap();
                let n = queue.len() as u32;
                let chosen = (n > 0).then(|| self.rng.below(n) as usize);
                chosen.and_then(|chosen| queue.swap_remove_back(chosen))
            };
            match number {
                Some(number) => self.poll(number),
                None if is_done() => return true,
                None if !self.clock.advance() => return is_done(),
                None => {}
            }
        }
        is_done()
    }

    fn poll(&mut self, number: usize) {
        let waker = Waker::from(Arc::new(Ready {
            number,
            queue: Arc::clone(&self.queue),
        }));
        let role = &mut self.roles[number];
        if self.clock.now() < role.frozen_until {
            return; // whatever else it waited for: it is looked at when it thaws
        }
        if role.is_mortal && role.task.is_some() {
            let fate = self.rng.uniform();
            if fate < self.fate.end || role.doomed.take() {
                self.n_ended += 1;
                return self.begin_again(number, waker);
            }
            if fate < self.fate.end + self.fate.freeze {
                self.n_frozen += 1;
                let time = self.fate.frozen.mul_f64(self.rng.uniform());
                role.frozen_until = self.clock.now() + time;
                return self.wake_after(time, waker);
            }
        }
        let Some(task) = &mut role.task else {
            return;
        };
        if task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            role.task = None;
        } else if role.doomed.take() {
            self.n_ended += 1;
            self.begin_again(number, waker);
        }
    }

    fn begin_again(&mut self, number: usize, waker: Waker) {
        let role = &mut self.roles[number];
        role.task = None; // what it held is gone
        role.task = Some((role.begin)());
        self.wake_after(Duration::from_secs(1), waker);
    }

    /// Has a task looked at later.
    fn wake_after(&mut self, time: Duration, waker: Waker) {
        let until = self.clock.now() + time;
        let mut clock = self.clock.0.lock().unwrap();
        clock.next += 1;
        let number = clock.next;
        clock.moments.push(Reverse((until, number)));
        clock.waiting.insert(number, waker);
    }
}
