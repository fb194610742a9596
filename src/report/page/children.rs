//! The table of all children as a page holds it: packed columns, which the page's script unpacks and draws.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;

use crate::report::chart::escaped;
use crate::report::record::{Record, Row};
use crate::run::Status;
use crate::run::entry::ChildFacts;

/// Rows that are packed together: enough to be packed well, and few enough for several threads.
const PART: usize = 8192;

/// How hard they are packed: by less than half of the time for a fifth more bytes where there are many.
fn level(n_rows: usize) -> Compression {
    Compression::new(if n_rows > 20_000 { 3 } else { 7 })
}

/// How children end, in the order of their numbers in the packed column.
const STATES: [Status; 8] = [
    Status::Ok,
    Status::Diverged,
    Status::TooLarge,
    Status::Invalid,
    Status::OutOfMemory,
    Status::Crash,
    Status::Timeout,
    Status::Poison,
];

/// The table with its tools, and what it is filled from.
pub fn section(record: &Record) -> io::Result<String> {
    let states: Vec<&str> = STATES.iter().map(|state| state.word()).collect();
    let mut html = format!(
        "<p class=\"caption screen\">A head sorts by its column; words filter rows that have all of them; a click \
         on a row shows its architecture in full. A repeat was answered from the record of an earlier sample.</p>\
         <p class=\"paper\">The table of all children is shown on screens alone; <code>report --format csv</code> \
         writes it.</p>\
         <div class=\"screen wide\"><div class=\"tools\">\
         <input id=\"find\" type=\"search\" aria-label=\"filter\" placeholder=\"filter, such as 5x5 ok\">\
         <select id=\"status\" aria-label=\"status\"><option value=\"\">any status</option></select>\
         <label><input id=\"once\" type=\"checkbox\"> without repeats</label>\
         <span id=\"count\" role=\"status\">unpacking …</span></div>\
         <noscript><p class=\"notice\">The table needs scripts; <code>report --format csv</code> writes it.</p></noscript>\
         <div id=\"children\" class=\"children\" tabindex=\"0\" data-states='[\"{}\"]'><div class=\"head\">",
        states.join("\",\"")
    );
    let heads = [
        "sample",
        "status",
        record.score_name(),
        "reward",
        "parameters",
        "mult-adds",
        "seconds",
        "repeats",
        "architecture",
    ];
    for head in heads {
        let words = match head {
            "status" | "architecture" => " class=\"words\"",
            _ => "",
        };
        let _ = write!(
            html,
            "<button type=\"button\"{words} data-name=\"{head}\">{}</button>",
            escaped(head)
        );
    }
    html += "</div><div class=\"body\"><div class=\"rows\"></div></div></div>\
             <pre id=\"chosen\" class=\"wrap\">no row is chosen</pre></div>";
    let level = level(record.rows.len());
    let parts: Vec<&[Row]> = record.rows.chunks(PART).collect();
    let packed: Vec<io::Result<String>> =
        parts.par_iter().map(|rows| packed(rows, level)).collect();
    for (rows, packed) in parts.iter().zip(packed) {
        let _ = write!(
            html,
            "<script type=\"text/plain\" class=\"rows-part\" data-n=\"{}\">{}</script>",
            rows.len(),
            packed?
        );
    }
    Ok(html)
}

/// Writes a row's value of a column.
type Column = fn(&Row, &mut String);

/// Columns one after the other, a line a row.
fn packed(rows: &[Row], level: Compression) -> io::Result<String> {
    let columns: [Column; 9] = [
        |row, text| whole(Some(row.sample()), text),
        |row, text| {
            let state = STATES.iter().position(|state| *state == row.child.status());
            whole(state.map(|state| state as u64), text);
        },
        |row, text| {
            if let Some(counted) = row.child.counted() {
                *text += &counted.shown().1;
            }
        },
        |row, text| {
            if let Some(reward) = row.child.reward() {
                let _ = write!(text, "{reward:.5}");
            }
        },
        |row, text| whole(row.child.parameters(), text),
        |row, text| whole(row.multiply_adds, text),
        |row, text| {
            if row.seconds > 0.0 {
                let _ = write!(text, "{:.1}", row.seconds);
            }
        },
        |row, text| whole(row.child.duplicate_of(), text),
        // A notation has no line breaks.
        |row, text| *text += &row.notation,
    ];
    // In one piece: each write to the packer clears its room anew.
    let mut text = String::new();
    for column in columns {
        for row in rows {
            column(row, &mut text);
            text.push('\n');
        }
    }
    let mut packer = ZlibEncoder::new(Vec::new(), level);
    packer.write_all(text.as_bytes())?;
    Ok(BASE64.encode(&packer.finish()?))
}

fn whole(n: Option<u64>, text: &mut String) {
    if let Some(n) = n {
        let _ = write!(text, "{n}");
    }
}
