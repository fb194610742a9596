//! A report as one file that needs no network: charts as SVG, words, and a table that is unpacked when
//! all else is on the screen.

mod children;

use std::fmt::Write;
use std::io;

use super::chart::{self, escaped};
use super::charts::{self, Plate};
use super::choices;
use super::overview::{self, Overview};
use super::record::Record;
use super::spent::{self, Epoch};
use super::table::Align;
use super::{cell, drawing, final_training, notation};
use crate::finish::progress::Progress;
use crate::graph::{Costs, Graph};
use crate::space::{Architecture, ConvArchitecture};
use crate::text;

/// Architectures that are drawn.
const DRAWN: usize = 3;

/// A report, and the charts in it.
#[derive(Debug)]
pub struct Page {
    /// The file.
    pub html: String,
    /// Names of charts and their pictures.
    pub pictures: Vec<(String, String)>,
}

/// The report of the first of some runs, with the others beside it.
///
/// # Errors
/// Where its table cannot be packed.
pub fn page(records: &[Record]) -> io::Result<Page> {
    let mut pictures = Vec::new();
    let mut body = String::new();
    let Some(record) = records.first() else {
        return Ok(Page {
            html: body,
            pictures,
        });
    };
    let epoch = Epoch::of(record.config);
    let made = choices::made(&record.space, &record.rows);
    body += &head(record, epoch);
    for words in overview::not_comparable(records) {
        let _ = write!(body, "<p class=\"notice\">{}</p>", escaped(&words));
    }
    body += &section("Found and sampled", &found(records));
    body += &section("The best", &best(record));
    if let Some(finish) = &record.finish {
        body += &section("Final training", &finished(finish));
    }
    let reward = figures(vec![charts::reward(records)], &mut pictures);
    body += &section("Reward", &reward);
    if let Some(entropy) = charts::entropy(records, &made) {
        let entropy = figures(vec![entropy], &mut pictures);
        body += &section("Entropy", &entropy);
    }
    let shares = charts::distributions(record, &made);
    if !shares.is_empty() {
        let caption = "<p class=\"caption\">What was drawn, all layers together, from the bottom in the order of \
                       the legend.</p>";
        body += &section(
            "Choices over time",
            &(caption.to_owned() + &grid(shares, &mut pictures)),
        );
    }
    if let Some(training) = charts::training(record) {
        let training = figures(vec![training], &mut pictures);
        body += &section("Training", &training);
    }
    let mut time = charts::time(record);
    time.extend(charts::work(record, epoch));
    let how = format!(
        "<p class=\"caption\">{}</p>",
        escaped(&spent::how(record, epoch))
    );
    body += &section("Time and work", &(grid(time, &mut pictures) + &how));
    body += &section("Failures", &failures(record));
    body += &section("Every child", &children::section(record)?);
    let config = format!(
        "<details><summary>config.toml, as resolved</summary><pre>{}</pre></details>",
        escaped(&record.config.to_toml())
    );
    body += &section("Configuration", &config);
    let html = document(&format!("{}: report of a search", record.name), &body, true);
    Ok(Page { html, pictures })
}

/// A file of a title and what it holds. Nothing in it may ask a network for anything.
pub fn document(title: &str, body: &str, has_table: bool) -> String {
    let script = match has_table {
        true => format!("<script>{}</script>", include_str!("page.js")),
        false => String::new(),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">\
         <title>{}</title>\n<style>{}{}</style></head>\n<body>\n{body}\n{script}</body></html>\n",
        escaped(title),
        chart::STYLE,
        include_str!("page.css")
    )
}

/// A section of a page.
pub fn section(title: &str, body: &str) -> String {
    format!("<section><h2>{}</h2>{body}</section>\n", escaped(title))
}

/// Charts below one another, each with its caption; their pictures are kept.
pub fn figures(plates: Vec<Plate>, pictures: &mut Vec<(String, String)>) -> String {
    let figure = |Plate { chart, caption }| {
        let svg = chart.svg();
        let caption = match caption.is_empty() {
            true => String::new(),
            false => format!(
                "<figcaption class=\"caption\">{}</figcaption>",
                escaped(&caption)
            ),
        };
        let figure = format!("<figure>{svg}{caption}</figure>");
        pictures.push((chart.name, svg));
        figure
    };
    plates.into_iter().map(figure).collect()
}

/// Charts beside one another.
pub fn grid(plates: Vec<Plate>, pictures: &mut Vec<(String, String)>) -> String {
    format!("<div class=\"grid\">{}</div>", figures(plates, pictures))
}

/// A table: heads, whose columns are of numbers where they are marked so, and rows of words.
pub fn table(heads: &[(&str, bool)], rows: &[Vec<String>]) -> String {
    let cell = |tag: &str, words: &str, is_number: bool| {
        let class = if is_number { " class=\"number\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", escaped(words))
    };
    let head: String = heads
        .iter()
        .map(|(words, number)| cell("th", words, *number))
        .collect();
    let row = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(heads)
            .map(|(words, (_, number))| cell("td", words, *number));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// What run it is.
fn head(record: &Record, epoch: Option<Epoch>) -> String {
    let mut html = format!("<h1>{}</h1><dl>", escaped(&record.name));
    for (what, words) in overview::facts(record, epoch) {
        let _ = write!(
            html,
            "<dt>{}</dt><dd>{}</dd>",
            escaped(what),
            escaped(&words)
        );
    }
    html += "</dl>";
    if let Some(words) = overview::notice(record) {
        let _ = write!(html, "<p class=\"notice\">{}</p>", escaped(&words));
    }
    html
}

/// What each run has found, before what it has sampled.
fn found(records: &[Record]) -> String {
    let heads = overview::HEADS.map(|head| (head, !matches!(head, "run" | "strategy")));
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| Overview::new(record).row())
        .collect();
    let caption = "<p class=\"caption\">Found: the best reward, and the mean reward of the 15 best different architectures, \
                   of fewer where there are fewer. Sampled: mean rewards of all samples, of the first and of the \
                   last quarter.</p>";
    table(&heads, &rows) + caption
}

/// The trainings of the grid, and what the last one came to.
fn finished(finish: &Progress) -> String {
    let heads = final_training::HEADS.map(|(head, align)| (head, align == Align::Right));
    let rows = table(&heads, &final_training::rows(finish));
    let mut html = format!("<p>{}</p>", escaped(&final_training::line(finish)));
    let results = final_training::results(finish).into_iter();
    let results = results
        .map(|(what, value)| format!("<dt>{}</dt><dd>{}</dd>", escaped(&what), escaped(&value)));
    let _ = write!(html, "<dl>{}</dl>{rows}", results.collect::<String>());
    let note = escaped(final_training::note(finish.kind()));
    html + &format!("<p class=\"caption\">{note}</p>")
}

/// The best few, drawn.
fn best(record: &Record) -> String {
    let mut html = String::new();
    for (i, best) in record.summary.best.iter().take(DRAWN).enumerate() {
        let (score, value) = best.score.shown();
        let parameters = best
            .parameters
            .map(|n| format!(", {} parameters", text::count(n)));
        let drawing = match Architecture::from_json(best.architecture.get()) {
            Ok(architecture) => drawn(&architecture, best.parameters),
            Err(_) => format!("<pre>{}</pre>", escaped(best.architecture.get())),
        };
        let _ = write!(
            html,
            "<div class=\"best\"><strong>{}. sample {}</strong>: {score} {value}, reward {:.4}{}{drawing}</div>",
            i + 1,
            best.sample,
            best.reward,
            parameters.unwrap_or_default()
        );
    }
    match html.is_empty() {
        true => "<p>No child was trained to the end.</p>".to_owned(),
        false => html,
    }
}

/// An architecture as it is shown among the best: a picture, of one that can be built, and in words.
fn drawn(architecture: &Architecture, parameters: Option<u64>) -> String {
    let (svg, words) = match architecture {
        Architecture::Cell(of) => {
            let equations = format!("{}\n\n{}", cell::equations(of).join("\n"), cell::LETTERS);
            (Some(drawing::cell_svg(of)), equations)
        }
        Architecture::Bench(of) => (Some(drawing::bench_svg(of)), notation::line(architecture)),
        Architecture::Conv(of) => {
            let graph = Graph::new(of, classes(of, parameters)).ok();
            let svg = graph.map(|graph| drawing::network_svg(&graph));
            (svg, notation::line(architecture))
        }
    };
    let svg = svg.map_or(String::new(), |svg| {
        format!("<div class=\"drawing\">{svg}</div>")
    });
    format!("{svg}<pre class=\"wrap\">{}</pre>", escaped(&words))
}

/// The classes of a network with so many parameters; ten where that is not known.
fn classes(network: &ConvArchitecture, parameters: Option<u64>) -> usize {
    let of_one = Graph::new(network, 1).ok().map(|graph| {
        let a_class = graph.features() as u64 + 1;
        (Costs::new(&graph).parameters() - a_class, a_class)
    });
    let known = parameters
        .zip(of_one)
        .and_then(|(parameters, (own, a_class))| {
            let of_classes = parameters.checked_sub(own)?;
            usize::try_from(of_classes / a_class).ok()
        });
    known.filter(|&n| n > 0).unwrap_or(10)
}

/// How children failed, how many, and in which words most of them.
fn failures(record: &Record) -> String {
    let failed = overview::failures(record);
    if failed.is_empty() {
        return "<p>None.</p>".to_owned();
    }
    let n = record.rows.len() as f64;
    let row = |failure: &overview::Failures| {
        vec![
            failure.status.word().to_owned(),
            text::count(failure.count),
            format!("{:.2} %", failure.count as f64 / n * 100.0),
            failure.message.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = failed.iter().map(row).collect();
    table(
        &[
            ("status", false),
            ("children", true),
            ("share", true),
            ("most frequent message", false),
        ],
        &rows,
    )
}
