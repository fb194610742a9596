//! Random recurrent cells against JAX: language models of each, trained on two windows of a text.
//!
//! Cells of one size are a group, which the oracle evaluates together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use nas_engine::data::windows::Windows;
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Convolution, Device, Input, InputSource, List, Session};
use nas_engine::graph::params::Param;
use nas_engine::graph::plan::Builder;
use nas_engine::graph::recurrent::{Decoder, Embedding, Stack};
use nas_engine::graph::step::{BufferId, Content, Step};
use nas_engine::graph::{Options, Plan};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::cell::{Activation, Combination};
use nas_engine::space::{Architecture, CellArchitecture, CellSpace, CellSpaceConfig};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::files::{self, Array};
use crate::recurrent::stack::{self, Sizes};

/// Leaves of a group's trees, or nothing for the LSTM; groups; cells of each.
const GROUPS: [(Option<usize>, u64, usize); 4] = [
    (Some(2), 2, 34),
    (Some(4), 2, 34),
    (Some(8), 2, 34),
    (None, 1, 8),
];

/// Windows that are trained on: the second goes on from the state that the first left.
const WINDOWS: usize = 2;

/// Both sides compute in f64; what differs is the order of sums.
const BOUND: f64 = 1e-9;
/// A tensor whose largest value is less counts as this large.
const FLOOR: f64 = 1e-6;

/// The same in f32: each product and activation rounds by 6e-8, over layers and steps.
const BOUND_F32: f64 = 1e-5;
const FLOOR_F32: f64 = 1e-2;

/// Large enough for a longer gradient to be shortened in some cases and not in others.
const CONTROL: Control = Control {
    learning_rate: 0.5,
    max_norm: 2.0,
    ..Control::EVALUATE
};

/// Cells of one size, each with weights and a text of its own.
struct Group {
    number: u64,
    cells: Vec<CellArchitecture>,
    sizes: Sizes,
    vocabulary: usize,
    /// Whether the decoder's matrix is the embedding.
    tied: bool,
    /// Steps of the second window that have a target.
    last_steps: usize,
    params: Vec<Param>,
}

/// One cell of a group, for messages.
struct Case<'a>(&'a Group, usize);

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Case(group, index) = self;
        write!(
            f,
            "group {}, cell {index}: {:?}, {} words, tied {}, {} steps in the last window, {}",
            group.number,
            group.sizes,
            group.vocabulary,
            group.tied,
            group.last_steps,
            to_json(&group.cells[*index])
        )
    }
}

fn to_json(cell: &CellArchitecture) -> String {
    Architecture::Cell(cell.clone()).to_json()
}

/// A random cell, `max` and `sin` among the choices.
fn draw(base: usize, rng: &mut Rng) -> CellArchitecture {
    let config = CellSpaceConfig {
        base,
        combinations: Combination::ALL.to_vec(),
        activations: Activation::ALL.to_vec(),
    };
    let space = CellSpace::new(&config).unwrap();
    let tokens = space.decisions().draw(1, rng);
    space.decode(&tokens).unwrap()
}

impl Group {
    fn new(number: u64, base: Option<usize>, n_cells: usize) -> Group {
        let mut rng = Rng::new(number, Purpose::Test, 0);
        let cells: Vec<CellArchitecture> = (0..n_cells)
            .map(|_| base.map_or(CellArchitecture::Lstm, |base| draw(base, &mut rng)))
            .collect();
        let hidden = 2 + rng.below(5) as usize;
        let sizes = Sizes {
            layers: 1 + number as usize % 2,
            steps: 3 + rng.below(3) as usize,
            rows: 1 + rng.below(3) as usize,
            inputs: hidden,
            hidden,
        };
        let vocabulary = 3 + rng.below(7) as usize;
        let tied = rng.below(2) == 0;
        let mut params = vec![];
        stack::push(
            &mut params,
            "embedding.weight".into(),
            &[vocabulary, hidden],
        );
        stack::push_layers(&mut params, &cells[0], &sizes);
        if !tied {
            stack::push(&mut params, "decoder.weight".into(), &[vocabulary, hidden]);
        }
        stack::push(&mut params, "decoder.bias".into(), &[vocabulary]);
        Group {
            number,
            cells,
            last_steps: sizes.steps - rng.below(2) as usize,
            sizes,
            vocabulary,
            tied,
            params,
        }
    }

    /// Words of a text, some of them after the end of the last whole row.
    fn text(&self, index: usize) -> Vec<u32> {
        let mut rng = Rng::new(self.number, Purpose::Test, 1 + 2 * index as u64);
        let row = (WINDOWS - 1) * self.sizes.steps + self.last_steps + 1;
        let n_words = self.sizes.rows * row + self.number as usize % self.sizes.rows;
        let words = (0..n_words).map(|_| rng.below(self.vocabulary as u32));
        words.collect()
    }

    fn weights(&self, index: usize) -> Vec<f32> {
        let mut rng = Rng::new(self.number, Purpose::Test, 2 + 2 * index as u64);
        let n_weights = stack::n_values(&self.params);
        (0..n_weights)
            .map(|_| rng.uniform_in(-0.6, 0.6) as f32)
            .collect()
    }

    fn folder(&self) -> String {
        format!("cells-{:02}", self.number)
    }

    fn write_question(&self, root: &Path) {
        let folder = root.join(self.folder());
        fs::create_dir(&folder).unwrap();
        let cells = self.cells.iter();
        let cells: Vec<Value> = cells
            .map(|cell| serde_json::from_str(&to_json(cell)).unwrap())
            .collect();
        let question = json!({
            "cells": cells,
            "layers": self.sizes.layers,
            "steps": self.sizes.steps,
            "rows": self.sizes.rows,
            "learning_rate": f64::from(CONTROL.learning_rate),
            "max_norm": f64::from(CONTROL.max_norm),
        });
        fs::write(folder.join("cells.json"), question.to_string()).unwrap();
        files::write_arrays(&folder, &self.inputs());
    }

    /// Texts and weights, an entry for each cell.
    fn inputs(&self) -> BTreeMap<String, Array> {
        let n_cells = self.cells.len();
        let bytes = |index| self.text(index).into_iter().map(|word| word as u8);
        let texts: Vec<u8> = (0..n_cells).flat_map(bytes).collect();
        let shape = vec![n_cells, texts.len() / n_cells];
        let mut arrays = BTreeMap::from([("tokens".to_string(), (Dtype::U8, shape, texts))]);
        let weights: Vec<Vec<f32>> = (0..n_cells).map(|index| self.weights(index)).collect();
        for param in &self.params {
            let values: Vec<f32> = weights
                .iter()
                .flat_map(|weights| weights[param.range()].iter().copied())
                .collect();
            let shape = [&[n_cells][..], &param.shape].concat();
            arrays.insert(param.name.clone(), files::floats(&shape, &values));
        }
        arrays
    }

    /// The plan of a language model, and its layers in it.
    fn plan(&self, device: &dyn Device, cell: &CellArchitecture) -> (Plan, Stack) {
        let Sizes {
            steps,
            rows,
            hidden,
            ..
        } = self.sizes;
        let options = Options {
            reuse: false, // everything is read after the run
            ..Options::new(rows)
        };
        let params = &self.params;
        let mut builder = Builder::new(device, options, stack::n_values(params), 0);
        let stack = stack::build(&mut builder, cell, &self.sizes, params);
        let n = steps * rows;
        let mut tokens = |name: &str| builder.buffer(name, Content::Values(n));
        let (inputs, targets) = (tokens("inputs"), tokens("targets"));
        let span = |name: &str| stack::span(params, name);
        let embedding = Embedding {
            tokens: inputs,
            out: stack.input,
            dout: stack.dinput,
            n,
            hidden,
            weight: span("embedding.weight").unwrap(),
            tied: self.tied,
        };
        let decoder = Decoder {
            x: stack.output,
            dx: stack.doutput,
            targets,
            n,
            rows,
            hidden,
            vocabulary: self.vocabulary,
            weight: span("decoder.weight").unwrap_or(embedding.weight),
            bias: span("decoder.bias").unwrap(),
        };
        builder.plan().train = vec![
            Step::LoadTokens {
                inputs,
                targets,
                steps,
            },
            Step::Embedding(embedding.clone()),
            Step::Unroll(stack.clone()),
            Step::Decoder(decoder),
            Step::UnrollGrad(stack.clone()),
            Step::EmbeddingGrad(embedding),
            Step::Descend,
        ];
        (builder.finish(), stack)
    }

    /// What a device gives for a cell, by the oracle's names.
    fn run(&self, device: &dyn Device, index: usize) -> Vec<(String, Vec<f64>)> {
        let (plan, stack) = self.plan(device, &self.cells[index]);
        let mut windows = Windows::default();
        let rows = windows.add(&self.text(index), self.sizes.rows).unwrap();
        let source = InputSource::Tokens(windows.tokens());
        let mut session = device.load(&plan, Some(Input { source, seed: 0 })).unwrap();
        let session = &mut *session;
        let weights: Vec<f64> = self.weights(index).into_iter().map(f64::from).collect();
        session.write(plan.weights, &weights);
        session.begin(&rows.starts(self.sizes.steps, false), CONTROL);
        let mut found = vec![];
        for window in 1..=WINDOWS {
            session.run(List::Train, 1);
            self.read_window(session, &plan, &stack, window, &mut found);
        }
        self.read_vector(session, "last", plan.weights, &mut found);
        let results = session.results().unwrap();
        assert_eq!(results.loss_sums.len(), WINDOWS);
        assert!(results.finite, "{}", Case(self, index));
        for (i, sum) in results.loss_sums.iter().enumerate() {
            let loss = vec![sum / self.sizes.rows as f64];
            found.push((format!("loss.{}", i + 1), loss));
        }
        found
    }

    /// States after each step that has a target, and gradients.
    fn read_window(
        &self,
        session: &mut dyn Session,
        plan: &Plan,
        stack: &Stack,
        window: usize,
        found: &mut Vec<(String, Vec<f64>)>,
    ) {
        for (number, layer) in (1..).zip(&stack.layers) {
            for (what, buffer) in [("h", layer.h), ("c", layer.c)] {
                let values = session.read(buffer).unwrap()[self.n_state()..].to_vec();
                found.push((format!("{what}.{window}.{number}"), values));
            }
        }
        let name = format!("gradient.{window}");
        self.read_vector(session, &name, plan.gradients, found);
    }

    /// Values of a layer's h.
    fn n_state(&self) -> usize {
        self.sizes.rows * self.sizes.hidden
    }

    fn read_vector(
        &self,
        session: &mut dyn Session,
        what: &str,
        buffer: BufferId,
        found: &mut Vec<(String, Vec<f64>)>,
    ) {
        let values = session.read(buffer).unwrap();
        let named = self.params.iter().map(|param| {
            let name = format!("{what}.{}", param.name);
            (name, values[param.range()].to_vec())
        });
        found.extend(named);
    }

    /// How many of a tensor's values mean something: not the states of steps without a target.
    fn n_compared(&self, name: &str, len: usize) -> usize {
        let last = [format!("h.{WINDOWS}."), format!("c.{WINDOWS}.")];
        match last.iter().any(|prefix| name.starts_with(prefix)) {
            true => self.last_steps * self.n_state(),
            false => len,
        }
    }
}

/// Quantities by name, each with the values of all cells of a group.
type Answer = BTreeMap<String, Vec<f64>>;

/// Every group with the oracle's answer.
static ANSWERS: LazyLock<Vec<(Group, Answer)>> = LazyLock::new(|| {
    let kinds = GROUPS
        .iter()
        .flat_map(|&(base, n, cells)| (0..n).map(move |_| (base, cells)));
    let groups: Vec<Group> = (0..)
        .zip(kinds)
        .map(|(number, (base, n_cells))| Group::new(number, base, n_cells))
        .collect();
    let root = tempfile::tempdir().unwrap();
    groups
        .iter()
        .for_each(|group| group.write_question(root.path()));
    super::consult(root.path());
    let answer = |group: Group| {
        let arrays = files::read_arrays(&root.path().join(group.folder()));
        (group, arrays)
    };
    groups.into_iter().map(answer).collect()
});

/// What does not jump: losses and states of the first window. Gradients do where a ReLU or a maximum
/// turns; `ops` and `gradients` look at them.
#[test]
fn cpu_is_the_oracle_within_f32() {
    let device = Cpu::new(Some(2), Convolution::Auto).unwrap();
    let names = ["h.1.1", "c.1.1", "h.1.2", "c.1.2", "loss.1"];
    for (group, answer) in ANSWERS.iter() {
        for index in 0..group.cells.len() {
            let found = group.run(&device, index);
            let compared = found.iter().filter(|(name, _)| names.contains(&&**name));
            for (name, ours) in compared {
                let theirs = &answer[name][index * ours.len()..][..ours.len()];
                let bounds = (BOUND_F32, FLOOR_F32);
                files::compare(name, ours, theirs, bounds, &Case(group, index));
            }
        }
    }
}

// paper P8.2, P8.3
#[test]
fn the_reference_is_the_oracle_to_1e_9() {
    let (mut n_trees, mut n_recurrent, mut seen) = (0, 0, BTreeSet::new());
    for (group, answer) in ANSWERS.iter() {
        for index in 0..group.cells.len() {
            let found = group.run(&Reference, index);
            for (name, ours) in &found {
                let theirs = &answer[name][index * ours.len()..][..ours.len()];
                let n = group.n_compared(name, ours.len());
                let case = Case(group, index);
                files::compare(name, &ours[..n], &theirs[..n], (BOUND, FLOOR), &case);
            }
            assert!(found.len() >= answer.len(), "the oracle gives more");
            let is_recurrent = |(name, values): &(String, Vec<f64>)| {
                name == "gradient.2.layers.1.hidden.weight" && values.iter().any(|x| *x != 0.0)
            };
            n_recurrent += usize::from(found.iter().any(is_recurrent));
            if let CellArchitecture::Tree(tree) = &group.cells[index] {
                n_trees += 1;
                seen.extend(tree.nodes.iter().map(|(a, b)| (a.name(), b.name())));
            }
        }
    }
    assert!(n_trees >= 200, "{n_trees} trees");
    assert!(
        n_recurrent >= 150,
        "{n_recurrent} cells with a gradient to U"
    );
    assert_eq!(seen.len(), 15, "operations: {seen:?}");
}
