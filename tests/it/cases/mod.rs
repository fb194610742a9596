//! The table of cases of every operation: tests and benches run them on devices and compare.
//!
//! A case is a tiny plan of forward and backward steps, the data for its inputs, and the buffers
//! to compare. Data is addressed by (seed, buffer) and exact in f32, so that every device starts
//! from the same.

use std::fmt;

use nas_engine::data::{Augment, Dataset};
use nas_engine::device::{Control, Device, DeviceError};
use nas_engine::graph::Shape;
use nas_engine::graph::plan::{Builder, Options, Storage};
use nas_engine::graph::step::{BufferId, ConvId, Source, Step};
use nas_engine::rng::{Purpose, Rng};

mod batchnorm;
mod classifier;
mod compare;
mod concat_pad;
mod conv;
mod decoder;
mod embedding;
mod gather;
mod global_average_pool;
mod lcn;
mod load_batch;
mod load_tokens;
mod optim;
mod pool;
mod recurrent;
mod run;
mod softmax_xent;

pub use compare::{Outputs, Tolerance, compare, same_bits};
use run::{ComparedPart, Labels, Script};
pub use run::{Nudge, Prepared};

/// Classes of the synthetic records that cases load.
const LOADED_CLASSES: usize = 10;

/// Every case of every operation.
pub fn all() -> Vec<Case> {
    [of_images(), of_text()].into_iter().flatten().collect()
}

/// The cases of what language models are made of.
pub fn of_text() -> Vec<Case> {
    [
        load_tokens::cases(),
        embedding::cases(),
        recurrent::cases(),
        decoder::cases(),
        optim::descents(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The cases of what convolutional networks are made of, which every device runs.
pub fn of_images() -> Vec<Case> {
    [
        conv::cases(),
        batchnorm::cases(),
        pool::cases(),
        lcn::cases(),
        concat_pad::cases(),
        global_average_pool::cases(),
        classifier::cases(),
        softmax_xent::cases(),
        optim::cases(),
        load_batch::cases(),
        gather::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Numbers for an input.
#[derive(Clone, Debug)]
pub enum Data {
    /// Normal with this mean and deviation.
    Normal(f64, f64),
    /// Uniform in a range.
    Uniform(f64, f64),
    /// Of a size that is uniform in a range, with either sign.
    Signed(f64, f64),
    /// Whole numbers from minus to plus this one: sums of products are exact, and there are ties.
    Integers(u32),
    /// One number everywhere.
    Constant(f64),
    /// These numbers in order.
    Literal(Vec<f64>),
}

impl Data {
    /// `len` values at (seed, index), exact in f32.
    fn values(&self, seed: u64, index: usize, len: usize) -> Vec<f64> {
        let mut rng = Rng::new(seed, Purpose::Test, index as u64);
        if let Data::Literal(values) = self {
            assert_eq!(values.len(), len, "a literal has one number for each place");
        }
        let value = |i: usize| match self {
            Data::Normal(mean, deviation) => mean + deviation * rng.normal(),
            Data::Uniform(low, high) => rng.uniform_in(*low, *high),
            Data::Signed(low, high) => {
                let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
                sign * rng.uniform_in(*low, *high)
            }
            Data::Integers(bound) => f64::from(rng.below(2 * bound + 1)) - f64::from(*bound),
            Data::Constant(value) => *value,
            Data::Literal(values) => values[i],
        };
        (0..len).map(value).map(|x| f64::from(x as f32)).collect()
    }
}

/// One case: a plan of a few steps, data, and what to compare.
pub struct Case {
    /// The operation's stem.
    pub op: &'static str,
    /// Shapes and what is special.
    pub name: String,
    /// Images of the batch.
    pub batch: usize,
    /// How far a device may be from the reference.
    pub tolerance: Tolerance,
    /// Number of trained parameters and of running statistics.
    vectors: [usize; 2],
    build: Box<dyn Fn(&mut Setup) + Send + Sync>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}, batch {}", self.op, self.name, self.batch)
    }
}

impl Case {
    /// A case whose plan `build` makes; `vectors` are the numbers of trained parameters and of
    /// running statistics.
    pub fn new(
        (op, name): (&'static str, String),
        batch: usize,
        vectors: [usize; 2],
        tolerance: Tolerance,
        build: impl Fn(&mut Setup) + Send + Sync + 'static,
    ) -> Case {
        Case {
            op,
            name,
            batch,
            tolerance,
            vectors,
            build: Box::new(build),
        }
    }

    /// The case's plan for a device, every buffer by itself and guarded.
    pub fn plan(&self, storage: &dyn Storage) -> Prepared {
        let options = Options {
            guard: 64,
            reuse: false,
            ..Options::new(self.batch)
        };
        let builder = Builder::new(storage, options, self.vectors[0], self.vectors[1]);
        let mut setup = Setup {
            builder,
            script: Script::new(self.to_string()),
        };
        (self.build)(&mut setup);
        setup.finish()
    }

    /// Runs the case on a device, forward and backward.
    ///
    /// # Errors
    /// If the plan cannot be loaded, or the device fails.
    pub fn run(&self, device: &dyn Device, seed: u64) -> Result<Outputs, DeviceError> {
        let prepared = self.plan(device);
        let mut session = prepared.load(device)?;
        prepared.run(&mut *session, seed)
    }
}

/// What a case is made with: a plan's builder that notes inputs and outputs.
pub struct Setup<'a> {
    /// The plan's builder.
    pub builder: Builder<'a>,
    script: Script,
}

impl Setup<'_> {
    /// Fills a buffer before the forward steps.
    pub fn fill(&mut self, buffer: BufferId, data: Data) {
        self.script.inputs.push((buffer, data));
    }

    /// Fills the weights.
    pub fn weights(&mut self, data: Data) {
        let weights = self.builder.plan().weights;
        self.fill(weights, data);
    }

    /// Images that are filled before the forward steps.
    pub fn images(&mut self, name: &str, shape: &Shape, data: Data) -> BufferId {
        let id = self.builder.images(name, shape);
        self.fill(id, data);
        id
    }

    /// Values, `per_image` for every image, that are filled before the forward steps.
    pub fn values(&mut self, name: &str, per_image: usize, data: Data) -> BufferId {
        let id = self.builder.values(name, per_image);
        self.fill(id, data);
        id
    }

    /// Images as the sources of a concatenation.
    pub fn sources(&mut self, shapes: &[Shape], data: Data) -> Vec<Source> {
        let mut first_channel = 0;
        let source = |(i, shape): (usize, &Shape)| {
            let source = Source {
                buffer: self.images(&format!("source {i}"), shape, data.clone()),
                shape: shape.clone(),
                first_channel,
            };
            first_channel += shape.c();
            source
        };
        shapes.iter().enumerate().map(source).collect()
    }

    /// A step of the forward pass.
    pub fn forward(&mut self, step: Step) {
        self.builder.plan().train.push(step);
    }

    /// A step of the backward pass.
    pub fn backward(&mut self, step: Step) {
        self.builder.plan().evaluate.push(step);
    }

    /// Compares `out` after the forward pass and then writes random numbers to `dout`, the gradient
    /// to it: the case's loss is the sum of their products.
    pub fn result(&mut self, out: BufferId, dout: BufferId) {
        self.result_with(out, dout, Data::Normal(0.0, 1.0));
    }

    /// As [`Setup::result`] with other numbers for `dout`.
    pub fn result_with(&mut self, out: BufferId, dout: BufferId, data: Data) {
        self.output(out);
        self.script.losses.push((out, dout, data));
    }

    /// Compares `dx`, the gradient of the loss to `x`, after the backward pass.
    pub fn gradient(&mut self, x: BufferId, dx: BufferId) {
        self.output_backward(dx);
        self.script.gradients.push((x, dx));
    }

    /// Compares the gradients to all trained parameters after the backward pass.
    pub fn weight_gradients(&mut self) {
        let plan = self.builder.plan();
        let (weights, gradients) = (plan.weights, plan.gradients);
        self.gradient(weights, gradients);
    }

    /// Compares a buffer after the forward pass.
    pub fn output(&mut self, buffer: BufferId) {
        self.script.outputs.push((buffer, ComparedPart::All));
    }

    /// Compares a buffer after the backward pass.
    pub fn output_backward(&mut self, buffer: BufferId) {
        self.script
            .outputs_backward
            .push((buffer, ComparedPart::All));
    }

    /// Compares row `row` of every `rows` of `[..][rows][8 planes]`, the channels of `shape` alone.
    pub fn statistics(&mut self, buffer: BufferId, shape: &Shape, row: usize, rows: usize) {
        let part = ComparedPart::row(shape, row, rows);
        self.script.outputs.push((buffer, part));
    }

    /// As [`Setup::statistics`], after the backward pass.
    pub fn statistics_backward(
        &mut self,
        buffer: BufferId,
        shape: &Shape,
        row: usize,
        rows: usize,
    ) {
        let part = ComparedPart::row(shape, row, rows);
        self.script.outputs_backward.push((buffer, part));
    }

    /// Compares the losses and the number of correct images; the mean loss is the case's loss.
    pub fn results(&mut self) {
        self.script.results = true;
    }

    /// Labels of the images, below `classes`, at random.
    pub fn labels(&mut self, classes: usize) {
        self.script.labels = Labels::Below(classes);
    }

    /// These labels.
    pub fn set_labels(&mut self, labels: &[u8]) {
        self.script.labels = Labels::These(labels.to_vec());
    }

    /// Records to load: views of synthetic images in an order that is not theirs.
    pub fn dataset(&mut self, augment: Augment, order: &[u32]) {
        self.script.augment = Some(augment);
        self.script.order = order.to_vec();
    }

    /// A text to load windows of, and where they begin.
    pub fn tokens(&mut self, tokens: &[u32], starts: &[u32]) {
        self.script.tokens = Some(tokens.to_vec());
        self.script.order = starts.to_vec();
    }

    /// Rates and epoch.
    pub fn control(&mut self) -> &mut Control {
        &mut self.script.control
    }

    /// Runs the forward steps this often.
    pub fn times(&mut self, times: usize) {
        self.script.times = times;
    }

    /// Says that finite differences do not give the gradient: data on a kink, such as ties.
    pub fn on_a_kink(&mut self) {
        self.script.smooth = false;
    }

    fn finish(mut self) -> Prepared {
        let plan = self.builder.plan();
        let packs = (0..plan.convs.len()).map(|i| Step::Pack(ConvId(i)));
        plan.prepare = packs.collect();
        let made = |_| Dataset::synthetic(24, 6, LOADED_CLASSES, 9);
        Prepared {
            plan: self.builder.finish(),
            dataset: self.script.augment.map(made),
            script: self.script,
        }
    }
}
