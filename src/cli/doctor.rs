//! `nas-engine doctor`: what this machine has and what can be used of it.

use serde_json::json;

use super::failure::Failure;
use super::machine;
use super::output::Output;
use crate::device::{self, Convolution};
use crate::report::table::{Align, aligned};
use crate::text;

/// Runs the command.
pub fn run(output: &Output) -> Result<(), Failure> {
    let cores = machine::cores();
    let memory = machine::memory_bytes();
    let mut devices = Vec::new();
    let mut rows = Vec::new();
    for name in device::NAMES.into_iter().filter(|name| *name != "auto") {
        let kind = if name == "cuda" { "gpu" } else { "cpu" };
        let opened = device::open(name, Some(cores), Convolution::Auto);
        let (description, reason) = match &opened {
            Ok(device) => (device.describe(), None),
            Err(error) => (name.to_owned(), Some(error.to_string())),
        };
        let memory = memory.filter(|_| kind == "cpu");
        rows.push(vec![
            name.to_owned(),
            if opened.is_ok() { "yes" } else { "no" }.to_owned(),
            memory.map_or("-".into(), text::bytes),
            reason.clone().unwrap_or(description.clone()),
        ]);
        devices.push(json!({
            "name": name,
            "kind": kind,
            "description": description,
            "memory_bytes": memory,
            "usable": opened.is_ok(),
            "reason": reason,
        }));
    }
    let json = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "devices": devices,
        "cores": cores,
        "cuda": {"driver": null, "compiled_architectures": []},
    });
    let header = [
        ("device", Align::Left),
        ("usable", Align::Left),
        ("memory", Align::Right),
        ("what it is, or why not", Align::Left),
    ];
    let words = format!(
        "nas-engine {}, {cores} cores\n\n{}",
        env!("CARGO_PKG_VERSION"),
        aligned(&header, &rows)
    );
    output.result(&json, &words)
}
