//! Language models at the limits of what settings allow: their grids are ones that a GPU takes. No
//! kernel runs, and no memory is needed.

use nas_engine::device::Device;
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::{
    Driver, DriverError, Graph, Launch, Limits, Memory, Stream,
};
use nas_engine::graph::language::{INITIAL, LanguageModel, LanguageSettings, MAX_HIDDEN};
use nas_engine::graph::recurrent::Dropout;
use nas_engine::graph::{Options, Plan};
use nas_engine::space::CellArchitecture;

use super::host::PROFILES;

/// A GPU that has as much memory as is asked for, and does nothing.
struct Idle {
    processors: usize,
}

impl Driver for Idle {
    fn describe(&self) -> String {
        self.model()
    }

    fn model(&self) -> String {
        "idle".to_string()
    }

    fn limits(&self) -> Limits {
        Limits {
            shared_bytes: PROFILES[2],
            processors: self.processors,
        }
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        let most = u64::MAX;
        Ok(Memory {
            free: most,
            total: most,
        })
    }

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        Ok(Box::new(IdleStream))
    }
}

struct IdleStream;

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

    fn launch(&mut self, _: &Launch) -> Result<(), DriverError> {
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

    fn wait(&mut self) -> Result<(), DriverError> {
        Ok(())
    }
}

/// Makes the launches of LSTM layers, by windows and by steps.
fn load(batch: usize, steps: usize, hidden: usize, vocabulary: usize) {
    let settings = LanguageSettings {
        layers: 2,
        hidden,
        vocabulary,
        tied: false,
        dropout: Dropout {
            rate: 0.5,
            variational: false,
        },
        initial: INITIAL,
    };
    let model = LanguageModel::new(&CellArchitecture::Lstm, settings).expect("sound settings");
    let (params, spans) = model.params();
    for processors in [0, 132] {
        let cuda = Cuda::new(Box::new(Idle { processors }));
        let options = Options::new(batch);
        let plan = Plan::of_language(&model, (&params, &spans), &cuda, options, steps);
        let loaded = cuda.load(&plan, None).map(|_| ());
        loaded.unwrap_or_else(|e| panic!("{batch} rows, {steps} steps: {e}"));
    }
}

#[test]
fn the_most_places_that_kernels_take_have_launches() {
    load(8192, 1024, 64, 10);
}

#[test]
fn the_largest_vocabulary_has_launches() {
    load(2, 3, 64, 1 << 24);
}

#[test]
fn the_widest_layers_have_launches() {
    load(2, 3, MAX_HIDDEN, 10);
}
