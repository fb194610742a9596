//! Which devices a name stands for on this machine, and why: the GPUs that can be used, or a
//! processor.

use std::sync::Arc;

use super::cuda::Cuda;
use super::cuda::gpu::Gpu;
use super::cuda::machine::{Listed, Machine};
use super::{Convolution, Device, DeviceError, cpu, reference};

/// Names of devices; `cuda` may be followed by numbers.
pub const NAMES: [&str; 4] = ["auto", "cpu", "reference", "cuda"];

/// What a device may be called, in words.
pub fn names() -> String {
    format!("{} or cuda:N[,M…]", NAMES.join(", "))
}

/// What a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    /// The GPUs that can be used, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The specification.
    Reference,
    /// Every visible GPU that can be used, one at least.
    Gpus,
    /// These of the visible GPUs, by number; each must be usable.
    These(Vec<usize>),
}

impl DeviceRequest {
    /// What a name asks for; whether this machine has it is another question.
    ///
    /// # Errors
    /// A name that no device has, or a GPU that is named twice.
    pub fn parse(name: &str) -> Result<DeviceRequest, DeviceError> {
        match name {
            "auto" => return Ok(DeviceRequest::Auto),
            "cpu" => return Ok(DeviceRequest::Cpu),
            "reference" => return Ok(DeviceRequest::Reference),
            "cuda" => return Ok(DeviceRequest::Gpus),
            _ => {}
        }
        let unknown = || DeviceError::Unknown(name.to_string());
        let list = name.strip_prefix("cuda:").ok_or_else(unknown)?;
        let mut numbers = vec![];
        for number in list.split(',') {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<u8>().ok().filter(|_| digits);
            let number = usize::from(number.ok_or_else(unknown)?);
            if numbers.contains(&number) {
                return Err(DeviceError::Twice {
                    name: name.to_string(),
                    number,
                });
            }
            numbers.push(number);
        }
        Ok(DeviceRequest::These(numbers))
    }

    /// The GPUs to use, opened, `most` of them at most: none where the CPU is to be used. And why,
    /// where the name leaves a choice. `gpus` are those of the machine, `open` opens one.
    ///
    /// # Errors
    /// Where GPUs are asked for and cannot be used.
    pub fn take<D>(
        &self,
        gpus: &Result<Vec<Listed>, String>,
        most: usize,
        open: impl Fn(&Listed) -> Result<D, String>,
    ) -> Result<(Vec<D>, Option<String>), DeviceError> {
        let unavailable = |device: String, reason: &str| DeviceError::Unavailable {
            device,
            reason: reason.to_string(),
        };
        let name = |number: usize| format!("cuda:{number}");
        let (wanted, listed): (Vec<usize>, _) = match (self, gpus) {
            (DeviceRequest::Cpu | DeviceRequest::Reference, _) => return Ok((vec![], None)),
            (DeviceRequest::Auto, Err(reason)) => return Ok((vec![], Some(no_gpu(reason)))),
            (DeviceRequest::Gpus, Err(reason)) => return Err(unavailable("cuda".into(), reason)),
            (DeviceRequest::These(numbers), Err(reason)) => {
                return Err(unavailable(name(numbers[0]), reason));
            }
            (DeviceRequest::Auto | DeviceRequest::Gpus, Ok(listed)) => {
                ((0..listed.len()).collect(), listed)
            }
            (DeviceRequest::These(numbers), Ok(listed)) => {
                if let Some(&number) = numbers.iter().find(|number| **number >= listed.len()) {
                    let n = listed.len();
                    let reason = format!("there is no GPU {number}: {n} visible, from 0 on");
                    return Err(unavailable(name(number), &reason));
                }
                (numbers.clone(), listed)
            }
        };
        let (mut taken, mut left_out) = (vec![], vec![]);
        for number in wanted {
            if taken.len() == most {
                break;
            }
            let gpu = &listed[number];
            match gpu.refusal.clone().map_or_else(|| open(gpu), Err) {
                Ok(device) => taken.push(device),
                Err(reason) if matches!(self, DeviceRequest::These(_)) => {
                    return Err(unavailable(name(number), &reason));
                }
                Err(reason) => left_out.push((name(number), reason)),
            }
        }
        match (self, taken.is_empty()) {
            (DeviceRequest::Auto, true) => Ok((taken, Some(no_gpu(&reasons(&left_out))))),
            (_, true) => Err(unavailable("cuda".into(), &reasons(&left_out))),
            (_, false) => Ok((taken, self.why(most, &left_out))),
        }
    }

    /// Why these GPUs and not others.
    fn why(&self, most: usize, left_out: &[(String, String)]) -> Option<String> {
        let choice = match most {
            1 => "the first GPU that can be used",
            _ => "every GPU that can be used",
        };
        let auto = (*self == DeviceRequest::Auto).then(|| choice.to_string());
        let others = (!left_out.is_empty()).then(|| format!("left out: {}", reasons(left_out)));
        let why: Vec<String> = auto.into_iter().chain(others).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }
}

fn no_gpu(reason: &str) -> String {
    format!("no GPU can be used: {reason}")
}

/// Devices that cannot be used, each reason once.
fn reasons(left_out: &[(String, String)]) -> String {
    let of_one_reason = left_out.chunk_by(|(_, a), (_, b)| a == b);
    let words = of_one_reason.map(|chunk| {
        let names: Vec<&str> = chunk.iter().map(|(name, _)| name.as_str()).collect();
        format!("{}: {}", names.join(", "), chunk[0].1)
    });
    words.collect::<Vec<_>>().join("; ")
}

/// What trains the children of a search.
#[derive(Clone)]
pub enum Devices {
    /// A processor: opened for each child with its share of the threads.
    Cpu(Convolution),
    /// The specification.
    Reference,
    /// GPUs, opened once, one at least: each takes a child at a time.
    Gpus(Vec<Arc<dyn Device>>),
}

impl Devices {
    /// A device that plans for all of them: the processor with so many threads, or the first GPU.
    ///
    /// # Errors
    /// Where the threads cannot be started.
    pub fn first(&self, threads: Option<usize>) -> Result<Arc<dyn Device>, DeviceError> {
        Ok(match self {
            Devices::Cpu(convolution) => Arc::new(cpu::Cpu::new(threads, *convolution)?),
            Devices::Reference => Arc::new(reference::Reference),
            Devices::Gpus(gpus) => Arc::clone(&gpus[0]),
        })
    }

    /// What decides the bits of their results: one model, where GPUs are not of several.
    ///
    /// # Errors
    /// As [`Devices::first`].
    pub fn models(&self) -> Result<Vec<String>, DeviceError> {
        let mut models: Vec<String> = match self {
            Devices::Cpu(_) | Devices::Reference => vec![self.first(Some(1))?.model()],
            Devices::Gpus(gpus) => gpus.iter().map(|gpu| gpu.model()).collect(),
        };
        models.sort();
        models.dedup();
        Ok(models)
    }

    /// Each in words, GPUs one by one; the processor with so many threads.
    ///
    /// # Errors
    /// As [`Devices::first`].
    pub fn describe(&self, threads: usize) -> Result<String, DeviceError> {
        Ok(match self {
            Devices::Cpu(_) | Devices::Reference => self.first(Some(threads))?.describe(),
            Devices::Gpus(gpus) => {
                let names: Vec<String> = gpus.iter().map(|gpu| gpu.describe()).collect();
                names.join(", ")
            }
        })
    }

    /// Bytes of memory of the smallest GPU; nothing where the machine's memory is used.
    pub fn memory_bytes(&self) -> Option<u64> {
        match self {
            Devices::Cpu(_) | Devices::Reference => None,
            Devices::Gpus(gpus) => gpus.iter().filter_map(|gpu| gpu.memory_bytes()).min(),
        }
    }
}

/// Opens a device by name, the first of a list, for one child.
///
/// # Errors
/// As [`open_first`].
pub fn open(
    name: &str,
    threads: Option<usize>,
    convolution: Convolution,
) -> Result<Box<dyn Device>, DeviceError> {
    open_first(name, threads, convolution).map(|(device, _)| device)
}

/// As [`open`], with why it is this device, where the name leaves a choice.
///
/// # Errors
/// An unknown name, a device that this machine lacks or cannot use, or threads that do not start.
pub fn open_first(
    name: &str,
    threads: Option<usize>,
    convolution: Convolution,
) -> Result<(Box<dyn Device>, Option<String>), DeviceError> {
    let request = DeviceRequest::parse(name)?;
    let (gpu, why) = request.take_here(1)?;
    let device: Box<dyn Device> = match (gpu.into_iter().next(), request) {
        (Some(gpu), _) => Box::new(gpu),
        (None, DeviceRequest::Reference) => Box::new(reference::Reference),
        (None, _) => Box::new(cpu::Cpu::new(threads, convolution)?),
    };
    Ok((device, why))
}

/// Opens every device that a name stands for, with why it is these, where the name leaves a choice.
///
/// # Errors
/// As [`open_first`].
pub fn open_all(
    name: &str,
    convolution: Convolution,
) -> Result<(Devices, Option<String>), DeviceError> {
    let request = DeviceRequest::parse(name)?;
    let (gpus, why) = request.take_here(usize::MAX)?;
    let devices = match (gpus.is_empty(), request) {
        (false, _) => Devices::Gpus(gpus.into_iter().map(|gpu| Arc::new(gpu) as _).collect()),
        (true, DeviceRequest::Reference) => Devices::Reference,
        (true, _) => Devices::Cpu(convolution),
    };
    Ok((devices, why))
}

/// The numbers of the GPUs that a name stands for, each of which was opened; none where it stands for a
/// processor.
///
/// # Errors
/// As [`open_first`].
pub fn gpu_numbers(name: &str) -> Result<Vec<usize>, DeviceError> {
    let request = DeviceRequest::parse(name)?;
    if matches!(request, DeviceRequest::Cpu | DeviceRequest::Reference) {
        return Ok(vec![]);
    }
    let opened = request.take(&Machine::look().gpus, usize::MAX, |listed| {
        Gpu::open_listed(listed).map(|_| listed.index)
    });
    opened.map(|(numbers, _)| numbers)
}

impl DeviceRequest {
    /// [`DeviceRequest::take`] on this machine, which is asked only where it matters.
    fn take_here(&self, most: usize) -> Result<(Vec<Cuda>, Option<String>), DeviceError> {
        if matches!(self, DeviceRequest::Cpu | DeviceRequest::Reference) {
            return Ok((vec![], None));
        }
        self.take(&Machine::look().gpus, most, |listed| {
            Gpu::open_listed(listed).map(|gpu| Cuda::new(Box::new(gpu)))
        })
    }
}
