//! The launches of a plan's training step one by one, for benches and tests: which kernels each
//! step is made of, and how long they take.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Cuda;
use super::driver::{DriverError, Graph, Launch};
use super::session::CudaSession;
use crate::device::{Control, DeviceError, Input, InputSource, Session};
use crate::graph::plan::Plan;

/// Runs of the launches in one graph, at least: what it takes to start one is spread over them.
const LEAST_RUNS: usize = 16;

/// A plan on a device, several times over. What is timed runs on one copy after the other, so that
/// with enough of them no run finds in the cache what the one before it has read.
pub struct Probe<'a> {
    cuda: &'a Cuda,
    copies: Vec<CudaSession<'a>>,
    /// Records of the batch that is loaded.
    order: Vec<u32>,
    /// By step and launches.
    graphs: HashMap<(usize, Range<usize>), Graph>,
}

impl<'a> Probe<'a> {
    /// Loads `n_copies` (at least one) of a plan.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn new(
        cuda: &'a Cuda,
        plan: &'a Plan,
        input: Option<Input<'a>>,
        n_copies: usize,
    ) -> Result<Probe<'a>, DeviceError> {
        let copies = (0..n_copies.max(1)).map(|_| CudaSession::new(cuda, plan, input));
        let n_records = input.map_or(1, |input| match input.source {
            InputSource::Images { dataset, .. } => dataset.n_train().max(1),
            InputSource::Tokens(_) => 1, // the window at the text's beginning
        });
        Ok(Probe {
            cuda,
            copies: copies.collect::<Result<_, _>>()?,
            order: (0..plan.batch).map(|i| (i % n_records) as u32).collect(),
            graphs: HashMap::new(),
        })
    }

    /// Every copy, to be filled.
    pub fn sessions(&mut self) -> impl Iterator<Item = &mut dyn Session> {
        self.copies.iter_mut().map(|copy| copy as &mut dyn Session)
    }

    /// The launches of each step of [`Plan::train`].
    pub fn launches(&self) -> &[Vec<Launch>] {
        self.copies[0].train_launches()
    }

    /// Time from the first launch to the end of the last, for `times` runs of a range of the
    /// launches of a step; a run goes on where the one before it has left the memory.
    ///
    /// # Errors
    /// If a launch failed, now or before.
    pub fn time(
        &mut self,
        step: usize,
        launches: Range<usize>,
        times: usize,
    ) -> Result<Duration, DeviceError> {
        let control = Control {
            epoch: Some(0),
            ..Control::EVALUATE
        };
        for copy in &mut self.copies {
            copy.begin(&self.order, control); // at batch 0, where loads and losses have their place
            copy.results()?; // waits: the copies have streams of their own
        }
        let timed = self.replay(step, launches, times);
        timed.map_err(|error| self.cuda.error(error))
    }

    fn replay(
        &mut self,
        step: usize,
        launches: Range<usize>,
        times: usize,
    ) -> Result<Duration, DriverError> {
        let n_runs = LEAST_RUNS.next_multiple_of(self.copies.len());
        let graph = match self.graphs.get(&(step, launches.clone())) {
            Some(graph) => *graph,
            None => self.capture(step, launches, n_runs)?,
        };
        let stream = self.copies[0].stream();
        let begun = Instant::now();
        for _ in 0..times {
            stream.replay(graph)?;
        }
        stream.wait()?;
        Ok(begun.elapsed() / n_runs as u32)
    }

    fn capture(
        &mut self,
        step: usize,
        launches: Range<usize>,
        n_runs: usize,
    ) -> Result<Graph, DriverError> {
        let of_copies = self.copies.iter();
        let lists = of_copies.map(|copy| copy.train_launches()[step][launches.clone()].to_vec());
        let lists: Vec<Vec<Launch>> = lists.collect();
        let stream = self.copies[0].stream();
        stream.begin_capture()?;
        for launch in lists.iter().cycle().take(n_runs).flatten() {
            stream.launch(launch)?;
        }
        let graph = stream.end_capture()?;
        // The first replay brings the graph to the device.
        stream.replay(graph)?;
        stream.wait()?;
        self.graphs.insert((step, launches), graph);
        Ok(graph)
    }
}
