//! Every kernel, and every line of their code, is executed by the runs of `observed`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::observed::observed;

/// How often each line ran, by `kernels/file` and number, of all translation units and templates
/// together.
fn counts(folder: &Path) -> BTreeMap<(String, u64), u64> {
    let entries = fs::read_dir(folder).expect("the build's folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let notes: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gcno")
        })
        .collect();
    let mut command = Command::new("gcov");
    command.args(["--json-format", "--stdout"]).args(&notes);
    let output = command.output().expect("gcov, which comes with g++");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    let mut counts = BTreeMap::new();
    for unit in String::from_utf8(output.stdout).expect("JSON").lines() {
        let unit: Value = serde_json::from_str(unit).expect("JSON");
        for file in unit["files"].as_array().expect("a list of files") {
            let path = file["file"].as_str().expect("a path");
            let Some((_, name)) = path.rsplit_once("/kernels/") else {
                continue;
            };
            if name.starts_with("host/") {
                continue;
            }
            for line in file["lines"].as_array().expect("a list of lines") {
                let number = line["line_number"].as_u64().expect("a number");
                let count = line["count"].as_u64().expect("a count");
                *counts
                    .entry((format!("kernels/{name}"), number))
                    .or_default() += count;
            }
        }
    }
    counts
}

#[test]
fn every_line_of_the_kernels_is_executed() {
    let observed = observed();
    let launches = observed.launches.iter();
    let launched: BTreeSet<&str> = launches.map(|(launch, _)| launch.kernel).collect();
    let kernels = observed.kernels.iter().map(String::as_str);
    let never = kernels.filter(|kernel| !launched.contains(kernel));
    let counts = counts(&observed.folder);
    assert!(counts.len() > 500, "{} lines have counts", counts.len());
    let lines = counts.iter().filter(|(_, count)| **count == 0);
    let lines = lines.map(|((file, line), _)| format!("{file}:{line}"));
    let dead: Vec<String> = never.map(str::to_string).chain(lines).collect();
    println!(
        "{} kernels, {} lines of code",
        observed.kernels.len(),
        counts.len()
    );
    assert!(
        dead.is_empty(),
        "never executed by a case of tests/it/cases or by the controller; add one, or remove the \
         code:\n{}",
        dead.join("\n")
    );
}
