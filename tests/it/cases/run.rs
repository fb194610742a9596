//! Running a case: inputs in, steps, outputs out; and its loss as a function of one input.

use half::bf16;

use super::Data;
use super::compare::{Output, Outputs};
use nas_engine::data::{Augment, Dataset};
use nas_engine::device::{Control, Device, DeviceError, Input, InputSource, List, Session};
use nas_engine::graph::Shape;
use nas_engine::graph::plan::Plan;
use nas_engine::graph::step::{BufferId, Content};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::shape::PLANE;

/// Which values of a buffer are compared.
pub(super) enum ComparedPart {
    All,
    /// One row of every `rows` of `[..][rows][width]`, at these places of it.
    Row {
        row: usize,
        rows: usize,
        width: usize,
        lanes: Vec<usize>,
    },
}

impl ComparedPart {
    /// A row of statistics, the channels of `shape` alone.
    pub(super) fn row(shape: &Shape, row: usize, rows: usize) -> ComparedPart {
        ComparedPart::Row {
            row,
            rows,
            width: PLANE * shape.planes(),
            lanes: shape.lanes().collect(),
        }
    }
}

/// Labels of the images.
pub(super) enum Labels {
    None,
    /// Random, below a number of classes.
    Below(usize),
    These(Vec<u8>),
}

/// What a case writes and reads around its steps.
pub(super) struct Script {
    label: String,
    pub(super) inputs: Vec<(BufferId, Data)>,
    /// Results, and the gradients to them with their numbers.
    pub(super) losses: Vec<(BufferId, BufferId, Data)>,
    pub(super) outputs: Vec<(BufferId, ComparedPart)>,
    pub(super) outputs_backward: Vec<(BufferId, ComparedPart)>,
    /// Inputs and the gradients to them.
    pub(super) gradients: Vec<(BufferId, BufferId)>,
    pub(super) results: bool,
    pub(super) labels: Labels,
    pub(super) augment: Option<Augment>,
    pub(super) tokens: Option<Vec<u32>>,
    pub(super) order: Vec<u32>,
    pub(super) control: Control,
    pub(super) times: usize,
    pub(super) smooth: bool,
    /// Whether data is rounded to bfloat16.
    bf16: bool,
}

impl Script {
    pub(super) fn new(label: String) -> Script {
        Script {
            label,
            inputs: vec![],
            losses: vec![],
            outputs: vec![],
            outputs_backward: vec![],
            gradients: vec![],
            results: false,
            labels: Labels::None,
            augment: None,
            tokens: None,
            order: vec![],
            control: Control {
                learning_rate: 0.1,
                momentum: 0.9,
                weight_decay: 1e-4,
                max_norm: 0.5,
                epoch: Some(3),
            },
            times: 1,
            smooth: true,
            bf16: false,
        }
    }
}

/// A case as a plan for one device.
pub struct Prepared {
    /// The plan: forward steps in `train`, backward steps in `evaluate`.
    pub plan: Plan,
    pub(super) script: Script,
    pub(super) dataset: Option<Dataset>,
}

/// A change of one value of an input before the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Nudge {
    /// The input.
    pub buffer: BufferId,
    /// Which of its values.
    pub index: usize,
    /// What is added.
    pub by: f64,
}

impl Prepared {
    /// The plan on a device.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn load<'a>(
        &'a self,
        device: &'a dyn Device,
    ) -> Result<Box<dyn Session + 'a>, DeviceError> {
        let images = |dataset| InputSource::Images {
            dataset,
            augment: self.script.augment.unwrap_or_default(),
        };
        let source = match &self.script.tokens {
            Some(tokens) => Some(InputSource::Tokens(tokens)),
            None => self.dataset.as_ref().map(images),
        };
        let input = source.map(|source| Input { source, seed: 5 });
        device.load(&self.plan, input)
    }

    /// Inputs and the gradients to them that the case computes, unless its data lie on a kink.
    pub fn gradients(&self) -> &[(BufferId, BufferId)] {
        if self.script.smooth {
            &self.script.gradients
        } else {
            &[]
        }
    }

    /// The same with data that is exact in bfloat16, for devices that compute with it.
    pub fn in_bf16(mut self) -> Prepared {
        self.script.bf16 = true;
        self
    }

    /// Forward and backward with the data of `seed`; everything to compare.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&self, session: &mut dyn Session, seed: u64) -> Result<Outputs, DeviceError> {
        let script = &self.script;
        self.forward(session, seed, None);
        let mut list: Vec<Output> = vec![];
        for (id, part) in &script.outputs {
            list.push(self.read(session, *id, part)?);
        }
        if script.results {
            let results = session.results()?;
            list.push(Output::new("loss_sums".into(), results.loss_sums));
            list.push(Output::new("correct".into(), vec![results.correct as f64]));
            let finite = if results.finite { 1.0 } else { 0.0 };
            list.push(Output::new("finite".into(), vec![finite]));
        }
        for (out, dout, data) in &script.losses {
            session.write(*dout, &self.dout(*out, data, seed));
        }
        session.run(List::Evaluate, 1);
        for (id, part) in &script.outputs_backward {
            list.push(self.read(session, *id, part)?);
        }
        Ok(Outputs {
            label: script.label.clone(),
            seed,
            list,
        })
    }

    /// The loss with one input value changed: the sum of the results' products with the gradients
    /// to them, and the mean cross-entropy if the case has one.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss(
        &self,
        session: &mut dyn Session,
        seed: u64,
        nudge: Nudge,
    ) -> Result<f64, DeviceError> {
        self.forward(session, seed, Some(nudge));
        let mut loss = 0.0;
        for (out, _, data) in &self.script.losses {
            let dout = self.dout(*out, data, seed);
            let out = session.read(*out)?;
            loss += out.iter().zip(&dout).map(|(x, dx)| x * dx).sum::<f64>();
        }
        if self.script.results {
            loss += session.results()?.loss_sums.iter().sum::<f64>() / self.plan.batch as f64;
        }
        Ok(loss)
    }

    fn forward(&self, session: &mut dyn Session, seed: u64, nudge: Option<Nudge>) {
        let script = &self.script;
        for (id, data) in &script.inputs {
            let mut values = self.values(data, seed, *id);
            if let Some(nudge) = nudge.filter(|nudge| nudge.buffer == *id) {
                values[nudge.index] += nudge.by;
            }
            session.write(*id, &values);
        }
        session.run(List::Prepare, 1);
        let batch = self.plan.batch as u32;
        let in_order: Vec<u32> = (0..batch * script.times as u32).collect();
        let order = if script.augment.is_some() || script.tokens.is_some() {
            &script.order
        } else {
            &in_order
        };
        session.begin(order, script.control);
        match &script.labels {
            Labels::None => {}
            Labels::Below(classes) => {
                let mut rng = Rng::new(seed, Purpose::Test, u64::from(u32::MAX));
                let labels = (0..batch).map(|_| rng.below(*classes as u32) as u8);
                session.set_labels(&labels.collect::<Vec<u8>>());
            }
            Labels::These(labels) => session.set_labels(labels),
        }
        session.run(List::Train, script.times);
    }

    /// Numbers for the gradient to `out`; not those that an input has.
    fn dout(&self, out: BufferId, data: &Data, seed: u64) -> Vec<f64> {
        self.values(data, seed + 1, out)
    }

    /// Numbers for a buffer.
    fn values(&self, data: &Data, seed: u64, id: BufferId) -> Vec<f64> {
        let mut values = data.values(seed, id.0, self.len(id));
        if self.script.bf16 {
            values
                .iter_mut()
                .for_each(|x| *x = bf16::from_f64(*x).to_f64());
        }
        values
    }

    fn len(&self, id: BufferId) -> usize {
        match &self.plan.buffer(id).content {
            Content::Images(shape) => shape.len() * self.plan.batch,
            Content::Values(n) => *n,
            Content::Statistics(shape) => shape.statistics_len() * self.plan.batch,
            Content::Bytes(_) => 0,
        }
    }

    fn read(
        &self,
        session: &mut dyn Session,
        id: BufferId,
        part: &ComparedPart,
    ) -> Result<Output, DeviceError> {
        let buffer = self.plan.buffer(id);
        let values = session.read(id)?;
        Ok(match part {
            ComparedPart::All => {
                let dims = match &buffer.content {
                    Content::Images(shape) => vec![self.plan.batch, shape.c(), shape.h, shape.w],
                    _ => vec![values.len()],
                };
                Output {
                    name: buffer.name.clone(),
                    dims,
                    values,
                }
            }
            ComparedPart::Row {
                row,
                rows,
                width,
                lanes,
            } => {
                let chunks = values.chunks(*width).skip(*row).step_by(*rows);
                let values = chunks.flat_map(|chunk| lanes.iter().map(|&lane| chunk[lane]));
                let values: Vec<f64> = values.collect();
                Output {
                    name: format!("{} row {row}", buffer.name),
                    dims: vec![values.len() / lanes.len(), lanes.len()],
                    values,
                }
            }
        })
    }
}
