//! Registers of the kernels as the compiler reported them, against `kernels/budget.txt`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;

/// By kernel and architecture.
type Registers = BTreeMap<(String, String), u32>;

/// What the build wrote beside each fat binary.
fn reported() -> Registers {
    let mut registers = Registers::new();
    for entry in fs::read_dir(env!("OUT_DIR")).expect("the build's folder") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "ptxas")
        {
            continue;
        }
        let text = fs::read_to_string(path).expect("a report");
        for part in text.split("Compiling entry function '").skip(1) {
            // conv_fwd' for 'sm_80' ... Used 40 registers, ...
            let words: Vec<&str> = part.splitn(5, '\'').collect();
            let used = part.split("Used ").nth(1).expect("registers are told");
            let n = used
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number");
            registers.insert((words[0].to_string(), words[2].to_string()), n);
        }
    }
    registers
}

fn budget(text: &str) -> Registers {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let archs: Vec<&str> = lines.next().expect("a header").split(' ').skip(1).collect();
    let rows = lines.flat_map(|line| {
        let (kernel, numbers) = line.split_once(' ').expect("a kernel and its registers");
        let numbers = numbers.split(' ').zip(archs.clone());
        numbers.map(move |(n, arch)| {
            let n = n.parse().expect("a number");
            ((kernel.to_string(), arch.to_string()), n)
        })
    });
    rows.collect()
}

fn written(registers: &Registers, comments: &str) -> String {
    let mut archs: Vec<&String> = registers.keys().map(|(_, arch)| arch).collect();
    archs.sort();
    archs.dedup();
    let names: Vec<&str> = archs.iter().map(|arch| arch.as_str()).collect();
    let mut text = format!("{comments}kernel {}\n", names.join(" "));
    let mut kernels: Vec<&String> = registers.keys().map(|(kernel, _)| kernel).collect();
    kernels.dedup();
    for kernel in kernels {
        let n = |arch: &&String| registers[&(kernel.clone(), (*arch).clone())].to_string();
        let numbers: Vec<String> = archs.iter().map(n).collect();
        text += &format!("{kernel} {}\n", numbers.join(" "));
    }
    text
}

#[test]
fn registers_are_within_the_budget() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/budget.txt");
    let text = fs::read_to_string(&path).expect("kernels/budget.txt");
    let reported = reported();
    if reported.is_empty() {
        let required = env::var_os("NAS_ENGINE_REQUIRE_NVCC").is_some();
        assert!(!required, "the build had no nvcc; run scripts/cuda-toolkit");
        println!("NOT RUN: the build had no nvcc, so that no kernel was compiled");
        return;
    }
    if env::var_os("NAS_ENGINE_UPDATE_BUDGET").is_some() {
        let comments = text.lines().filter(|line| line.starts_with('#'));
        let comments: String = comments.map(|line| format!("{line}\n")).collect();
        fs::write(&path, written(&reported, &comments)).expect("writes");
        return;
    }
    let budget = budget(&text);
    let keys = |registers: &Registers| registers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&budget), keys(&reported), "kernels and architectures");
    for (key, n) in reported {
        let most = budget[&key];
        assert!(
            n <= most,
            "{key:?} has {n} registers, the budget says {most}"
        );
    }
}
