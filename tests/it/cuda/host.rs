//! A driver whose GPU is the host runner: the kernels compiled by g++, checked as they run.

use std::ffi::{CString, c_char, c_void};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use libloading::{Library, Symbol};
use nas_engine::device::cuda::driver::{
    Driver, DriverError, Graph, Launch, Limits, Memory, Stream,
};

/// In which order threads of a block and blocks of a grid run, and when copies land.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mode {
    /// 0 ascending, 1 descending, 2 random.
    pub order: u32,
    /// 1: asynchronous copies land at once, not as late as they may.
    pub copies_early: u32,
}

/// Every mode in which a kernel must give the same.
pub const MODES: [Mode; 4] = [mode(0, 0), mode(1, 0), mode(2, 0), mode(0, 1)];

const fn mode(order: u32, copies_early: u32) -> Mode {
    Mode {
        order,
        copies_early,
    }
}

/// Bytes of shared memory of a block on sm_86 and sm_89, sm_80, and sm_90.
pub const PROFILES: [usize; 3] = [99 << 10, 163 << 10, 227 << 10];

/// Processors unless it is said otherwise: slices of a few units, which are not all of one size.
pub const PROCESSORS: usize = 7;

/// More than any test takes; how much there really is, is of no matter.
const MEMORY: Memory = Memory {
    free: 1 << 40,
    total: 1 << 40,
};

/// What the runner counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Counters {
    /// As threads ask for them.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// As memory brings and takes them with a perfect cache: 32 bytes each, once a launch.
    pub sectors_read: u64,
    pub sectors_written: u64,
    pub flops: u64,
    pub matrix_loads: u64,
    pub barriers: u64,
    pub launches: u64,
}

impl Counters {
    /// Adds what was counted of another launch.
    pub fn add(&mut self, more: &Counters) {
        self.bytes_read += more.bytes_read;
        self.bytes_written += more.bytes_written;
        self.sectors_read += more.sectors_read;
        self.sectors_written += more.sectors_written;
        self.flops += more.flops;
        self.matrix_loads += more.matrix_loads;
        self.barriers += more.barriers;
        self.launches += more.launches;
    }
}

/// The library of the kernels in this repository, compiled once a test run.
pub fn kernels() -> Arc<Library> {
    static LIBRARY: OnceLock<Arc<Library>> = OnceLock::new();
    let build = || compile(Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels"), None);
    Arc::clone(LIBRARY.get_or_init(|| build().expect("the kernels compile for the host")))
}

/// Compiles `kernels` (those of the repository, or a changed copy) into a folder, and loads them.
///
/// # Errors
/// The compiler's words.
pub fn compile(out: PathBuf, kernels: Option<&Path>) -> Result<Arc<Library>, String> {
    compile_with(out, kernels, &[])
}

/// The same, with flags for the compiler; these need `kernels` to be named.
///
/// # Errors
/// The compiler's words.
pub fn compile_with(
    out: PathBuf,
    kernels: Option<&Path>,
    flags: &[&str],
) -> Result<Arc<Library>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("scripts/host-runner"));
    command.arg(&out).args(kernels).args(flags);
    let ended = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
    }
    // SAFETY: the library has no initialisers but those of its own lists.
    let library = unsafe { Library::new(out.join("libkernels.so")) };
    library.map(Arc::new).map_err(|e| e.to_string())
}

/// The host runner as a GPU.
pub struct Host {
    library: Arc<Library>,
    mode: Mode,
    shared_bytes: usize,
    /// Blocks of a cooperative launch at most.
    processors: usize,
    /// Sees each launch that ran, with what was counted of it.
    observer: Option<Box<Observer>>,
    copied: Arc<Copied>,
}

/// Bytes that were copied, by all streams together.
#[derive(Debug, Default)]
pub struct Copied {
    pub to_device: AtomicUsize,
    pub to_host: AtomicUsize,
    /// From one place of the device to another.
    pub within: AtomicUsize,
}

/// What may look on while kernels run.
pub type Observer = dyn Fn(&Launch, &Counters) + Send + Sync;

impl Host {
    /// With kernels, an order, and a limit to shared memory.
    pub fn new(library: Arc<Library>, mode: Mode, shared_bytes: usize) -> Host {
        Host {
            library,
            mode,
            shared_bytes,
            processors: PROCESSORS,
            observer: None,
            copied: Arc::default(),
        }
    }

    /// One with another number of processors.
    pub fn with_processors(self, processors: usize) -> Host {
        Host { processors, ..self }
    }

    /// What it copies, as long as it is asked for.
    pub fn copied(&self) -> Arc<Copied> {
        Arc::clone(&self.copied)
    }

    /// One whose launches are looked at.
    pub fn observed(self, observer: impl Fn(&Launch, &Counters) + Send + Sync + 'static) -> Host {
        Host {
            observer: Some(Box::new(observer)),
            ..self
        }
    }

    fn call<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: `T` is the function's type in kernels/host/device.cpp; every use is in this file.
        unsafe { self.library.get(name.as_bytes()) }.expect("the runner has its functions")
    }
}

impl Driver for Host {
    fn describe(&self) -> String {
        let Mode {
            order,
            copies_early,
        } = self.mode;
        let kib = self.shared_bytes >> 10;
        let processors = self.processors;
        format!(
            "cuda (host runner, {kib} KB shared, {processors} processors, order {order}, copies \
             early {copies_early})"
        )
    }

    fn model(&self) -> String {
        "cuda (host runner)".to_string()
    }

    fn limits(&self) -> Limits {
        Limits {
            shared_bytes: self.shared_bytes,
            processors: self.processors,
        }
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        Ok(MEMORY)
    }

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        let open = self.call::<extern "C" fn() -> *mut c_void>("host_open");
        Ok(Box::new(HostStream {
            host: self,
            memory: open(),
            capture: None,
            graphs: vec![],
            behind_mark: None,
        }))
    }
}

/// A device that says that it has other limits than it has.
pub struct Limited<D>(pub D, pub Limits);

impl<D: Driver> Driver for Limited<D> {
    fn describe(&self) -> String {
        format!("{}, said to have {:?}", self.0.describe(), self.1)
    }

    fn model(&self) -> String {
        self.0.model()
    }

    fn limits(&self) -> Limits {
        self.1
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        self.0.memory()
    }

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        self.0.stream()
    }
}

/// A stream of it, with memory of its own.
struct HostStream<'a> {
    host: &'a Host,
    memory: *mut c_void,
    /// Launches that are being captured.
    capture: Option<Vec<Launch>>,
    graphs: Vec<Vec<Launch>>,
    /// Since there was a mark, where copies have written behind the last one.
    behind_mark: Option<Vec<Range<u64>>>,
}

impl HostStream<'_> {
    /// A GPU refuses what would have to wait while it captures.
    fn not_while_capturing(&self, what: &str) -> Result<(), DriverError> {
        match &self.capture {
            None => Ok(()),
            Some(_) => Err(DriverError::Failed(format!(
                "{what} while launches are captured"
            ))),
        }
    }

    fn writes_behind_mark(&mut self, to: u64, bytes: usize) {
        if let Some(written) = &mut self.behind_mark {
            written.push(to..to + bytes as u64);
        }
    }

    fn holds(&self, address: u64, bytes: usize) -> Result<(), DriverError> {
        type Holds = extern "C" fn(*mut c_void, *const c_void, usize) -> bool;
        let holds = self.host.call::<Holds>("host_holds");
        match holds(self.memory, address as *const c_void, bytes) {
            true => Ok(()),
            false => Err(DriverError::Failed(
                "a copy outside of every allocation".to_string(),
            )),
        }
    }

    fn execute(&self, launch: &Launch) -> Result<(), DriverError> {
        type Execute = extern "C" fn(
            *mut c_void,
            *const c_char,
            *const u32,
            u32,
            u32,
            u32,
            bool,
            u32,
            *const c_void,
            usize,
            *const Mode,
            *mut Counters,
            *mut c_char,
            usize,
        ) -> bool;
        let execute = self.host.call::<Execute>("host_launch");
        let name = CString::new(launch.kernel).expect("names of kernels have no zeros");
        let mut error = [0u8; 600];
        // Alignment of the largest that a kernel's arguments may have.
        let mut args = vec![0u128; launch.args.len().div_ceil(16)];
        bytemuck::cast_slice_mut(&mut args)[..launch.args.len()].copy_from_slice(&launch.args);
        let mut counters = Counters::default();
        let done = execute(
            self.memory,
            name.as_ptr(),
            launch.grid.as_ptr(),
            launch.threads,
            launch.shared_bytes,
            self.host.shared_bytes as u32,
            launch.cooperative,
            self.host.processors as u32,
            args.as_ptr().cast(),
            launch.args.len(),
            &self.host.mode,
            &mut counters,
            error.as_mut_ptr().cast(),
            error.len(),
        );
        if done {
            if let Some(observer) = &self.host.observer {
                observer(launch, &counters);
            }
            return Ok(());
        }
        let end = error.iter().position(|&byte| byte == 0).unwrap_or(0);
        Err(DriverError::Failed(
            String::from_utf8_lossy(&error[..end]).into_owned(),
        ))
    }
}

impl Stream for HostStream<'_> {
    fn allocate(&mut self, bytes: usize) -> Result<u64, DriverError> {
        self.not_while_capturing("an allocation")?;
        type Allocate = extern "C" fn(*mut c_void, usize) -> *mut c_void;
        let allocate = self.host.call::<Allocate>("host_allocate");
        let address = allocate(self.memory, bytes);
        match address.is_null() {
            true => Err(DriverError::OutOfMemory {
                bytes: bytes as u64,
                free: None,
            }),
            false => Ok(address as u64),
        }
    }

    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), DriverError> {
        self.not_while_capturing("a copy")?;
        self.holds(to, bytes.len())?;
        let to = to as *mut u8;
        // SAFETY: the bytes lie in an allocation of this stream, and no kernel runs.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        let copied = &self.host.copied.to_device;
        copied.fetch_add(bytes.len(), Ordering::Relaxed);
        self.writes_behind_mark(to as u64, bytes.len());
        Ok(())
    }

    fn read(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.not_while_capturing("a copy")?;
        self.holds(from, bytes.len())?;
        let from = from as *const u8;
        // SAFETY: as in `write`.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        let copied = &self.host.copied.to_host;
        copied.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), DriverError> {
        match &mut self.capture {
            Some(list) => {
                list.push(launch.clone());
                Ok(())
            }
            None => self.execute(launch),
        }
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        self.not_while_capturing("a capture")?;
        self.capture = Some(vec![]);
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        let list = self.capture.take();
        self.graphs.push(list.ok_or_else(|| {
            DriverError::Failed("the end of a capture that was not begun".to_string())
        })?);
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        self.not_while_capturing("a replay")?;
        let launches = &self.graphs[graph.0];
        launches.iter().try_for_each(|launch| self.execute(launch))
    }

    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<(), DriverError> {
        self.not_while_capturing("a copy")?;
        self.holds(from, bytes)?;
        self.holds(to, bytes)?;
        // SAFETY: as in `write`.
        unsafe { (to as *mut u8).copy_from(from as *const u8, bytes) };
        self.host.copied.within.fetch_add(bytes, Ordering::Relaxed);
        self.writes_behind_mark(to, bytes);
        Ok(())
    }

    fn mark(&mut self) -> Result<(), DriverError> {
        self.not_while_capturing("a mark")?;
        self.behind_mark = Some(vec![]);
        Ok(())
    }

    fn read_marked(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        let written = self.behind_mark.take().ok_or_else(|| {
            DriverError::Failed("a copy that waits for a mark: there is none".to_string())
        })?;
        let end = from + bytes.len() as u64;
        if written.iter().any(|to| to.start < end && from < to.end) {
            let words = "a copy of what was written behind the mark that it waits for";
            return Err(DriverError::Failed(words.to_string()));
        }
        self.behind_mark = Some(written);
        self.read(from, bytes)
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        self.not_while_capturing("a wait")
    }
}

impl Drop for HostStream<'_> {
    fn drop(&mut self) {
        let close = self.host.call::<extern "C" fn(*mut c_void)>("host_close");
        close(self.memory);
    }
}
