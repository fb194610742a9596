//! The driver of a real GPU, by cudarc, which loads NVIDIA's driver when it is asked for.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute, CUresult};
use cudarc::driver::{self, CudaContext, CudaFunction, CudaGraph, CudaModule, CudaStream, result};
use cudarc::nvrtc::Ptx;

use super::driver::{Driver, DriverError, Graph, Launch, Limits, Stream};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The least driver for the toolkit that compiled the kernels: CUDA 13.0, which is driver 580.
const LEAST_DRIVER: i32 = 13_000;
/// The least compute capability that the kernels are compiled for.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// A GPU with the kernels loaded.
pub struct Gpu {
    context: Arc<CudaContext>,
    modules: Vec<Arc<CudaModule>>,
    /// Kernels by name, looked up once.
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    name: String,
    limits: Limits,
}

/// Number of GPUs that can be used.
///
/// # Errors
/// Why there are none, with the next step: no kernels in this build, no driver, an old driver, no
/// GPU.
pub fn count() -> Result<usize, String> {
    if FATBINS.is_empty() {
        return Err(format!("this build has no CUDA kernels: {MISSING}"));
    }
    // SAFETY: loads NVIDIA's library, which has no requirements.
    if !unsafe { sys::is_culib_present() } {
        return Err(
            "NVIDIA's driver (libcuda.so.1) was not found; install driver 580 or newer".into(),
        );
    }
    let mut version = 0;
    // SAFETY: the library is there; the place for the version outlives the call.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    asked.map_err(|e| format!("the driver does not tell its version: {e:?}"))?;
    if version < LEAST_DRIVER {
        let dotted = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
        return Err(format!(
            "NVIDIA's driver supports CUDA {}, but the kernels were compiled by toolkit {TOOLKIT}; \
             install driver 580 or newer",
            dotted(version)
        ));
    }
    result::init().map_err(|e| format!("the driver does not start: {e:?}"))?;
    match CudaContext::device_count() {
        Ok(0) => Err("there is no GPU, or CUDA_VISIBLE_DEVICES hides it".into()),
        Ok(n) => Ok(n as usize),
        Err(e) => Err(format!("the driver does not count its GPUs: {e:?}")),
    }
}

impl Gpu {
    /// GPU number `index` of those that [`count`] counts.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(index: usize) -> Result<Gpu, String> {
        let n = count()?;
        if index >= n {
            let last = n - 1;
            return Err(format!("there is no GPU {index}; the last one is {last}"));
        }
        let words = |e: driver::DriverError| format!("GPU {index}: {e:?}");
        let context = CudaContext::new(index).map_err(words)?;
        // SAFETY: nothing is allocated yet; the order of all work is that of one stream a session.
        unsafe { context.disable_event_tracking() };
        let capability = context.compute_capability().map_err(words)?;
        let name = context.name().map_err(words)?;
        if capability < LEAST_CAPABILITY {
            let (major, minor) = capability;
            return Err(format!(
                "{name} has compute capability {major}.{minor}; the kernels need 8.0 or higher"
            ));
        }
        let load = |image: &&[u8]| context.load_module(Ptx::from_binary(image.to_vec()));
        let modules = FATBINS.iter().map(load).collect::<Result<_, _>>();
        let modules = modules.map_err(|e| {
            format!("{name}: the kernels do not load ({e:?}); build with NAS_ENGINE_CUDA_ARCHS")
        })?;
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let shared_bytes = context.attribute(attribute).map_err(words)? as usize;
        Ok(Gpu {
            context,
            modules,
            functions: Mutex::default(),
            name,
            limits: Limits { shared_bytes },
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
}

/// What a failed call means for the device.
fn error(what: &str, error: driver::DriverError) -> DriverError {
    use CUresult::*;
    let words = format!("{what}: {error}");
    match error.0 {
        // After these, every call of the process to the device fails.
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUDA_ERROR_DEINITIALIZED => DriverError::Lost(words),
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

    fn stream(&self) -> Result<Box<dyn Stream + '_>, DriverError> {
        let stream = self.context.new_stream();
        Ok(Box::new(GpuStream {
            gpu: self,
            stream: stream.map_err(|e| error("a stream", e))?,
            memory: vec![],
            graphs: vec![],
        }))
    }
}

struct GpuStream<'a> {
    gpu: &'a Gpu,
    stream: Arc<CudaStream>,
    memory: Vec<u64>,
    graphs: Vec<CudaGraph>,
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
        // SAFETY: freed once, when the stream is dropped.
        let address = unsafe { result::malloc_sync(bytes) };
        let address = address.map_err(|e| match e.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => DriverError::OutOfMemory { bytes },
            _ => error("an allocation", e),
        })?;
        self.memory.push(address);
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
        // SAFETY: the argument is the kernel's struct, whose declarations a test compares; its
        // pointers are into what the session allocated. The driver copies it in the call.
        let launched = unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.threads, 1, 1),
                launch.shared_bytes,
                self.stream.cu_stream(),
                &mut argument,
            )
        };
        launched.map_err(|e| error(launch.kernel, e))
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        // Other sessions' streams go on as they are.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let begun = self.stream.begin_capture(mode);
        begun.map_err(|e| error("a capture", e))
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        let flags = sys::CUgraphInstantiate_flags(0);
        let graph = self.stream.end_capture(flags);
        let graph = graph.map_err(|e| error("a capture", e))?;
        let empty = || DriverError::Failed("a capture without launches".to_string());
        self.graphs.push(graph.ok_or_else(empty)?);
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        let launched = self.graphs[graph.0].launch();
        launched.map_err(|e| error("a graph of launches", e))
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        let waited = self.stream.synchronize();
        waited.map_err(|e| error("what was launched before", e))
    }
}

impl Drop for GpuStream<'_> {
    fn drop(&mut self) {
        // Nothing may use the memory any more; of a lost device nothing can be freed.
        if self.wait().is_err() || self.bind().is_err() {
            return;
        }
        for address in self.memory.drain(..) {
            // SAFETY: allocated in `allocate`, and nothing that uses it is under way.
            let _freed = unsafe { result::free_sync(address) };
        }
    }
}
