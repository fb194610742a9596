//! Architectures as pictures, SVG that needs nothing else and Graphviz DOT, and with all their sizes as JSON.
//! Pictures are returned as text, so that a report can hold them.

mod bench;
mod cell;
mod json;
mod network;
mod svg;

pub use bench::{bench_dot, bench_svg};
pub use cell::{cell_dot, cell_svg};
pub use json::{LanguageSize, cell_json, network_json};
pub use network::{network_dot, network_svg};

/// A line of a DOT file's text in quotes.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}
