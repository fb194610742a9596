//! A driver that goes wrong as it is told to, and what a session makes of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nas_engine::data::Dataset;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::{
    Driver, DriverError, Graph, Launch, Limits, Memory, Stream,
};
use nas_engine::device::{Device, DeviceError};
use nas_engine::space::ConvArchitecture;
use nas_engine::train::{self, Keeper, Network, Outcome, TrainError};

use super::host::{Host, MODES, PROFILES, kernels};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Nothing,
    /// The first launch of a kernel is refused.
    Refuse(&'static str),
    /// The n-th replay goes wrong, which the next call that waits tells of.
    Later(usize),
    /// The device is lost at the n-th launch, replays counted.
    LoseAt(usize),
    /// The device is lost whenever a kernel is launched.
    LoseOn(&'static str),
}

/// What a test sees of a driver that it gave away.
#[derive(Default)]
pub struct Seen {
    launches: AtomicUsize,
    replays: AtomicUsize,
    refused: AtomicBool,
    lost: AtomicBool,
    open_streams: AtomicUsize,
    /// Streams that were open at once.
    pub most_streams: AtomicUsize,
    /// Streams ever opened: sessions.
    pub n_streams: AtomicUsize,
    /// What the next call that waits tells.
    later: Mutex<Option<DriverError>>,
}

/// The host runner with a fault.
pub struct Faulty {
    host: Host,
    number: usize,
    fault: Fault,
    memory: Memory,
    seen: Arc<Seen>,
}

/// A GPU with a fault and as much memory as needed, and what is seen of it.
pub fn gpu(number: usize, fault: Fault) -> (Cuda, Arc<Seen>) {
    let memory = Host::new(kernels(), MODES[0], PROFILES[0]).memory();
    with_memory(number, fault, memory.expect("the host has memory"))
}

/// The same with a memory.
pub fn with_memory(number: usize, fault: Fault, memory: Memory) -> (Cuda, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let driver = Faulty {
        host: Host::new(kernels(), MODES[0], PROFILES[0]),
        number,
        fault,
        memory,
        seen: Arc::clone(&seen),
    };
    (Cuda::new(Box::new(driver)), seen)
}

impl Faulty {
    /// Counts a launch; an error where the device is lost, or is lost now.
    fn alive(&self, kernel: Option<&str>, counts: bool) -> Result<(), DriverError> {
        let n = match counts {
            true => 1 + self.seen.launches.fetch_add(1, Ordering::Relaxed),
            false => 0,
        };
        let now = match self.fault {
            Fault::LoseAt(at) => n == at,
            Fault::LoseOn(name) => kernel == Some(name),
            _ => false,
        };
        if now {
            self.seen.lost.store(true, Ordering::Relaxed);
        }
        match self.seen.lost.load(Ordering::Relaxed) {
            true => Err(DriverError::Lost("it fell off the bus".to_string())),
            false => Ok(()),
        }
    }
}

impl Driver for Faulty {
    fn describe(&self) -> String {
        format!("cuda:{} (host runner)", self.number)
    }

    fn model(&self) -> String {
        self.host.model()
    }

    fn limits(&self) -> Limits {
        self.host.limits()
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        self.alive(None, false)?;
        Ok(self.memory)
    }

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        self.alive(None, false)?;
        let open = 1 + self.seen.open_streams.fetch_add(1, Ordering::Relaxed);
        self.seen.most_streams.fetch_max(open, Ordering::Relaxed);
        self.seen.n_streams.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FaultyStream {
            stream: self.host.stream()?,
            driver: self,
            capturing: false,
        }))
    }
}

struct FaultyStream<'a> {
    driver: &'a Faulty,
    stream: Box<dyn Stream + 'a>,
    capturing: bool,
}

impl FaultyStream<'_> {
    /// What an earlier replay came upon.
    fn waited(&self) -> Result<(), DriverError> {
        self.driver.alive(None, false)?;
        let later = self
            .driver
            .seen
            .later
            .lock()
            .expect("no thread panics")
            .take();
        later.map_or(Ok(()), Err)
    }
}

impl Stream for FaultyStream<'_> {
    fn allocate(&mut self, bytes: usize) -> Result<u64, DriverError> {
        self.driver.alive(None, false)?;
        self.stream.allocate(bytes)
    }

    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), DriverError> {
        self.driver.alive(None, false)?;
        self.stream.write(to, bytes)
    }

    fn read(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.waited()?;
        self.stream.read(from, bytes)
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), DriverError> {
        self.driver.alive(Some(launch.kernel), !self.capturing)?;
        let seen = &self.driver.seen;
        let refuse = self.driver.fault == Fault::Refuse(launch.kernel);
        if refuse && !seen.refused.swap(true, Ordering::Relaxed) {
            return Err(DriverError::Failed("too many resources".to_string()));
        }
        self.stream.launch(launch)
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        self.driver.alive(None, false)?;
        self.capturing = true;
        self.stream.begin_capture()
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        self.capturing = false;
        self.stream.end_capture()
    }

    fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        self.driver.alive(None, true)?;
        let seen = &self.driver.seen;
        let n = 1 + seen.replays.fetch_add(1, Ordering::Relaxed);
        if self.driver.fault == Fault::Later(n) {
            let error = DriverError::Failed("a load from nowhere".to_string());
            *seen.later.lock().expect("no thread panics") = Some(error);
        }
        self.stream.replay(graph)
    }

    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<(), DriverError> {
        self.driver.alive(None, false)?;
        self.stream.copy(from, to, bytes)
    }

    fn mark(&mut self) -> Result<(), DriverError> {
        self.driver.alive(None, false)?;
        self.stream.mark()
    }

    fn read_marked(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.waited()?;
        self.stream.read_marked(from, bytes)
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        self.waited()?;
        self.stream.wait()
    }
}

impl Drop for FaultyStream<'_> {
    fn drop(&mut self) {
        self.driver
            .seen
            .open_streams
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// Trains a small child of 3 steps an epoch.
fn train_on(device: &dyn Device) -> Result<Outcome, TrainError> {
    let layer = r#"{"filter":[1,1],"filters":8,"stride":[4,4],"inputs":[0]}"#;
    let json = format!(r#"{{"space":"conv","layers":[{layer}]}}"#);
    let architecture = ConvArchitecture::from_json(&json).expect("an architecture");
    let dataset = Arc::new(Dataset::synthetic(30, 10, 4, 2));
    let child = Network::new(&dataset, &crate::train::config(2), &architecture)?;
    let job = crate::train::job(&child, device, 3, false);
    train::train(&job, &mut Keeper::none(), &mut |_| {})
}

fn error(fault: Fault) -> DeviceError {
    match train_on(&gpu(3, fault).0) {
        Err(TrainError::Device(error)) => error,
        other => panic!("{fault:?}: {other:?}"),
    }
}

fn says(error: &DeviceError, words: &[&str]) {
    let text = error.to_string();
    for part in words {
        assert!(text.contains(part), "no '{part}' in {text}");
    }
}

#[test]
fn a_kernel_that_is_refused_is_named() {
    let error = error(Fault::Refuse("softmax_xent"));
    assert!(matches!(error, DeviceError::Failed { .. }), "{error:?}");
    says(
        &error,
        &["cuda:3", "kernel softmax_xent", "too many resources"],
    );
}

/// What a replay came upon, a later call tells: of which list, and in how many runs of it.
#[test]
fn an_error_that_is_told_later_names_the_list() {
    // Of 3 steps of the first epoch, the last 2 are replays, waited for together; then validation, which
    // runs once; then the next epoch, whose first step is waited for alone and whose third is the fifth
    // replay.
    for n in [2, 5] {
        let (error, last) = (error(Fault::Later(n)), "its last 2 runs");
        assert!(matches!(error, DeviceError::Failed { .. }), "{error:?}");
        says(
            &error,
            &[
                "cuda:3",
                "kernels of the list `train`",
                last,
                "from nowhere",
            ],
        );
    }
}

#[test]
fn a_device_that_is_lost_is_told_from_one_that_failed() {
    for at in [1, 5, 20] {
        let error = error(Fault::LoseAt(at));
        assert!(matches!(error, DeviceError::Lost { .. }), "{at}: {error:?}");
        says(
            &error,
            &["cuda:3", "is lost", "fell off the bus", "--device"],
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_allocated() {
    let memory = Memory {
        free: 10_000,
        total: 1 << 30,
    };
    let (cuda, seen) = with_memory(0, Fault::Nothing, memory);
    let Err(TrainError::Device(error)) = train_on(&cuda) else {
        panic!("it cannot fit");
    };
    let DeviceError::OutOfMemory { bytes, free, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(free, Some(10_000));
    says(
        &error,
        &[&bytes.to_string(), "10000 are free", "smaller batch"],
    );
    assert_eq!(seen.launches.load(Ordering::Relaxed), 0);
    // With what it says that is needed, it fits.
    let exact = Memory {
        free: bytes,
        total: bytes,
    };
    train_on(&with_memory(0, Fault::Nothing, exact).0).expect("it fits");
}
