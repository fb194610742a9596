//! Where channels lie among the lanes of planes of 8: small arrays on the device that kernels look
//! channels up in, one for every way in which a plan's tensors are made of groups.

use std::collections::HashMap;

use super::declare::In;
use crate::graph::Shape;
use crate::graph::plan::Plan;
use crate::graph::step::Step;

/// The arrays in one piece, and where each begins.
pub struct Tables {
    /// All arrays.
    pub values: Vec<i32>,
    /// By groups: the first value of (channel of each lane, lane of each channel).
    starts: HashMap<Vec<usize>, (usize, usize)>,
    /// Address of `values` on the device.
    pub address: u64,
}

impl Tables {
    /// Of every tensor of `plan` whose channels a kernel looks up.
    pub fn new(plan: &Plan) -> Tables {
        let mut tables = Tables {
            values: vec![],
            starts: HashMap::new(),
            address: 0,
        };
        for conv in &plan.convs {
            tables.add(&conv.input);
            conv.sources.iter().for_each(|s| tables.add(&s.shape));
        }
        plan.norms.iter().for_each(|norm| tables.add(&norm.shape));
        for step in plan.train.iter().chain(&plan.evaluate) {
            match step {
                Step::GlobalAveragePool { sources, .. } => {
                    sources.iter().for_each(|s| tables.add(&s.shape));
                }
                Step::Gather { shape, .. } => tables.add(shape),
                _ => {}
            }
        }
        tables
    }

    fn add(&mut self, shape: &Shape) {
        if self.starts.contains_key(&shape.groups) {
            return;
        }
        let lanes: Vec<usize> = shape.lanes().collect();
        let mut channels = vec![-1; crate::shape::PLANE * shape.planes()];
        for (channel, &lane) in lanes.iter().enumerate() {
            channels[lane] = channel as i32;
        }
        let first = self.values.len();
        self.values.extend(&channels);
        self.values.extend(lanes.iter().map(|&lane| lane as i32));
        let starts = (first, first + channels.len());
        self.starts.insert(shape.groups.clone(), starts);
    }

    fn starts(&self, shape: &Shape) -> (usize, usize) {
        *self
            .starts
            .get(&shape.groups)
            .expect("the tables have every shape whose channels are looked up")
    }

    /// Of each lane its channel, or -1 for padding.
    pub fn channels(&self, shape: &Shape) -> In<i32> {
        In::at(self.address + 4 * self.starts(shape).0 as u64)
    }

    /// Of each channel its lane.
    pub fn lanes(&self, shape: &Shape) -> In<i32> {
        In::at(self.address + 4 * self.starts(shape).1 as u64)
    }
}
