//! What host and kernels both declare, compared by the kernels' text.

use std::fs;
use std::path::Path;

use nas_engine::device::cuda::{constants, declarations};

/// Fields of `struct name { ... };` in the text of the kernels, as (name, type).
fn fields(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let start = text.find(&format!("struct {name} {{"))?;
    let body = &text[start..];
    let body = &body[body.find('{')? + 1..body.find("};")?];
    let constants = |size: &str| match size {
        "MAX_SOURCES" => constant(text, "MAX_SOURCES"),
        "MAX_CHUNKS" => constant(text, "MAX_CHUNKS"),
        _ => size.to_string(),
    };
    let lines = body
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").trim());
    let declared = lines.filter_map(|line| line.strip_suffix(';')?.rsplit_once(' '));
    let field = |(kind, name): (&str, &str)| match name.split_once('[') {
        Some((name, size)) => {
            let size = constants(size.trim_end_matches(']'));
            (name.to_string(), format!("{kind}[{size}]"))
        }
        None => (name.to_string(), kind.to_string()),
    };
    Some(declared.map(field).collect())
}

fn constant(text: &str, name: &str) -> String {
    let start = text
        .find(&format!("#define {name} "))
        .expect("the constant is defined");
    text[start..]
        .split_whitespace()
        .nth(2)
        .expect("it has a value")
        .to_string()
}

/// The text of all kernels.
fn kernels() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("kernels/") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            text += &fs::read_to_string(&path).expect("text");
        }
    }
    text
}

#[test]
fn host_and_kernels_have_the_same_constants() {
    let text = kernels();
    for (name, value) in constants() {
        assert_eq!(
            text.matches(&format!("#define {name} ")).count(),
            1,
            "{name}"
        );
        assert_eq!(constant(&text, name), value, "{name}");
    }
}

#[test]
fn host_and_kernels_declare_the_same() {
    let text = kernels();
    for declaration in declarations() {
        let name = declaration.name;
        let got = fields(&text, name).unwrap_or_else(|| panic!("no kernel declares {name}"));
        let want = declaration.fields.iter();
        let want: Vec<_> = want.map(|(n, t)| (n.to_string(), t.clone())).collect();
        assert_eq!(got, want, "struct {name}");
        assert!(declaration.bytes <= 4096, "{name} fits a launch");
    }
}
