//! A plan on a GPU: its memory, its launches, captured once, and what an epoch leaves.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Cuda;
use super::driver::{DriverError, Launch, Stream};
use super::epoch::{self, Control, Epoch};
use super::launches::{Launches, Parts, most_cooperative};
use super::layout::{from_planes, to_planes};
use super::optim;
use super::records::Records;
use super::snapshot::Snapshot;
use super::tables::Tables;
use super::work::Work;
use crate::device::arena::GUARD;
use crate::device::{self, DeviceError, Input, List, Results, Session};
use crate::graph::Shape;
use crate::graph::plan::Plan;
use crate::graph::step::{BufferId, Content, Step};

/// Batches of an epoch at least, for plans that load no data.
const LEAST_BATCHES: usize = 64;
/// About how long the device works on its own before a session waits for it to ask whether to stop.
const QUEUED: Duration = Duration::from_millis(100);

/// A plan with all that it needs to run.
pub struct CudaSession<'a> {
    cuda: &'a Cuda,
    plan: &'a Plan,
    stream: Box<dyn Stream + 'a>,
    arena: u64,
    epoch: Epoch,
    /// Records and batches of an epoch at most.
    capacity: usize,
    /// Blocks of the optimizer.
    n_blocks: usize,
    /// How the parts of each buffer of statistics lie.
    parts: HashMap<BufferId, Parts>,
    lists: [Work; 3],
    /// Guard bands in bytes, each with the number of the buffer before it.
    guards: Vec<(usize, Range<usize>)>,
    /// Batches whose loss was computed since the epoch began.
    n_losses: usize,
    /// Batches of the epoch that were run before it began here.
    first_loss: usize,
    snapshot: Snapshot,
    /// What went wrong first.
    failure: Option<DriverError>,
}

impl<'a> CudaSession<'a> {
    pub fn new(
        cuda: &'a Cuda,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<CudaSession<'a>, DeviceError> {
        let session = CudaSession::open(cuda, plan, input);
        session.map_err(|error| cuda.error(error))
    }

    fn open(
        cuda: &'a Cuda,
        plan: &'a Plan,
        input: Option<Input<'a>>,
    ) -> Result<CudaSession<'a>, DriverError> {
        let mut stream = cuda.driver.stream()?;
        let data = Records::new(input.as_ref());
        let capacity = data.n().max(LEAST_BATCHES * plan.batch);
        let Content::Values(n_weights) = plan.buffer(plan.weights).content else {
            unreachable!("weights are values");
        };
        let n_blocks = optim::n_blocks(n_weights);
        let mut tables = Tables::new(plan);
        let bytes = [
            plan.arena_bytes,
            4 * tables.values.len(),
            size_of::<Control>(),
            4 * capacity,
            4 * plan.batch,
            4 * epoch::N_COUNTERS,
            8 * capacity,
            4 * n_blocks,
            optim::squares_bytes(n_weights),
            8 * most_cooperative(plan),
            Snapshot::bytes(plan),
            data.bytes(),
        ]
        .map(|bytes| bytes.max(1));
        let [
            arena,
            table_values,
            control,
            order,
            labels,
            counters,
            loss_sums,
            not_finite,
            squares,
            arrivals,
            snapshot,
            records,
        ] = allocate(cuda, &mut *stream, bytes)?;
        tables.address = table_values;
        stream.write(tables.address, bytemuck::cast_slice(&tables.values))?;
        data.upload(&mut *stream, records)?;
        let epoch = Epoch {
            control,
            order,
            labels,
            counters,
            loss_sums,
            not_finite,
            squares,
            arrivals,
            records,
            n_tokens: data.n_tokens(),
            seed: input.map_or(0, |input| input.seed),
            augment: data.augment(),
        };
        let mut launches = Launches::new(plan, cuda.driver.limits(), arena, &tables, epoch);
        let lists = [
            ("prepare", &plan.prepare),
            ("train", &plan.train),
            ("evaluate", &plan.evaluate),
        ]
        .map(|(name, steps)| {
            let by_step = steps.iter().map(|step| launches.of(step));
            Work::new(name, by_step.collect())
        });
        let guards = plan.guard_bands();
        for (_, band) in &guards {
            let pattern = vec![GUARD; band.len() / 4];
            stream.write(arena + band.start as u64, bytemuck::cast_slice(&pattern))?;
        }
        Ok(CudaSession {
            cuda,
            plan,
            stream,
            arena,
            epoch,
            capacity,
            n_blocks,
            parts: launches.into_parts(),
            lists,
            guards,
            n_losses: 0,
            first_loss: 0,
            snapshot: Snapshot::new(snapshot),
            failure: None,
        })
    }

    /// The launches of each step of the list that trains.
    pub(super) fn train_launches(&self) -> &[Vec<Launch>] {
        self.lists[1].launches()
    }

    pub(super) fn stream(&mut self) -> &mut (dyn Stream + 'a) {
        &mut *self.stream
    }

    /// Keeps the first thing that went wrong; nothing is done after it.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Result<(), DriverError>) {
        if self.failure.is_none() {
            self.failure = work(self).err();
        }
    }

    fn address(&self, buffer: BufferId) -> u64 {
        self.arena + self.plan.buffer(buffer).offset as u64
    }

    fn fetch<T: bytemuck::Pod>(&mut self, from: u64, n: usize) -> Result<Vec<T>, DeviceError> {
        let mut values = vec![T::zeroed(); n];
        self.attempt(|session| {
            let bytes = bytemuck::cast_slice_mut(&mut values);
            let done = session.stream.read(from, bytes);
            done.map_err(|error| session.came_from(error))?;
            session.lists.iter_mut().for_each(Work::ended);
            Ok(())
        });
        self.told()?;
        Ok(values)
    }

    /// What went wrong first, if anything did.
    fn told(&self) -> Result<(), DeviceError> {
        match &self.failure {
            None => Ok(()),
            Some(error) => Err(self.cuda.error(error.clone())),
        }
    }

    /// Waits for all that was run.
    fn wait(&mut self) -> Result<(), DriverError> {
        let waited = self.stream.wait();
        waited.map_err(|error| self.came_from(error))?;
        self.lists.iter_mut().for_each(Work::ended);
        Ok(())
    }

    /// An error that a call tells of which waited: with what ran before it, which it may come from.
    fn came_from(&self, error: DriverError) -> DriverError {
        let lists: Vec<String> = self.lists.iter().filter_map(Work::under_way).collect();
        match lists.is_empty() {
            true => error,
            false => error.during(&lists.join(", or ")),
        }
    }

    /// The parts of each image's statistics as one: `[n][2][8 planes]`.
    fn statistics(&mut self, buffer: BufferId, shape: &Shape) -> Result<Vec<f64>, DeviceError> {
        let len = shape.statistics_len();
        let Some(parts) = self.parts.get(&buffer).copied() else {
            return Ok(vec![0.0; self.plan.batch * len]);
        };
        let n = self.plan.batch * parts.per_image * len;
        let values: Vec<f32> = self.fetch(self.address(buffer), n)?;
        let are_moments = !self.plan.norms.iter().any(|norm| norm.dz_sums == buffer);
        let images = values.chunks_exact(parts.per_image * len);
        Ok(images
            .flat_map(|image| {
                let rows: Vec<&[f32]> = image.chunks_exact(len).collect();
                match are_moments {
                    true => join_moments(&rows, shape, parts.tile),
                    false => (0..len)
                        .map(|i| rows.iter().map(|row| f64::from(row[i])).sum())
                        .collect(),
                }
            })
            .collect())
    }
}

/// Mean and sum of squared differences of an image from those of its tiles.
fn join_moments(tiles: &[&[f32]], shape: &Shape, tile: [usize; 2]) -> Vec<f64> {
    let across = shape.w.div_ceil(tile[1]);
    let count = |i: usize| {
        let h = tile[0].min(shape.h - i / across * tile[0]);
        let w = tile[1].min(shape.w - i % across * tile[1]);
        (h * w) as f64
    };
    let width = tiles[0].len() / 2;
    let total = (shape.h * shape.w) as f64;
    let each = |of: &dyn Fn(usize) -> f64| (0..tiles.len()).map(of).sum::<f64>();
    let value = |i: usize, lane: usize| f64::from(tiles[i][lane]);
    let mean = |lane: usize| each(&|i| count(i) * value(i, lane)) / total;
    let squares = |lane: usize| {
        let mean = mean(lane);
        each(&|i| value(i, width + lane) + count(i) * (value(i, lane) - mean).powi(2))
    };
    (0..width)
        .map(mean)
        .chain((0..width).map(squares))
        .collect()
}

/// Memory for each of some sizes, or none where they do not fit together.
fn allocate<const N: usize>(
    cuda: &Cuda,
    stream: &mut dyn Stream,
    bytes: [usize; N],
) -> Result<[u64; N], DriverError> {
    let needed: u64 = bytes.iter().map(|&bytes| bytes as u64).sum();
    let free = cuda.driver.memory()?.free;
    if needed > free {
        return Err(DriverError::OutOfMemory {
            bytes: needed,
            free: Some(free),
        });
    }
    let mut addresses = [0; N];
    for (address, bytes) in addresses.iter_mut().zip(bytes) {
        *address = stream.allocate(bytes)?;
    }
    Ok(addresses)
}

impl Session for CudaSession<'_> {
    fn write(&mut self, buffer: BufferId, values: &[f64]) {
        let (plan, address) = (self.plan, self.address(buffer));
        self.attempt(|session| match &plan.buffer(buffer).content {
            Content::Images(shape) => {
                let planes = to_planes(shape, values);
                session.stream.write(address, bytemuck::cast_slice(&planes))
            }
            Content::Values(_) | Content::Statistics(_) | Content::Bytes(_) => {
                let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                session.stream.write(address, bytemuck::cast_slice(&values))
            }
        });
    }

    fn read(&mut self, buffer: BufferId) -> Result<Vec<f64>, DeviceError> {
        let (plan, address) = (self.plan, self.address(buffer));
        match &plan.buffer(buffer).content {
            Content::Images(shape) => {
                let n = plan.batch * super::layout::image_len(shape);
                let planes: Vec<u16> = self.fetch(address, n)?;
                Ok(from_planes(shape, &planes))
            }
            Content::Statistics(shape) => self.statistics(buffer, shape),
            Content::Values(n) => {
                let values: Vec<f32> = self.fetch(address, *n)?;
                Ok(values.into_iter().map(f64::from).collect())
            }
            Content::Bytes(_) => Ok(vec![]),
        }
    }

    fn begin_at(&mut self, order: &[u32], n_batches: usize, control: device::Control) {
        assert!(
            order.len() <= self.capacity,
            "an epoch has at most the records of its data"
        );
        self.n_losses = 0;
        self.first_loss = n_batches;
        let on_device = Control {
            learning_rate: control.learning_rate,
            momentum: control.momentum,
            weight_decay: control.weight_decay,
            max_norm: control.max_norm,
            epoch: control.epoch.map_or(-1, |epoch| epoch as i32),
            n_records: order.len() as i32,
        };
        let mut counters = [0i32; epoch::N_COUNTERS];
        counters[epoch::BATCH_IDX] = n_batches as i32;
        counters[epoch::N_IMAGES] = self.plan.batch as i32;
        let finite = vec![0i32; self.n_blocks];
        self.attempt(|session| {
            let places = session.epoch;
            let stream = &mut session.stream;
            stream.write(places.control, bytemuck::bytes_of(&on_device))?;
            stream.write(places.order, bytemuck::cast_slice(order))?;
            stream.write(places.counters, bytemuck::bytes_of(&counters))?;
            stream.write(places.not_finite, bytemuck::cast_slice(&finite))
        });
    }

    fn set_labels(&mut self, labels: &[u8]) {
        let n_images = labels.len() as i32;
        let labels: Vec<i32> = labels.iter().map(|&label| i32::from(label)).collect();
        self.attempt(|session| {
            let places = session.epoch;
            let stream = &mut session.stream;
            stream.write(places.labels, bytemuck::cast_slice(&labels))?;
            let counter = places.counters + 4 * epoch::N_IMAGES as u64;
            stream.write(counter, bytemuck::bytes_of(&n_images))
        });
    }

    fn run(&mut self, list: List, times: usize) {
        let (list, steps) = match list {
            List::Prepare => (0, &self.plan.prepare),
            List::Train => (1, &self.plan.train),
            List::Evaluate => (2, &self.plan.evaluate),
        };
        let loss = |step: &&Step| {
            matches!(
                step,
                Step::SoftmaxXent { .. } | Step::Decoder(_) | Step::DecoderLoss(_)
            )
        };
        self.n_losses += times * steps.iter().filter(loss).count();
        self.attempt(|session| {
            if !session.lists[list].has_run() {
                // What went wrong before is not its first kernel's fault.
                session.wait()?;
            }
            session.lists[list].run(&mut *session.stream, times)
        });
    }

    fn run_until(&mut self, list: List, times: usize, stop: &(dyn Fn() -> bool + Sync)) -> usize {
        let (mut n_run, mut together) = (0, 1);
        while n_run < times && self.failure.is_none() && !stop() {
            let n = together.min(times - n_run);
            let begun = Instant::now();
            self.run(list, n);
            self.attempt(CudaSession::wait);
            n_run += n;
            if begun.elapsed() < QUEUED {
                together *= 2;
            }
        }
        n_run
    }

    fn works_alone(&self) -> bool {
        true
    }

    fn keep(&mut self) {
        self.attempt(|session| {
            let stream = &mut *session.stream;
            session.snapshot.keep(stream, session.plan, session.arena)
        });
    }

    fn kept(&mut self) -> Result<Vec<Vec<f64>>, DeviceError> {
        let mut kept = vec![];
        self.attempt(|session| {
            let copied = session.snapshot.kept(&mut *session.stream, session.plan);
            kept = copied.map_err(|error| session.came_from(error))?;
            Ok(())
        });
        self.told()?;
        Ok(kept)
    }

    fn results(&mut self) -> Result<Results, DeviceError> {
        let places = self.epoch;
        let counters: Vec<i32> = self.fetch(places.counters, epoch::N_COUNTERS)?;
        let first = places.loss_sums + 8 * self.first_loss as u64;
        let loss_sums = self.fetch(first, self.n_losses)?;
        let not_finite: Vec<i32> = self.fetch(places.not_finite, self.n_blocks)?;
        Ok(Results {
            loss_sums,
            correct: counters[epoch::CORRECT] as u64,
            finite: counters[epoch::NOT_FINITE] == 0 && not_finite.iter().all(|&flag| flag == 0),
        })
    }

    fn broken_guard(&mut self) -> Option<String> {
        let bands = self.guards.clone();
        bands.into_iter().find_map(|(buffer, band)| {
            let from = self.arena + band.start as u64;
            let words: Vec<u32> = self.fetch(from, band.len() / 4).unwrap_or_default();
            let intact = words.len() == band.len() / 4 && words.iter().all(|&word| word == GUARD);
            (!intact).then(|| self.plan.buffers[buffer].name.clone())
        })
    }
}
