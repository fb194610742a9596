//! The few calls that the engine makes of a GPU: allocate, copy, launch, capture, replay, wait. Made by
//! cudarc, or, in tests, by the host runner of the same kernels.

/// A call that failed; the words are the driver's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// No room for what was asked for.
    #[error("no room for {bytes} bytes")]
    OutOfMemory {
        /// As asked for.
        bytes: u64,
        /// Bytes that were free then, where the driver tells.
        free: Option<u64>,
    },
    /// A kernel was refused or did wrong; with an asynchronous driver, told by a later call.
    #[error("{0}")]
    Failed(String),
    /// The device is gone; nothing on it can be used any more.
    #[error("{0}")]
    Lost(String),
}

impl DriverError {
    /// The same, with what was being done before its words.
    pub fn during(self, what: &str) -> DriverError {
        match self {
            DriverError::Failed(words) => DriverError::Failed(format!("{what}: {words}")),
            DriverError::Lost(words) => DriverError::Lost(format!("{what}: {words}")),
            out_of_memory @ DriverError::OutOfMemory { .. } => out_of_memory,
        }
    }
}

/// The memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What an allocation may have at this moment; what ended sessions left counts.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// What differs between devices and matters for a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of shared memory that a block may have.
    pub shared_bytes: usize,
    /// Blocks of a cooperative launch at most, one a processor; none where there are no such launches.
    pub processors: usize,
}

/// A kernel with its configuration and arguments, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Name in `kernels/`.
    pub kernel: &'static str,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// Whether blocks wait for each other: all are resident at once, or it is refused.
    pub cooperative: bool,
    /// The kernel's one argument, a struct, as bytes.
    pub args: Vec<u8>,
}

/// Launches that were captured and can be run again as one; by the stream that captured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph(pub usize);

/// A GPU.
pub trait Driver: Send + Sync {
    /// Number and name, in a few words.
    fn describe(&self) -> String;

    /// What decides the bits of its results: the name alone.
    fn model(&self) -> String;

    /// What launches must respect.
    fn limits(&self) -> Limits;

    /// Its memory at this moment.
    ///
    /// # Errors
    /// Where the device is lost.
    fn memory(&self) -> Result<Memory, DriverError>;

    /// A queue of its own, with its own memory.
    ///
    /// # Errors
    /// Where the device is lost.
    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError>;
}

/// A queue: what it is given runs in order. Its memory is for others once it is dropped.
pub trait Stream {
    /// The address of `bytes` zeros, a multiple of 256.
    ///
    /// # Errors
    /// Where there is no room.
    fn allocate(&mut self, bytes: usize) -> Result<u64, DriverError>;

    /// Copies to the device.
    ///
    /// # Errors
    /// As all below: what this call or an earlier one came upon.
    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), DriverError>;

    /// Copies from the device, after all that came before.
    ///
    /// # Errors
    /// As for `write`.
    fn read(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError>;

    /// Runs a kernel, or, while launches are captured, notes it with a copy of its arguments.
    ///
    /// # Errors
    /// As for `write`.
    fn launch(&mut self, launch: &Launch) -> Result<(), DriverError>;

    /// Launches from now on are noted, not run.
    ///
    /// # Errors
    /// As for `write`.
    fn begin_capture(&mut self) -> Result<(), DriverError>;

    /// The launches noted.
    ///
    /// # Errors
    /// As for `write`.
    fn end_capture(&mut self) -> Result<Graph, DriverError>;

    /// Runs what was captured.
    ///
    /// # Errors
    /// As for `write`.
    fn replay(&mut self, graph: Graph) -> Result<(), DriverError>;

    /// Copies within the device, after all that came before; does not wait.
    ///
    /// # Errors
    /// As for `write`.
    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<(), DriverError>;

    /// Notes what came before, for `read_marked`; does not wait.
    ///
    /// # Errors
    /// As for `write`.
    fn mark(&mut self) -> Result<(), DriverError>;

    /// Copies from the device after all that came before the last mark, beside what came after it,
    /// which must not write there.
    ///
    /// # Errors
    /// As for `write`; where there is no mark.
    fn read_marked(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError>;

    /// Waits for all that came before.
    ///
    /// # Errors
    /// As for `write`.
    fn wait(&mut self) -> Result<(), DriverError>;
}
