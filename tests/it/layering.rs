//! The shape of the source: who may use whom, how long files are, where things may panic.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules in dependency order: each uses only itself and those before it.
const ORDER: [&str; 20] = [
    "rng",
    "shape",
    "text",
    "large_pages",
    "disk",
    "checkpoint",
    "data",
    "space",
    "graph",
    "device",
    "train",
    "export",
    "controller",
    "config",
    "run",
    "search",
    "finish",
    "cluster",
    "report",
    "cli",
];

/// Lines of a file.
const LONGEST: usize = 450;

/// Where `unsafe` may stand: large pages, mapping files, the views of an arena, kernels.
const UNSAFE_HOMES: [&str; 6] = [
    "src/large_pages.rs",
    "src/data/mmap.rs",
    "src/data/mmap/",
    "src/device/arena.rs",
    "src/device/cpu/",
    "src/device/cuda/",
];

pub struct Source {
    pub path: String,
    pub text: String,
}

/// Every Rust file below some folders of the repository.
pub fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            waiting.extend(entries);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            sources.push(Source { path, text });
        }
    }
    assert!(!sources.is_empty());
    sources
}

impl Source {
    /// The top module that the file belongs to; nothing for `lib.rs` and `main.rs`.
    fn module(&self) -> Option<&str> {
        let name = self.path.strip_prefix("src/")?.split('/').next()?;
        let name = name.strip_suffix(".rs").unwrap_or(name);
        (name != "lib" && name != "main").then_some(name)
    }

    /// Lines before the tests at the end; none of a file of tests.
    pub fn n_before_tests(&self) -> usize {
        let is_test = self.path.starts_with("tests/") || self.path.ends_with("/tests.rs");
        let begins_tests = |line: &str| matches!(line, "mod tests {" | "pub mod tests {");
        let before = |line: &&str| !is_test && !begins_tests(line);
        self.text.lines().take_while(before).count()
    }

    /// Numbered lines of code, without comments and the tests at the end; none of a file of tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take(self.n_before_tests());
        let numbered = lines.enumerate().map(|(i, line)| (i + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Comments and messages send readers to sections of the contract by number.
#[test]
fn the_contract_has_its_sections() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let text = fs::read_to_string(path).unwrap();
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(headings[0], "# Formats and meaning: the contract");
    for source in sources(&["src", "tests"]) {
        for words in source.text.split("formats.md, section ").skip(1) {
            let number = words.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            let heading = format!("## {number}. ");
            let is_there = headings.iter().any(|line| line.starts_with(&heading));
            assert!(
                is_there || number.is_empty(),
                "{}: section {number}",
                source.path
            );
        }
    }
}

#[test]
fn a_module_uses_only_those_above_it() {
    let rank = |module: &str| ORDER.iter().position(|name| *name == module);
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let Some(module) = source.module() else {
            continue;
        };
        let own = rank(module).unwrap_or_else(|| panic!("{}: not in the order", source.path));
        for (number, line) in source.text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for used in line.split("crate::").skip(1) {
                let end = used.find(|c: char| !c.is_alphanumeric() && c != '_');
                let used = &used[..end.unwrap_or(used.len())];
                if rank(used).is_none_or(|used| used > own) {
                    wrong.push(format!(
                        "{}:{}: {module} uses {used}",
                        source.path,
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_hold() {
    for Source { path, text } in sources(&["src", "tests", "benches"]) {
        let n_lines = text.lines().count();
        assert!(
            n_lines <= LONGEST,
            "{path}: {n_lines} lines, {LONGEST} at most"
        );
        let says = text.starts_with("//! ") || text.trim().is_empty();
        assert!(says, "{path}: the first line says what the file holds");
    }
}

#[test]
fn nothing_from_outside_may_panic() {
    let forbidden = [
        ".unwrap()",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        "std::process::abort",
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        for (number, line) in source.code() {
            let place = format!("{}:{number}: {}", source.path, line.trim());
            if forbidden.iter().any(|word| line.contains(word)) {
                wrong.push(place);
            } else if let Some((_, message)) = line.split_once(".expect(\"") {
                // What makes it impossible, in words.
                if message.split_whitespace().count() < 2 {
                    wrong.push(place);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_homes() {
    // That each block says why it is sound is clippy's part (undocumented_unsafe_blocks).
    for source in sources(&["src"]) {
        for (number, line) in source.code() {
            let opens = ["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|word| line.contains(word));
            let at_home = UNSAFE_HOMES
                .iter()
                .any(|home| source.path.starts_with(home));
            assert!(
                at_home || !opens,
                "{}:{number}: {}",
                source.path,
                line.trim()
            );
        }
    }
}
