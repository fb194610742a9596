//! Layers of the paper's two printed cells against their printed formulas: values, and gradients as
//! forward-mode derivatives and as finite differences of every parameter. The window that is looked
//! at is the second, which goes on from the states of the first.

mod formulas;
pub mod stack;

use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Device, List};
use nas_engine::graph::Options;
use nas_engine::graph::params::Param;
use nas_engine::graph::plan::Builder;
use nas_engine::graph::step::Step;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::{Architecture, CellArchitecture};

use crate::gradients::{Tally, check};
use formulas::{Dual, Formula};
use stack::Sizes;

/// Both sides compute in f64; what differs is the order of sums of tens of terms.
const TOLERANCE: f64 = 1e-10;

/// One with which no ReLU blocks the whole gradient of a tensor.
const SEED: u64 = 11;

const SIZES: [Sizes; 3] = [
    Sizes {
        layers: 1,
        steps: 4,
        rows: 2,
        inputs: 3,
        hidden: 4,
    },
    Sizes {
        layers: 2,
        steps: 5,
        rows: 3,
        inputs: 2,
        hidden: 3,
    },
    Sizes {
        layers: 2,
        steps: 1,
        rows: 1,
        inputs: 1,
        hidden: 1,
    },
];

/// A printed cell: its file, its formula, the leaves of its tree.
const CELLS: [(&str, Formula, usize); 2] = [
    ("cell-worked", formulas::worked, 2),
    ("cell-published", formulas::published, 8),
];

/// Layers of a cell with numbers for two windows.
struct Model {
    cell: CellArchitecture,
    sizes: Sizes,
    params: Vec<Param>,
    /// Weights of the first window and of the second.
    weights: [Vec<f64>; 2],
    inputs: [Vec<f64>; 2],
    /// Gradient to what the last layer gives in the second window: the loss is the sum of products.
    doutput: Vec<f64>,
}

/// What the engine gives in the second window.
struct Found {
    /// h and c of each layer, `[t + 1][b][h]`.
    states: Vec<[Vec<f64>; 2]>,
    loss: f64,
    dinput: Vec<f64>,
    dweights: Vec<f64>,
}

impl Model {
    fn new(name: &str, sizes: Sizes, seed: u64) -> Model {
        let path = format!("{}/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let Ok(Architecture::Cell(cell)) = Architecture::from_json(&text) else {
            panic!("{name} is a cell");
        };
        let mut params = vec![];
        stack::push_layers(&mut params, &cell, &sizes);
        let numbers = |index, len, bound: f64| -> Vec<f64> {
            let mut rng = Rng::new(seed, Purpose::Test, index);
            (0..len).map(|_| rng.uniform_in(-bound, bound)).collect()
        };
        let (n_weights, places) = (stack::n_values(&params), sizes.steps * sizes.rows);
        Model {
            weights: [0, 1].map(|index| numbers(index, n_weights, 1.0)),
            inputs: [2, 3].map(|index| numbers(index, places * sizes.inputs, 2.0)),
            doutput: numbers(4, places * sizes.hidden, 1.0),
            cell,
            sizes,
            params,
        }
    }

    /// Both windows on the reference device.
    fn engine(&self) -> Found {
        let sizes = &self.sizes;
        let options = Options {
            reuse: false, // everything is read after the run
            ..Options::new(sizes.rows)
        };
        let mut builder = Builder::new(&Reference, options, stack::n_values(&self.params), 0);
        let stack = stack::build(&mut builder, &self.cell, sizes, &self.params);
        builder.plan().train = vec![Step::Unroll(stack.clone()), Step::Advance];
        builder.plan().evaluate = vec![Step::UnrollGrad(stack.clone())];
        let plan = builder.finish();
        let mut session = Reference.load(&plan, None).unwrap();
        let order: Vec<u32> = (0..2 * sizes.rows as u32).collect();
        session.begin(&order, Control::EVALUATE);
        for (weights, input) in self.weights.iter().zip(&self.inputs) {
            session.write(plan.weights, weights);
            session.write(stack.input, input);
            session.run(List::Train, 1);
        }
        session.write(stack.doutput, &self.doutput);
        session.run(List::Evaluate, 1);
        let mut read = |buffer| session.read(buffer).unwrap();
        let states = stack.layers.iter();
        let states = states.map(|layer| [read(layer.h), read(layer.c)]).collect();
        let output = read(stack.output);
        let products = output.iter().zip(&self.doutput).map(|(x, dx)| x * dx);
        Found {
            states,
            loss: products.sum(),
            dinput: read(stack.dinput),
            dweights: read(plan.gradients),
        }
    }

    /// The same by the formula: the states of the second window, and the loss with its slope where
    /// one number of the second window moves: a weight, or an input, of this place.
    fn printed(
        &self,
        cell: (Formula, usize),
        weight: Option<usize>,
        input: Option<usize>,
    ) -> (formulas::States, Dual) {
        let constant = |values: &[f64]| -> Vec<Dual> {
            values.iter().map(|&value| Dual::constant(value)).collect()
        };
        let [mut weights, mut inputs] = [&self.weights, &self.inputs].map(|windows| {
            let [first, second] = windows;
            [constant(first), constant(second)]
        });
        weight.into_iter().for_each(|at| weights[1][at].slope = 1.0);
        input.into_iter().for_each(|at| inputs[1][at].slope = 1.0);
        let sizes = &self.sizes;
        let first = formulas::window(cell, sizes, &weights[0], &inputs[0], None);
        let states = formulas::window(cell, sizes, &weights[1], &inputs[1], Some(&first));
        let [h, _] = states.last().unwrap();
        let loss = formulas::dot(&h[sizes.rows * sizes.hidden..], &constant(&self.doutput));
        (states, loss)
    }
}

/// Panics where a value is further from what it should be than [`TOLERANCE`] of the largest.
fn assert_near(what: &str, ours: &[f64], expected: &[f64]) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        // Not `>`, which a NaN would pass.
        let near = (a - b).abs() <= TOLERANCE * largest;
        assert!(near, "{what}[{i}] is {a:e} and should be {b:e}");
    }
    assert!(largest > 0.0, "{what}: all are 0, which shows nothing");
}

fn models() -> impl Iterator<Item = (String, Model, (Formula, usize))> {
    let pairs = CELLS
        .into_iter()
        .flat_map(|cell| SIZES.map(|sizes| (cell, sizes)));
    pairs.map(|((name, formula, leaves), sizes)| {
        let model = Model::new(name, sizes, SEED);
        (format!("{name}, {sizes:?}"), model, (formula, leaves))
    })
}

// paper P8.1, P8.2, P8.3
#[test]
fn the_printed_cells_are_their_formulas() {
    for (name, model, formula) in models() {
        let found = model.engine();
        let (states, loss) = model.printed(formula, None, None);
        assert_near(&format!("{name}: loss"), &[found.loss], &[loss.value]);
        for (layer, (ours, expected)) in found.states.iter().zip(&states).enumerate() {
            for (what, ours, expected) in
                [("h", &ours[0], &expected[0]), ("c", &ours[1], &expected[1])]
            {
                let expected: Vec<f64> = expected.iter().map(|x| x.value).collect();
                assert_near(
                    &format!("{name}: {what} of layer {}", layer + 1),
                    ours,
                    &expected,
                );
            }
        }
        let slopes = |len: usize, slope: &dyn Fn(usize) -> Dual| -> Vec<f64> {
            (0..len).map(|at| slope(at).slope).collect()
        };
        let of_input = |at| model.printed(formula, None, Some(at)).1;
        let expected = slopes(found.dinput.len(), &of_input);
        assert_near(&format!("{name}: dinput"), &found.dinput, &expected);
        let of_weight = |at| model.printed(formula, Some(at), None).1;
        let expected = slopes(found.dweights.len(), &of_weight);
        for param in &model.params {
            let what = format!("{name}: gradient of {}", param.name);
            assert_near(
                &what,
                &found.dweights[param.range()],
                &expected[param.range()],
            );
        }
    }
}

#[test]
fn gradients_of_the_printed_cells_are_finite_differences() {
    for (name, mut model, _) in models() {
        let found = model.engine();
        let mut tally = Tally::default();
        for param in model.params.clone() {
            let gradients = &found.dweights[param.range()];
            let largest = gradients.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
            for at in param.range() {
                let weight = model.weights[1][at];
                let place = check(found.dweights[at], largest, found.loss, |by| {
                    model.weights[1][at] = weight + by;
                    let loss = model.engine().loss;
                    model.weights[1][at] = weight;
                    loss
                });
                tally.note(place, || format!("{}[{}]", param.name, at - param.offset));
            }
        }
        tally.assert(&name);
    }
}
