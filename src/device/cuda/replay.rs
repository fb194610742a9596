//! A list of launches as a stream runs it, and what is known of where an error in it came from.

use super::driver::{DriverError, Graph, Launch, Stream};

/// A list of launches.
pub struct Replayed {
    name: &'static str,
    /// Of each step.
    launches: Vec<Vec<Launch>>,
    /// Whether it has run kernel by kernel.
    tried: bool,
    /// All launches as one, once it has run again.
    graph: Option<Graph>,
    /// Runs of the graph that may not have ended yet.
    under_way: usize,
}

impl Replayed {
    /// A list that has not run.
    pub fn new(name: &'static str, launches: Vec<Vec<Launch>>) -> Replayed {
        Replayed {
            name,
            launches,
            tried: false,
            graph: None,
            under_way: 0,
        }
    }

    /// The launches of each step.
    pub fn launches(&self) -> &[Vec<Launch>] {
        &self.launches
    }

    /// Runs the list: the first time kernel by kernel, each waited for, so that one that cannot run
    /// or does wrong is known by its name; from then on as a graph, captured once, which tells no
    /// more than that one of its kernels failed.
    ///
    /// # Errors
    /// Those of the stream, with the kernel or the list before their words.
    pub fn run(&mut self, stream: &mut dyn Stream, times: usize) -> Result<(), DriverError> {
        let mut left = times;
        if !self.tried && left > 0 {
            for launch in self.launches.iter().flatten() {
                let done = stream.launch(launch).and_then(|()| stream.wait());
                done.map_err(|error| error.during(&format!("kernel {}", launch.kernel)))?;
            }
            self.tried = true;
            left -= 1;
        }
        if left == 0 {
            return Ok(());
        }
        let graph = match self.graph {
            Some(graph) => graph,
            None => *self.graph.insert(capture(stream, &self.launches)?),
        };
        for _ in 0..left {
            self.under_way += 1;
            let done = stream.replay(graph);
            done.map_err(|error| error.during(&self.runs()))?;
        }
        Ok(())
    }

    /// Whether it has run kernel by kernel.
    pub fn has_run(&self) -> bool {
        self.tried
    }

    /// The runs that an error which a later call tells of may come from; none where all have ended.
    pub fn under_way(&self) -> Option<String> {
        (self.under_way > 0).then(|| self.runs())
    }

    /// Notes that all runs have ended: the stream was waited for.
    pub fn ended(&mut self) {
        self.under_way = 0;
    }

    fn runs(&self) -> String {
        let (n, runs) = (self.launches.iter().flatten().count(), self.under_way);
        let s = if runs == 1 { "" } else { "s" };
        format!(
            "one of the {n} kernels of the list `{}`, in its last {runs} run{s}",
            self.name
        )
    }
}

fn capture(stream: &mut dyn Stream, launches: &[Vec<Launch>]) -> Result<Graph, DriverError> {
    stream.begin_capture()?;
    for launch in launches.iter().flatten() {
        let noted = stream.launch(launch);
        noted.map_err(|error| error.during(&format!("kernel {}", launch.kernel)))?;
    }
    stream.end_capture()
}
