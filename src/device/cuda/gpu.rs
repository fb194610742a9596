//! The driver of a real GPU, by cudarc, which loads NVIDIA's driver when it is asked for.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute, CUresult};
use cudarc::driver::{
    self, CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaModule, CudaStream, result,
};
use cudarc::nvrtc::Ptx;

use super::compiled::FATBINS;
use super::driver::{Driver, DriverError, Graph, Launch, Limits, Memory, Stream};
use super::machine::{Listed, Machine};
use super::memory::{Block, Spare, size_class};

/// A GPU with the kernels loaded.
pub struct Gpu {
    context: Arc<CudaContext>,
    modules: Vec<Arc<CudaModule>>,
    /// Kernels by name, looked up once.
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    /// What sessions that ended had, for those that come.
    spare: Mutex<Spare>,
    name: String,
    limits: Limits,
}

impl Gpu {
    /// The GPU with this number among the visible ones, for tests; else a device is opened by name.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(index: usize) -> Result<Gpu, String> {
        let gpus = Machine::look().gpus?;
        let listed = gpus.get(index);
        Gpu::open_listed(listed.ok_or_else(|| format!("there is no GPU {index}"))?)
    }

    /// A GPU that the driver lists.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_listed(listed: &Listed) -> Result<Gpu, String> {
        if let Some(refusal) = &listed.refusal {
            return Err(refusal.clone());
        }
        let name = listed.name.clone();
        let words = |e: driver::DriverError| format!("{name}: {e}");
        let context = CudaContext::new(listed.index).map_err(words)?;
        // SAFETY: nothing is allocated yet; the order of all work is that of one stream a session, and of
        // what is read beside it, that of its marks.
        unsafe { context.disable_event_tracking() };
        let load = |image: &&[u8]| context.load_module(Ptx::from_binary(image.to_vec()));
        let modules = FATBINS.iter().map(load).collect::<Result<_, _>>();
        let modules = modules.map_err(|e| {
            format!("{name}: the kernels do not load ({e}); build with NAS_ENGINE_CUDA_ARCHS")
        })?;
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let shared_bytes = context.attribute(attribute).map_err(words)? as usize;
        let [processors, cooperative] = [
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH,
        ]
        .map(|attribute| context.attribute(attribute).map_err(words));
        let processors = if cooperative? == 0 {
            0
        } else {
            processors? as usize
        };
        Ok(Gpu {
            context,
            modules,
            functions: Mutex::default(),
            spare: Mutex::default(),
            name,
            limits: Limits {
                shared_bytes,
                processors,
            },
        })
    }

    /// The kernel, allowed to have all the shared memory there is.
    fn function(&self, name: &'static str) -> Result<CudaFunction, DriverError> {
        let mut functions = self.functions.lock().expect("no thread panics with it");
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let found = self
            .modules
            .iter()
            .find_map(|module| module.load_function(name).ok());
        let function = found.ok_or_else(|| {
            DriverError::Failed(format!("no kernel '{name}' was compiled for {}", self.name))
        })?;
        let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let set = function.set_attribute(most, self.limits.shared_bytes as i32);
        set.map_err(|e| error(name, e))?;
        functions.insert(name, function.clone());
        Ok(function)
    }

    /// Memory of at least so many bytes: spare, or new.
    fn block(&self, bytes: usize) -> Result<Block, DriverError> {
        let mut spare = self.spare.lock().expect("no thread panics with it");
        if let Some(block) = spare.take(bytes) {
            return Ok(block);
        }
        let new = |bytes: usize| {
            // SAFETY: called from `allocate`, which bound the context; freed at most once, by `free`.
            let address = unsafe { result::malloc_sync(bytes) };
            address.map(|address| Block { address, bytes })
        };
        let block = new(size_class(bytes)).or_else(|_| {
            free(spare.drain());
            new(bytes)
        });
        drop(spare); // which `memory` asks for
        block.map_err(|e| match e.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => DriverError::OutOfMemory {
                bytes: bytes as u64,
                free: self.memory().ok().map(|memory| memory.free),
            },
            _ => error("an allocation", e),
        })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Of a lost device nothing can be freed.
        if self.context.bind_to_thread().is_ok()
            && let Ok(spare) = self.spare.get_mut()
        {
            free(spare.drain());
        }
    }
}

/// Gives blocks back to the driver; the device's context is bound.
fn free(blocks: Vec<Block>) {
    for block in blocks {
        // SAFETY: the driver allocated it in this context, and nothing uses it: it was spare.
        let _freed = unsafe { result::free_sync(block.address) };
    }
}

/// What a failed call means for the device.
fn error(what: &str, error: driver::DriverError) -> DriverError {
    use CUresult::*;
    let words = format!("{what}: {error}");
    match error.0 {
        // After these, every call of the process to the device fails.
        CUDA_ERROR_DEINITIALIZED
        | CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_NVLINK_UNCORRECTABLE
        | CUDA_ERROR_CONTAINED
        | CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_CONTEXT_IS_DESTROYED
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_EXTERNAL_DEVICE
        | CUDA_ERROR_MPS_CLIENT_TERMINATED
        | CUDA_ERROR_UNKNOWN => DriverError::Lost(words),
        _ => DriverError::Failed(words),
    }
}

impl Driver for Gpu {
    fn describe(&self) -> String {
        format!("cuda:{} ({})", self.context.ordinal(), self.name)
    }

    fn model(&self) -> String {
        format!("cuda ({})", self.name)
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        let bound = self.context.bind_to_thread();
        let asked = bound.and_then(|()| result::mem_get_info());
        let (free, total) = asked.map_err(|e| error("the size of its memory", e))?;
        let spare = self.spare.lock().expect("no thread panics with it").bytes();
        Ok(Memory {
            free: (free + spare) as u64,
            total: total as u64,
        })
    }

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        let stream = self.context.new_stream();
        Ok(Box::new(GpuStream {
            gpu: self,
            stream: stream.map_err(|e| error("a stream", e))?,
            memory: vec![],
            beside: None,
            capturing: false,
            graphs: vec![],
        }))
    }
}

struct GpuStream<'a> {
    gpu: &'a Gpu,
    stream: Arc<CudaStream>,
    memory: Vec<Block>,
    /// What reads beside it, since there was a mark.
    beside: Option<Beside>,
    /// Whether a capture was begun and not ended.
    capturing: bool,
    graphs: Vec<CudaGraph>,
}

/// A second queue, and the mark in the first that it waits for.
struct Beside {
    stream: Arc<CudaStream>,
    mark: CudaEvent,
}

impl GpuStream<'_> {
    fn bind(&self) -> Result<(), DriverError> {
        let bound = self.gpu.context.bind_to_thread();
        bound.map_err(|e| error("the device", e))
    }
}

impl Stream for GpuStream<'_> {
    fn allocate(&mut self, bytes: usize) -> Result<u64, DriverError> {
        self.bind()?;
        let block = self.gpu.block(bytes)?;
        let address = block.address;
        self.memory.push(block);
        // SAFETY: the allocation has that many bytes.
        let set = unsafe { result::memset_d8_async(address, 0, bytes, self.stream.cu_stream()) };
        set.map_err(|e| error("an allocation", e))?;
        Ok(address)
    }

    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), DriverError> {
        self.bind()?;
        // SAFETY: sessions write to what they allocated; from pageable memory the driver has taken
        // the bytes when the call returns.
        let copied = unsafe { result::memcpy_htod_async(to, bytes, self.stream.cu_stream()) };
        copied.map_err(|e| error("a copy to the device", e))
    }

    fn read(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.bind()?;
        // SAFETY: sessions read what they allocated, and wait before they look at it.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) };
        copied.map_err(|e| error("a copy from the device", e))?;
        self.wait()
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), DriverError> {
        let function = self.gpu.function(launch.kernel)?;
        self.bind()?;
        let [x, y, z] = launch.grid;
        let mut argument = [launch.args.as_ptr().cast_mut().cast::<c_void>()];
        let start = match launch.cooperative {
            true => result::launch_cooperative_kernel,
            false => result::launch_kernel,
        };
        // SAFETY: the argument is the kernel's struct, whose declarations a test compares; the driver
        // copies it in the call. Its pointers are into what the session allocated, by the plan's
        // offsets, and no kernel leaves what they point to: the launchers' sizes and grids see to
        // that, and the host runner checks every access of the same kernels over the case table. A
        // cooperative launch has a count of arrivals of its own (`Launches::arrivals`), which
        // `allocate` zeroed, and one grid as long as it lives, as `grid_barrier.cuh` asks for.
        let launched = unsafe {
            start(
                function.cu_function(),
                (x, y, z),
                (launch.threads, 1, 1),
                launch.shared_bytes,
                self.stream.cu_stream(),
                &mut argument,
            )
        };
        launched.map_err(|e| error("its launch", e))
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        // Other sessions' streams go on as they are.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let begun = self.stream.begin_capture(mode);
        begun.map_err(|e| error("a capture", e))?;
        self.capturing = true;
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        let flags = sys::CUgraphInstantiate_flags(0);
        self.capturing = false;
        let graph = self.stream.end_capture(flags);
        let graph = graph.map_err(|e| error("a capture", e))?;
        let empty = || DriverError::Failed("a capture without launches".to_string());
        self.graphs.push(graph.ok_or_else(empty)?);
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        let launched = self.graphs[graph.0].launch();
        launched.map_err(|e| error("the launch of a graph", e))
    }

    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<(), DriverError> {
        self.bind()?;
        // SAFETY: sessions copy from what they allocated to what they allocated.
        let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) };
        copied.map_err(|e| error("a copy on the device", e))
    }

    fn mark(&mut self) -> Result<(), DriverError> {
        let words = |e| error("a mark", e);
        let beside = match self.beside.take() {
            Some(beside) => beside,
            None => Beside {
                stream: self.gpu.context.new_stream().map_err(words)?,
                mark: self.gpu.context.new_event(None).map_err(words)?,
            },
        };
        let recorded = beside.mark.record(&self.stream);
        self.beside = Some(beside);
        recorded.map_err(words)
    }

    fn read_marked(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        let Some(Beside { stream, mark }) = &self.beside else {
            let words = "a copy from the device that waits for a mark: there is none";
            return Err(DriverError::Failed(words.to_string()));
        };
        let words = |e| error("a copy from the device beside its work", e);
        stream.wait(mark).map_err(words)?;
        // SAFETY: sessions read what they allocated, which nothing behind the mark writes; it is waited
        // for here.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, from, stream.cu_stream()) };
        let waited = stream.synchronize();
        copied.and(waited).map_err(words)
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        let waited = self.stream.synchronize();
        waited.map_err(|e| error("what was launched before", e))
    }
}

impl Drop for GpuStream<'_> {
    fn drop(&mut self) {
        if self.capturing {
            let _ = self.end_capture(); // what failed in it has been told
        }
        // Nothing may use the memory any more; of a lost device nothing can be freed. What reads beside
        // has been waited for.
        if self.wait().is_err() || self.bind().is_err() {
            return;
        }
        if let Ok(mut spare) = self.gpu.spare.lock() {
            self.memory.drain(..).for_each(|block| spare.give(block));
        }
    }
}
