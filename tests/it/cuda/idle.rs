//! A driver whose GPU does nothing: launches can be looked at for plans of any size.

use std::sync::{Arc, Mutex};

use nas_engine::device::cuda::driver::{
    Driver, DriverError, Graph, Launch, Limits, Memory, Stream,
};

/// A GPU that has as much memory as is asked for, notes what is launched, and does nothing.
pub struct Idle {
    limits: Limits,
    launched: Arc<Mutex<Vec<Launch>>>,
}

impl Idle {
    /// With what a launch must respect.
    pub fn new(limits: Limits) -> Idle {
        let launched = Arc::default();
        Idle { limits, launched }
    }

    /// All that was launched, as long as it is asked for.
    pub fn launched(&self) -> Arc<Mutex<Vec<Launch>>> {
        Arc::clone(&self.launched)
    }
}

impl Driver for Idle {
    fn describe(&self) -> String {
        self.model()
    }

    fn model(&self) -> String {
        "idle".to_string()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        let most = u64::MAX;
        Ok(Memory {
            free: most,
            total: most,
        })
    }

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        Ok(Box::new(IdleStream(self.launched())))
    }
}

struct IdleStream(Arc<Mutex<Vec<Launch>>>);

impl Stream for IdleStream {
    fn allocate(&mut self, _: usize) -> Result<u64, DriverError> {
        Ok(1 << 20)
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), DriverError> {
        Ok(())
    }

    fn read(&mut self, _: u64, _: &mut [u8]) -> Result<(), DriverError> {
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), DriverError> {
        let mut launched = self.0.lock().expect("no thread panics with it");
        launched.push(launch.clone());
        Ok(())
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        Ok(Graph(0))
    }

    fn replay(&mut self, _: Graph) -> Result<(), DriverError> {
        Ok(())
    }

    fn copy(&mut self, _: u64, _: u64, _: usize) -> Result<(), DriverError> {
        Ok(())
    }

    fn mark(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    fn read_marked(&mut self, _: u64, _: &mut [u8]) -> Result<(), DriverError> {
        Ok(())
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        Ok(())
    }
}
