//! Devices: what runs a plan. They know steps and buffers, nothing of architectures.
//!
//! [`mod@reference`] is the specification, plain f64 loops; [`cpu`] is fast. Both run the same plans
//! through the same two traits, so that one table of cases (`tests/it/cases`) tests them against each other.

use std::fmt;

use crate::data::{Augment, Dataset};
use crate::graph::plan::{Plan, Storage};
use crate::graph::step::{BufferId, Step};

pub use choose::{DeviceRequest, Devices, NAMES, gpu_numbers, names, open, open_all, open_first};
pub use policy::PolicySession;

pub mod arena;
mod choose;
pub mod cpu;
pub mod cuda;
pub mod policy;
pub mod reference;

/// Which sums a convolution may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convolution {
    /// Transforms where they are faster: they round a little more (1e-4 of the largest value).
    #[default]
    Auto,
    /// Plain sums only.
    Direct,
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Convolution::Auto => "auto",
            Convolution::Direct => "direct",
        })
    }
}

/// Why a device cannot be used or failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A name that no device has.
    #[error("unknown device `{0}`; use {names}", names = names())]
    Unknown(String),
    /// A list of GPUs with one of them twice.
    #[error("`{name}` names GPU {number} twice; name it once")]
    Twice {
        /// The list.
        name: String,
        /// The GPU.
        number: usize,
    },
    /// A device that this machine or this build lacks.
    #[error("{device} cannot be used: {reason}; use --device cpu")]
    Unavailable {
        /// The device as asked for.
        device: String,
        /// Why not.
        reason: String,
    },
    /// The threads of the device could not be started.
    #[error("cannot start {threads} threads: {reason}; use fewer with --threads")]
    Threads {
        /// As asked for.
        threads: usize,
        /// The system's words.
        reason: String,
    },
    /// A plan and what goes with it does not fit.
    #[error(
        "{device} has no room for {bytes} bytes{}; use a smaller batch or model, or another --device",
        free.map_or(String::new(), |free| format!(", as {free} are free"))
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// What is needed.
        bytes: u64,
        /// What is free, where the device tells.
        free: Option<u64>,
    },
    /// The device refused or failed in some of its work; other work can go on.
    #[error("{device} failed: {what}; run it again, or use --device cpu")]
    Failed {
        /// The device.
        device: String,
        /// What it was doing, and its own words.
        what: String,
    },
    /// The device is gone, for this process at least.
    #[error("{device} is lost: {what}; run it again, or use another --device")]
    Lost {
        /// The device.
        device: String,
        /// What it was doing, and its own words.
        what: String,
    },
}

/// The data that a session loads batches of.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Where the records or words are.
    pub source: InputSource<'a>,
    /// Seed of crops and flips, and of dropout.
    pub seed: u64,
}

/// Where batches come from.
#[derive(Clone, Copy)]
pub enum InputSource<'a> {
    /// Images, by `LoadBatch`.
    Images {
        /// Where the records are.
        dataset: &'a Dataset,
        /// Which views of them.
        augment: Augment,
    },
    /// Text, by `LoadTokens`: rows as [`Windows`](crate::data::windows::Windows) has them. The
    /// records of an epoch are where its windows begin.
    Tokens(&'a [u32]),
}

impl<'a> Input<'a> {
    /// Images, and the seed of their crops and flips.
    pub fn of_images(dataset: &'a Dataset, augment: Augment, seed: u64) -> Input<'a> {
        let source = InputSource::Images { dataset, augment };
        Input { source, seed }
    }

    /// Images and which views of them.
    ///
    /// # Panics
    /// If it is text: a plan that loads images is given images.
    pub fn images(&self) -> (&'a Dataset, Augment) {
        match self.source {
            InputSource::Images { dataset, augment } => (dataset, augment),
            InputSource::Tokens(_) => panic!("a plan that loads images is given images"),
        }
    }

    /// The words.
    ///
    /// # Panics
    /// If it is images: a plan that loads words is given words.
    pub fn tokens(&self) -> &'a [u32] {
        match self.source {
            InputSource::Tokens(tokens) => tokens,
            InputSource::Images { .. } => panic!("a plan that loads words is given words"),
        }
    }
}

/// Which steps of a plan to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// [`Plan::prepare`].
    Prepare,
    /// [`Plan::train`].
    Train,
    /// [`Plan::evaluate`].
    Evaluate,
}

impl List {
    /// Its steps in a plan.
    pub fn steps(self, plan: &Plan) -> &[Step] {
        match self {
            List::Prepare => &plan.prepare,
            List::Train => &plan.train,
            List::Evaluate => &plan.evaluate,
        }
    }
}

/// The block of counters and rates on the device, set once an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// Learning rate of the epoch.
    pub learning_rate: f32,
    /// Nesterov momentum.
    pub momentum: f32,
    /// Weight decay of every parameter.
    pub weight_decay: f32,
    /// Largest norm of the gradient in `Descend`; a longer one is shortened to it.
    pub max_norm: f32,
    /// Crop and flip by (seed, epoch, record), or `None` for the evaluation view.
    pub epoch: Option<u32>,
}

impl Control {
    /// What evaluation uses: its own view of each image, and rates that change nothing.
    pub const EVALUATE: Control = Control {
        learning_rate: 0.0,
        momentum: 0.0,
        weight_decay: 0.0,
        max_norm: f32::INFINITY,
        epoch: None,
    };
}

/// Where in training a window of text is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seed of the masks.
    pub seed: u64,
    /// The epoch; nothing is dropped in evaluation.
    pub epoch: Option<u32>,
    /// Windows of the epoch before this one.
    pub batch: u32,
}

/// What an epoch left on the device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Sum of the cross-entropy over the images of each batch, before its update.
    pub loss_sums: Vec<f64>,
    /// Images whose largest logit was their label's.
    pub correct: u64,
    /// Whether every loss and every updated weight was finite.
    pub finite: bool,
}

/// A device: makes plans possible and runs them.
pub trait Device: Storage + Send + Sync {
    /// Kind and size in a line, such as `cpu (AVX2, 2 threads)`.
    fn describe(&self) -> String;

    /// What decides the bits of its results, such as `cpu (AVX2)`.
    fn model(&self) -> String {
        self.describe()
    }

    /// Bytes of a memory of its own, all there is; nothing where it uses the machine's.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }

    /// Allocates all that `plan` needs and nothing after it. Buffers start as zeros.
    ///
    /// # Errors
    /// Where it does not fit, or the device fails.
    fn load<'a>(
        &'a self,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<Box<dyn Session + 'a>, DeviceError>;

    /// The controller's policy on this device, with room for `capacity` samples at once; nothing
    /// where the device leaves that to the host.
    ///
    /// # Errors
    /// Where it does not fit.
    fn policy<'a>(
        &'a self,
        _policy: &policy::Policy,
        _capacity: usize,
    ) -> Result<Option<Box<dyn PolicySession + 'a>>, DeviceError> {
        Ok(None)
    }
}

/// A plan on a device.
pub trait Session {
    /// Writes a buffer. Images are `[n][c][h][w]`, other contents their values in order; every
    /// device holds f32 exactly, the reference f64.
    fn write(&mut self, buffer: BufferId, values: &[f64]);

    /// Waits, and reads a buffer in the form of [`Session::write`].
    ///
    /// # Errors
    /// Where the device failed, perhaps in a step that was run before: a device that works on its
    /// own tells of it here.
    fn read(&mut self, buffer: BufferId) -> Result<Vec<f64>, DeviceError>;

    /// Begins an epoch over `order` (record numbers) at its first batch, with no results.
    fn begin(&mut self, order: &[u32], control: Control) {
        self.begin_at(order, 0, control);
    }

    /// As [`Session::begin`], but after `n_batches` of the epoch, which were run elsewhere: with
    /// their [`Plan::state`] written, the others give the same bits. Results are those of the others.
    fn begin_at(&mut self, order: &[u32], n_batches: usize, control: Control);

    /// Sets the labels of a batch whose images were written, not loaded (tests).
    fn set_labels(&mut self, labels: &[u8]);

    /// Runs a list of steps `times` times; the last step of a list advances the batch. The last
    /// batch of an evaluation may be smaller.
    fn run(&mut self, list: List, times: usize);

    /// As [`Session::run`], but asks `stop` between one time and the next, and ends where it says so;
    /// how many times it ran. A device that works on its own is waited for, and `stop` asked, about
    /// every tenth of a second.
    fn run_until(&mut self, list: List, times: usize, stop: &(dyn Fn() -> bool + Sync)) -> usize;

    /// Whether [`Session::run`] returns before its work is done.
    fn works_alone(&self) -> bool {
        false
    }

    /// Copies [`Plan::state`] aside, as it is after all that was run so far. Does not wait: what is
    /// run next goes on meanwhile.
    ///
    /// # Panics
    /// A device with memory of its own: if the plan does not train.
    fn keep(&mut self);

    /// What the last [`Session::keep`] copied, each buffer in the form of [`Session::read`]; waits
    /// for that alone.
    ///
    /// # Errors
    /// As [`Session::read`].
    fn kept(&mut self) -> Result<Vec<Vec<f64>>, DeviceError>;

    /// Waits, and reads what was left since [`Session::begin`].
    ///
    /// # Errors
    /// As [`Session::read`].
    fn results(&mut self) -> Result<Results, DeviceError>;

    /// The first buffer whose guard band was written to; needs a plan with guards.
    fn broken_guard(&mut self) -> Option<String>;
}
