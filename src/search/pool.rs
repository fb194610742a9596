//! Where the children of a search are trained: on a processor, whose threads and memory they share,
//! or on GPUs, each with one child at a time.

use std::sync::Arc;

use crate::device::{Device, DeviceError, Devices};
use crate::graph::Plan;

/// The devices of a search, and what is free of them.
pub struct Pool {
    devices: Devices,
    threads: usize,
    memory: u64,
    n_running: usize,
    /// Of each GPU.
    gpus: Vec<Gpu>,
}

/// What a GPU is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gpu {
    Free,
    Busy,
    Lost,
}

/// What a child takes of the devices.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Threads that train it.
    pub threads: usize,
    memory: u64,
    /// Number in the list of GPUs.
    gpu: Option<usize>,
}

/// A child's device.
pub struct Assignment {
    /// What trains it.
    pub device: Arc<dyn Device>,
    /// Its plan there.
    pub plan: Plan,
    /// What it takes, to be given back.
    pub share: Share,
}

impl Pool {
    /// Devices of which nothing is taken; `threads` and `memory` in bytes are what children take of
    /// a processor together.
    pub fn new(devices: Devices, threads: usize, memory: u64) -> Pool {
        let n_gpus = match &devices {
            Devices::Gpus(gpus) => gpus.len(),
            Devices::Cpu(_) | Devices::Reference => 0,
        };
        Pool {
            devices,
            threads: threads.max(1),
            memory,
            n_running: 0,
            gpus: vec![Gpu::Free; n_gpus],
        }
    }

    /// Children that have a place.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    /// Whether every GPU of some is lost.
    pub fn is_lost(&self) -> bool {
        !self.gpus.is_empty() && self.n_gpus() == 0
    }

    /// GPUs that are not lost.
    pub fn n_gpus(&self) -> usize {
        self.gpus.iter().filter(|gpu| **gpu != Gpu::Lost).count()
    }

    /// A device for a child that `plan` plans there, where one is free; `n_waiting` children wait, this
    /// among them.
    ///
    /// # Errors
    /// Where the threads cannot be started.
    pub fn assign(
        &mut self,
        n_waiting: usize,
        plan: impl Fn(&dyn Device) -> Plan,
    ) -> Result<Option<Assignment>, DeviceError> {
        let assignment = match &self.devices {
            Devices::Gpus(gpus) => {
                let free = self.gpus.iter().position(|gpu| *gpu == Gpu::Free);
                free.map(|number| Assignment {
                    plan: plan(&*gpus[number]),
                    device: Arc::clone(&gpus[number]),
                    share: Share {
                        threads: 1,
                        memory: 0,
                        gpu: Some(number),
                    },
                })
            }
            Devices::Cpu(_) | Devices::Reference => self.part(n_waiting, plan)?,
        };
        if let Some(Assignment { share, .. }) = &assignment {
            self.n_running += 1;
            self.memory -= share.memory;
            match share.gpu {
                Some(number) => self.gpus[number] = Gpu::Busy,
                None => self.threads -= share.threads,
            }
        }
        Ok(assignment)
    }

    /// A part of the processor.
    fn part(
        &self,
        n_waiting: usize,
        plan: impl Fn(&dyn Device) -> Plan,
    ) -> Result<Option<Assignment>, DeviceError> {
        if self.threads == 0 {
            return Ok(None);
        }
        // As many side by side as there are children; the threads left over go to the first.
        let threads = self.threads.div_ceil(self.threads.min(n_waiting));
        let device = self.devices.first(Some(threads))?;
        let plan = plan(&*device);
        let memory = plan.arena_bytes as u64;
        // A child that has the machine for itself may pass the limit by what its further threads
        // take.
        if memory > self.memory && self.n_running > 0 {
            return Ok(None);
        }
        Ok(Some(Assignment {
            device,
            plan,
            share: Share {
                threads,
                memory: memory.min(self.memory),
                gpu: None,
            },
        }))
    }

    /// Takes back what a child had.
    pub fn give_back(&mut self, share: Share) {
        self.n_running -= 1;
        self.memory += share.memory;
        match share.gpu {
            Some(number) if self.gpus[number] == Gpu::Busy => self.gpus[number] = Gpu::Free,
            Some(_) => {}
            None => self.threads += share.threads,
        }
    }

    /// Takes back what a child had whose device is lost: no child gets that one any more.
    pub fn lose(&mut self, share: Share) {
        if let Some(number) = share.gpu {
            self.gpus[number] = Gpu::Lost;
        }
        self.give_back(share);
    }
}
