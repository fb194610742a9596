//! What a search would be: settings, size of the space, what its children take.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::failure::{Failure, Kind};
use crate::cli::flags;
use crate::cli::output::Output;
use crate::config::{Config, StrategyKind};
use crate::data::Dataset;
use crate::data::corpus::{Corpus, TextPart};
use crate::device::Device;
use crate::graph::{Costs, Graph, Options, Params, Plan};
use crate::report::notation;
use crate::rng::{Purpose, Rng};
use crate::search::Strategy;
use crate::space::{Architecture, Space, nas_bench_201};
use crate::text;
use crate::train::{Course, NetworkConfig, TrainConfig};

/// Architectures that are drawn to see what the space holds.
const DRAWS: u64 = 200;

/// Multiply-adds a second and thread that the estimate of time supposes, itself an estimate: a core
/// with AVX2 and FMA does 1e10 to 6e10 in the children of the sample space. `cargo bench -- step`
/// measures it: images a second x 3 x multiply-adds of the child.
const MULTIPLY_ADDS_PER_SECOND: f64 = 2e10;

/// What drawn children take: least, mean and most.
struct Range {
    least: u64,
    mean: f64,
    most: u64,
}

/// Shows what the search would be.
pub fn run(
    config: &Config,
    course: &Course,
    device: &dyn Device,
    output: &Output,
) -> Result<(), Failure> {
    match course {
        Course::Images(dataset, train) => networks(config, dataset, train, device, output),
        Course::Text(corpus, _) => cells(config, course, corpus, device, output),
        Course::Table(_) => looked_up(config, output),
    }
}

fn networks(
    config: &Config,
    dataset: &Dataset,
    train: &NetworkConfig,
    device: &dyn Device,
    output: &Output,
) -> Result<(), Failure> {
    let space =
        Space::new(&config.space).map_err(|error| Failure::from_error(Kind::Config, &error))?;
    let drawn = draw(config, &space, dataset, train, device)?;
    let parameters = range(drawn.iter().map(|child| child.parameters));
    let memory = range(drawn.iter().map(|child| child.memory));
    let multiply_adds = range(drawn.iter().map(|child| child.multiply_adds));
    let n_images = dataset.n_train() as f64;
    // Forward and backward are three times forward; a tenth of the images is validated on.
    let child = 2.8 * n_images * train.epochs as f64 * multiply_adds.mean;
    let (threads, seconds) = estimate(config, child);
    let (first, last) = (
        space.depth(0),
        space.depth(config.search.samples.saturating_sub(1)),
    );
    let json = json!({
        "config": config,
        "policy": config.search.strategy == StrategyKind::Policy,
        "depth": {"first": first, "last": last},
        "log10_architectures": {"first": space.log10_size(first), "last": space.log10_size(last)},
        "draws": DRAWS,
        "buildable": drawn.len(),
        "parameters": parameters.json(),
        "training_memory_bytes": memory.json(),
        "multiply_adds": multiply_adds.json(),
        "estimated_seconds": seconds,
    });
    let count = |n: f64| text::count(n as u64);
    let words = format!(
        "{}\n# {DRAWS} uniform draws, {} of them can be built:\n\
         #   architectures    10^{:.1} of {first} layers, 10^{:.1} of {last}\n\
         #   parameters       {} to {}, mean {}\n\
         #   training memory  {} to {} a child, batch {}\n\
         #   multiply-adds    {} to {} an image, mean {}\n\
         # about {} for {} samples on {threads} threads: mean multiply-adds x 2.8 (forward,\n\
         # backward, validation) x images x epochs, at an estimated {:.0} billion a second\n\
         # and thread (cargo bench -- step).\n\
         # Nothing was run; leave out --dry-run to begin.\n",
        config.to_toml(),
        drawn.len(),
        space.log10_size(first),
        space.log10_size(last),
        text::count(parameters.least),
        text::count(parameters.most),
        count(parameters.mean),
        text::bytes(memory.least),
        text::bytes(memory.most),
        train.batch,
        text::count(multiply_adds.least),
        text::count(multiply_adds.most),
        count(multiply_adds.mean),
        text::duration(seconds),
        config.search.samples,
        MULTIPLY_ADDS_PER_SECOND / 1e9,
    );
    output.result(&json, &words)
}

/// Cells that are shown of what a search begins with.
const SHOWN: u64 = 3;

/// Shows some cells besides, as the search would begin with. All children are of one size.
fn cells(
    config: &Config,
    course: &Course,
    corpus: &Corpus,
    device: &dyn Device,
    output: &Output,
) -> Result<(), Failure> {
    let space = super::space(config)?;
    let first = SHOWN.min(config.search.samples);
    let tokens =
        Strategy::new(config, &space).propose(&space, BTreeMap::new().range(..0), 0..first);
    let cells: Result<Vec<Architecture>, _> =
        tokens.iter().map(|tokens| space.decode(tokens)).collect();
    let cells = cells.map_err(|error| Failure::from_error(Kind::Run, &error))?;
    let n_tokens = space.decisions().most_steps();
    let child = course.child(&cells[0])?;
    let memory = child.plan(device).arena_bytes as u64;
    // Each weight once a word; a word's own vector is looked up, in the decoder's matrix if it is tied.
    let tied = matches!(&config.train, TrainConfig::Language(train) if train.tied);
    let looked_up = if tied {
        0
    } else {
        child.params().trained[0].len()
    };
    let multiply_adds = child.parameters() - looked_up as u64;
    let words = corpus.tokens(TextPart::Train).len() as f64;
    // Forward and backward are three times forward.
    let validation = corpus.tokens(TextPart::Validation).len() as f64;
    let passes = (3.0 * words + validation) * child.epochs() as f64;
    let (threads, seconds) = estimate(config, passes * multiply_adds as f64);
    let json = json!({
        "config": config,
        "policy": config.search.strategy == StrategyKind::Policy,
        "log10_architectures": {"first": space.log10_size(1), "last": space.log10_size(1)},
        "tokens": n_tokens,
        "first_samples": cells,
        "hidden": child.hidden(),
        "parameters": child.parameters(),
        "training_memory_bytes": memory,
        "multiply_adds": multiply_adds,
        "estimated_seconds": seconds,
    });
    let shown: String = cells
        .iter()
        .map(|cell| format!("#   {}\n", notation::line(cell)))
        .collect();
    let words = format!(
        "{}\n# {n_tokens} tokens a cell, 10^{:.1} cells; the first samples:\n{shown}\
         # every child:\n\
         #   hidden units     {}\n\
         #   parameters       {}\n\
         #   training memory  {}\n\
         #   multiply-adds    {} a word\n\
         # about {} for {} samples on {threads} threads, at an estimated {:.0} billion\n\
         # multiply-adds a second and thread.\n\
         # Nothing was run; leave out --dry-run to begin.\n",
        config.to_toml(),
        space.log10_size(1),
        child.hidden().unwrap_or(0),
        text::count(child.parameters()),
        text::bytes(memory),
        text::count(multiply_adds),
        text::duration(seconds),
        config.search.samples,
        MULTIPLY_ADDS_PER_SECOND / 1e9,
    );
    output.result(&json, &words)
}

/// Shows the settings of a search that trains nothing.
fn looked_up(config: &Config, output: &Output) -> Result<(), Failure> {
    let space = super::space(config)?;
    let log10_size = space.log10_size(1);
    let json = json!({
        "config": config,
        "policy": config.search.strategy == StrategyKind::Policy,
        "log10_architectures": {"first": log10_size, "last": log10_size},
    });
    let words = format!(
        "{}\n# {} cells, whose accuracies are looked up: {} samples take seconds.\n\
         # Nothing was run; leave out --dry-run to begin.\n",
        config.to_toml(),
        text::count(nas_bench_201::CELLS as u64),
        config.search.samples,
    );
    output.result(&json, &words)
}

/// Threads, and the seconds that they take for children of so many multiply-adds each.
fn estimate(config: &Config, multiply_adds: f64) -> (usize, f64) {
    let threads = flags::threads(config);
    let pace = MULTIPLY_ADDS_PER_SECOND * threads as f64;
    (threads, config.search.samples as f64 * multiply_adds / pace)
}

/// What a child takes.
struct Drawn {
    parameters: u64,
    memory: u64,
    multiply_adds: u64,
}

/// Draws architectures over the whole schedule; those that can be built.
fn draw(
    config: &Config,
    space: &Space,
    dataset: &Dataset,
    train: &NetworkConfig,
    device: &dyn Device,
) -> Result<Vec<Drawn>, Failure> {
    let last = config.search.samples.saturating_sub(1);
    let samples = (0..DRAWS).map(|i| last * i / (DRAWS - 1));
    let mut drawn = Vec::new();
    for (i, sample) in samples.enumerate() {
        let depth = space.depth(sample);
        let mut rng = Rng::new(config.search.seed, Purpose::Sample, i as u64);
        let architecture = space
            .decode(&space.decisions().draw(depth, &mut rng))
            .map_err(|error| Failure::from_error(Kind::Run, &error))?;
        let Architecture::Conv(network) = architecture else {
            continue;
        };
        let Ok(graph) = Graph::new(&network, dataset.classes().len()) else {
            continue;
        };
        let options = Options::new(train.batch);
        let costs = Costs::new(&graph);
        drawn.push(Drawn {
            parameters: costs.parameters(),
            memory: Plan::new(&graph, &Params::new(&graph), device, options).arena_bytes as u64,
            multiply_adds: costs.multiply_adds(),
        });
    }
    Ok(drawn)
}

fn range(values: impl Iterator<Item = u64> + Clone) -> Range {
    let n = values.clone().count().max(1) as f64;
    Range {
        least: values.clone().min().unwrap_or(0),
        mean: values.clone().map(|value| value as f64).sum::<f64>() / n,
        most: values.max().unwrap_or(0),
    }
}

impl Range {
    fn json(&self) -> serde_json::Value {
        json!({"least": self.least, "mean": self.mean, "most": self.most})
    }
}
