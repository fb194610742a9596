//! `nas-engine inspect`: layers, parameters, work and memory of an architecture; a recurrent cell
//! as equations and as a tree.

mod bench;
mod cell;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::{self, ConfigFlags, Settings, in_range, whole};
use super::output::Output;
use super::runs;
use crate::config::{BATCH, HIDDEN, VOCABULARY, default_preset};
use crate::device::{self, Convolution};
use crate::graph::cost::LayerCost;
use crate::graph::{Costs, Graph, GraphLayer, Options, Params, Plan};
use crate::report::notation;
use crate::report::table::{Align, aligned};
use crate::space::{Architecture, PRESETS, Space, Token, Variant};
use crate::text;
use crate::train::TrainError;

/// Classes that a network may tell apart.
pub const CLASSES: RangeInclusive<u64> = 1..=1_000_000;

/// Flags of `inspect`.
#[derive(Args)]
pub struct Flags {
    /// The architecture, a JSON file
    #[arg(long, value_name = "FILE")]
    arch: PathBuf,
    /// Say the architecture in the tokens of this space
    #[arg(long, value_name = "PRESET", value_parser = PossibleValuesParser::new(PRESETS))]
    preset: Option<String>,
    /// Images of a batch, for the memory of training; 128 by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(BATCH), value_name = "N")]
    batch: Option<i64>,
    /// Classes to tell apart; 10 by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(CLASSES), value_name = "N")]
    classes: Option<i64>,
    /// Units of a layer, for the parameters of a recurrent cell's language model
    #[arg(long, allow_negative_numbers = true, value_parser = whole(HIDDEN), value_name = "N")]
    hidden: Option<i64>,
    /// Words of that model; those of --config, else 10000
    #[arg(long, allow_negative_numbers = true, value_parser = whole(VOCABULARY), value_name = "N")]
    vocabulary: Option<i64>,
    /// The network varied, as the paper does: dense (every layer reads all before it), none (only the one
    /// before it) or add-filters:N
    #[arg(long, value_name = "VARIANT", allow_hyphen_values = true)]
    variant: Option<String>,
    /// Write the architecture here, varied where --variant is given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFlags,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let batch = flags.batch.unwrap_or(128);
    let batch = in_range("--batch", batch, &BATCH)?;
    let classes = in_range("--classes", flags.classes.unwrap_or(10), &CLASSES)?;
    let mut settings = Settings::default();
    settings.set("search.preset", "--preset", flags.preset.clone());
    let architecture = vary(flags, flags::read_architecture(&flags.arch)?)?;
    if let Some(path) = &flags.out {
        write(path, &architecture, output)?;
    }
    let config = settings.resolve(&flags.config, default_preset(architecture.kind()))?;
    let tokens: Result<Vec<Token>, String> = Space::new(&config.space)
        .and_then(|space| space.encode(&architecture))
        .map_err(|error| error.to_string());
    let network = match architecture {
        Architecture::Conv(network) => network,
        Architecture::Cell(cell) => {
            let for_network = [
                ("--batch", flags.batch.is_some()),
                ("--classes", flags.classes.is_some()),
            ];
            flags::refuse(&for_network, "a convolutional network", "a recurrent cell")?;
            let size = cell::Size::new(flags, &config, &cell)?;
            return cell::show(&cell, &tokens, size.as_ref(), output);
        }
        Architecture::Bench(cell) => return bench::show(flags, cell, &tokens, output),
    };
    let for_cell = [
        ("--hidden", flags.hidden.is_some()),
        ("--vocabulary", flags.vocabulary.is_some()),
    ];
    flags::refuse(&for_cell, "a recurrent cell", "a convolutional network")?;
    let graph = Graph::new(&network, classes).map_err(TrainError::from)?;
    let costs = Costs::new(&graph);
    let device = device::open("cpu", Some(1), Convolution::Auto)?;
    let plan = Plan::new(&graph, &Params::new(&graph), &*device, Options::new(batch));
    let json = json!({
        "layers": json_layers(&graph, &costs),
        "classifier_inputs": graph.classifier_inputs,
        "classifier_features": graph.features(),
        "parameters": costs.parameters(),
        "multiply_adds": costs.multiply_adds(),
        "training_memory_bytes": plan.arena_bytes,
        "tokens": tokens.as_ref().ok(),
        "tokens_reason": tokens.as_ref().err(),
    });
    let words = format!(
        "{}\n\
         parameters       {}\n\
         multiply-adds    {} an image\n\
         training memory  {} at batch {batch}\n\
         tokens           {}\n",
        table(&graph, &costs),
        text::count(costs.parameters()),
        text::count(costs.multiply_adds()),
        text::bytes(plan.arena_bytes as u64),
        tokens_in_words(&tokens),
    );
    output.result(&json, &words)
}

/// The architecture as `--variant` asks for it.
fn vary(flags: &Flags, architecture: Architecture) -> Result<Architecture, Failure> {
    let Some(variant) = &flags.variant else {
        return Ok(architecture);
    };
    let wrong = |error| {
        let message = format!("--variant: {error}");
        Failure::new(Kind::Usage, message)
    };
    let variant: Variant = variant.parse().map_err(wrong)?;
    let Architecture::Conv(network) = architecture else {
        let message = format!(
            "--variant goes with convolutional networks; {} holds a {}",
            flags.arch.display(),
            architecture.kind().noun()
        );
        return Err(Failure::new(Kind::Usage, message));
    };
    Ok(network.vary(variant).map_err(wrong)?.into())
}

/// Writes the architecture, whole or not at all, where there is no file yet.
fn write(path: &Path, architecture: &Architecture, output: &Output) -> Result<(), Failure> {
    if path.exists() {
        let message = format!(
            "--out {} is there already; give another name",
            path.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    flags::check_writable("--out", path)?;
    let text = format!("{}\n", architecture.to_json());
    runs::write("--out", path, text.as_bytes())?;
    flags::note_written(path, false, output);
    Ok(())
}

fn tokens_in_words(tokens: &Result<Vec<Token>, String>) -> String {
    match tokens {
        Ok(tokens) => tokens
            .iter()
            .map(Token::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        Err(reason) => format!("none: {reason}"),
    }
}

/// Layers 1, 2, … with their numbers and costs.
fn layers<'a>(
    graph: &'a Graph,
    costs: &'a Costs,
) -> impl Iterator<Item = (usize, &'a GraphLayer, &'a LayerCost)> {
    let numbered = graph.layers.iter().enumerate().skip(1).zip(&costs.layers);
    numbered.map(|((index, layer), cost)| (index, layer, cost))
}

fn json_layers(graph: &Graph, costs: &Costs) -> Vec<serde_json::Value> {
    let object = |(index, layer, cost): (usize, &GraphLayer, &LayerCost)| {
        json!({
            "index": index,
            "output": [layer.output.c(), layer.output.h, layer.output.w],
            "input_channels": layer.input.c(),
            "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds,
        })
    };
    layers(graph, costs).map(object).collect()
}

const HEADER: [(&str, Align); 7] = [
    ("layer", Align::Right),
    ("operation", Align::Left),
    ("inputs", Align::Left),
    ("channels", Align::Right),
    ("output", Align::Right),
    ("parameters", Align::Right),
    ("multiply-adds", Align::Right),
];

/// A row a layer, the classifier last.
fn table(graph: &Graph, costs: &Costs) -> String {
    let row = |(index, layer, cost): (usize, &GraphLayer, &LayerCost)| {
        let output = &layer.output;
        vec![
            index.to_string(),
            layer.op.as_ref().map_or(String::new(), notation::operation),
            numbers(&layer.inputs),
            layer.input.c().to_string(),
            format!("{}x{}x{}", output.c(), output.h, output.w),
            text::count(cost.parameters),
            text::count(cost.multiply_adds),
        ]
    };
    let mut rows: Vec<Vec<String>> = layers(graph, costs).map(row).collect();
    rows.push(vec![
        "out".to_owned(),
        format!("classifier, {} classes", graph.classes),
        numbers(&graph.classifier_inputs),
        graph.features().to_string(),
        graph.classes.to_string(),
        text::count(costs.classifier.parameters),
        text::count(costs.classifier.multiply_adds),
    ]);
    aligned(&HEADER, &rows)
}

fn numbers(list: &[usize]) -> String {
    list.iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}
