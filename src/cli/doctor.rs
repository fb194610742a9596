//! `nas-engine doctor`: what this machine has and what can be used of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::Failure;
use super::machine;
use super::output::Output;
use crate::data::{CACHE_DIR_VARIABLE, cache};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::machine::{self as gpus, Listed, Machine};
use crate::device::{self, Convolution, DeviceRequest};
use crate::report::table::{Align, aligned};
use crate::text;

/// A device of this machine.
struct Row {
    name: String,
    kind: &'static str,
    description: String,
    memory_bytes: Option<u64>,
    capability: Option<(i32, i32)>,
    /// Why it cannot be used.
    reason: Option<String>,
}

/// Runs the command.
pub fn run(output: &Output) -> Result<(), Failure> {
    let cores = machine::cores();
    let machine = Machine::look();
    let mut rows: Vec<Row> = ["cpu", "reference"]
        .iter()
        .map(|name| processor(name, cores))
        .collect();
    match &machine.gpus {
        Ok(listed) => rows.extend(listed.iter().map(gpu)),
        Err(reason) => rows.push(no_gpu(reason)),
    }
    let (auto, why) = auto(&machine, &rows)?;
    let cache = Cache::look();
    let json = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "devices": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "auto": {"devices": auto, "reason": why},
        "cores": cores,
        "cache": cache.json(),
        "cuda": {
            "driver": machine.driver,
            "driver_release": machine.release,
            "toolkit": gpus::toolkit(),
            "compiled_architectures": gpus::archs(),
        },
    });
    let header = [
        ("device", Align::Left),
        ("usable", Align::Left),
        ("memory", Align::Right),
        ("what it is, or why not", Align::Left),
    ];
    let table: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    let words = format!(
        "nas-engine {}, {cores} cores\n\n{}\nauto     {}: {why}\n{}{}",
        env!("CARGO_PKG_VERSION"),
        aligned(&header, &table),
        auto.join(", "),
        cuda(&machine),
        cache.words(),
    );
    output.result(&json, &words)
}

fn processor(name: &str, cores: usize) -> Row {
    let opened = device::open(name, Some(cores), Convolution::Auto);
    Row {
        name: name.to_owned(),
        kind: "cpu",
        description: opened
            .as_ref()
            .map_or(name.to_owned(), |device| device.describe()),
        memory_bytes: machine::memory_bytes(),
        capability: None,
        reason: opened.err().map(|error| error.to_string()),
    }
}

/// A GPU, opened: only that tells whether it can be used.
fn gpu(listed: &Listed) -> Row {
    Row {
        name: format!("cuda:{}", listed.index),
        kind: "gpu",
        description: listed.name.clone(),
        memory_bytes: Some(listed.memory_bytes),
        capability: Some(listed.capability),
        reason: Gpu::open_listed(listed).err(),
    }
}

fn no_gpu(reason: &str) -> Row {
    Row {
        name: "cuda".to_owned(),
        kind: "gpu",
        description: "cuda".to_owned(),
        memory_bytes: None,
        capability: None,
        reason: Some(reason.to_owned()),
    }
}

/// What `auto` takes, and why.
fn auto(machine: &Machine, rows: &[Row]) -> Result<(Vec<String>, String), Failure> {
    let usable = |listed: &Listed| {
        let name = format!("cuda:{}", listed.index);
        match rows.iter().find(|row| row.name == name) {
            Some(Row {
                reason: Some(reason),
                ..
            }) => Err(reason.clone()),
            _ => Ok(name),
        }
    };
    let (mut names, why) = DeviceRequest::Auto.take(&machine.gpus, usize::MAX, usable)?;
    if names.is_empty() {
        names.push("cpu".to_owned());
    }
    Ok((names, why.unwrap_or_default()))
}

/// Versions of what the kernels need.
fn cuda(machine: &Machine) -> String {
    let driver = match (&machine.driver, &machine.release) {
        (Some(cuda), Some(release)) => format!("{release}, for CUDA {cuda}"),
        (Some(cuda), None) => format!("for CUDA {cuda}"),
        (None, _) => "none".to_owned(),
    };
    let kernels = match gpus::toolkit() {
        Some(toolkit) => format!("by toolkit {toolkit}, for {}", gpus::archs().join(", ")),
        None => "none in this build".to_owned(),
    };
    format!("driver   {driver}\nkernels  {kernels}\n")
}

/// The cache folder.
struct Cache {
    folder: Option<PathBuf>,
    bytes: u64,
    /// Why nothing can be kept there.
    reason: Option<String>,
}

impl Cache {
    fn look() -> Cache {
        let folder = cache::dir();
        let reason = match &folder {
            Some(folder) => cache::check(folder).err().map(|error| error.to_string()),
            None => Some(format!("no home folder; {CACHE_DIR_VARIABLE} names one")),
        };
        Cache {
            bytes: folder.as_deref().map_or(0, cache::bytes),
            folder,
            reason,
        }
    }

    fn json(&self) -> Value {
        json!({
            "folder": self.folder.as_ref().map(|folder| folder.display().to_string()),
            "bytes": self.bytes,
            "most_text_bytes": cache::MOST_TEXT_BYTES,
            "usable": self.reason.is_none(),
            "reason": self.reason,
        })
    }

    fn words(&self) -> String {
        let folder = self.folder.as_ref();
        let folder = folder.map_or("none".to_owned(), |folder| folder.display().to_string());
        let how = match &self.reason {
            None => format!(
                "encoded texts {} at most",
                text::bytes(cache::MOST_TEXT_BYTES)
            ),
            Some(reason) => format!("not used: {reason}"),
        };
        let line = format!("cache    {folder}, {}, {how}", text::bytes(self.bytes));
        format!("{}\n", text::one_line(&line))
    }
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "memory_bytes": self.memory_bytes,
            "compute_capability": self.capability.map(dotted),
            "usable": self.reason.is_none(),
            "reason": self.reason,
        })
    }

    fn cells(&self) -> Vec<String> {
        let capability = self.capability.map(dotted);
        let capability =
            capability.map_or(String::new(), |it| format!(", compute capability {it}"));
        let what = match &self.reason {
            None => format!("{}{capability}", self.description),
            Some(reason) if self.description == self.name => reason.clone(),
            Some(reason) => format!("{}: {reason}", self.description),
        };
        vec![
            self.name.clone(),
            if self.reason.is_none() { "yes" } else { "no" }.to_owned(),
            self.memory_bytes.map_or("-".into(), text::bytes),
            what,
        ]
    }
}

fn dotted((major, minor): (i32, i32)) -> String {
    format!("{major}.{minor}")
}
