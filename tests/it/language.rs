//! Whole language models, from a cell to the plan's lists: gradients, memory, learning.

use nas_engine::data::windows::Windows;
use nas_engine::device::cpu::Cpu;
use nas_engine::device::reference::Reference;
use nas_engine::device::{
    Control, Convolution, Device, Input, InputSource, List, Results, Session,
};
use nas_engine::graph::language::{INITIAL, LanguageModel, LanguageSettings};
use nas_engine::graph::recurrent::Dropout;
use nas_engine::graph::{Options, Params, Plan};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::{Architecture, CellArchitecture};
use nas_engine::train::generate::Reader;

const ROWS: usize = 3;
const STEPS: usize = 4;
const VOCABULARY: usize = 11;
/// Words of the text: rows of whole windows, and one that is shorter.
const WORDS: usize = ROWS * (2 * STEPS + 3);

const CONTROL: Control = Control {
    learning_rate: 0.5,
    max_norm: 5.0,
    epoch: Some(1),
    ..Control::EVALUATE
};

fn cells() -> [CellArchitecture; 3] {
    [
        include_str!("../../examples/cell-worked.json"),
        include_str!("../../examples/cell-published.json"),
        include_str!("../../examples/cell-lstm.json"),
    ]
    .map(|json| match Architecture::from_json(json) {
        Ok(Architecture::Cell(cell)) => cell,
        other => panic!("{other:?}"),
    })
}

fn settings(hidden: usize, tied: bool, rate: f64) -> LanguageSettings {
    LanguageSettings {
        layers: 2,
        hidden,
        vocabulary: VOCABULARY,
        tied,
        dropout: Dropout {
            rate,
            variational: false,
        },
        initial: INITIAL,
    }
}

/// A text in which every word follows from the one before.
fn text() -> Vec<u32> {
    (0..WORDS as u32)
        .map(|i| i * i % VOCABULARY as u32)
        .collect()
}

/// A plan with the parameters that it is of.
fn plan(
    cell: &CellArchitecture,
    settings: LanguageSettings,
    device: &dyn Device,
    options: Options,
) -> (Plan, Params) {
    let model = LanguageModel::new(cell, settings).expect("sound settings");
    let (params, spans) = model.params();
    let plan = Plan::of_language(&model, (&params, &spans), device, options, STEPS);
    (plan, params)
}

/// Values much larger than initial ones, so that every gradient is seen.
fn lively(params: &Params) -> Vec<f64> {
    let mut rng = Rng::new(3, Purpose::Test, 1);
    let value = |_| f64::from((0.5 * rng.normal()) as f32);
    (0..params.n_trained()).map(value).collect()
}

/// Runs a list over the windows of the text, from weights.
fn run(
    session: &mut dyn Session,
    plan: &Plan,
    weights: &[f64],
    starts: &[u32],
    list: List,
    control: Control,
) -> Results {
    session.write(plan.weights, weights);
    session.begin(starts, control);
    session.run(list, starts.len() / ROWS);
    session.results().expect("it runs")
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-6;
    for cell in cells() {
        for (tied, rate) in [(false, 0.0), (true, 0.4)] {
            let options = Options {
                reuse: false,
                ..Options::new(ROWS)
            };
            let (plan, params) = plan(&cell, settings(5, tied, rate), &Reference, options);
            let mut windows = Windows::default();
            let rows = windows.add(&text(), ROWS).expect("long enough");
            let starts = &rows.starts(STEPS, true)[..ROWS];
            let input = Input {
                source: InputSource::Tokens(windows.tokens()),
                seed: 5,
            };
            let mut session = Reference.load(&plan, Some(input)).expect("it loads");
            let weights = lively(&params);
            run(&mut *session, &plan, &weights, starts, List::Train, CONTROL);
            let gradients = session.read(plan.gradients).expect("it reads");
            // What is descended is the sum over the steps of the mean over the rows.
            let mut loss = |weights: &[f64]| {
                let results = run(&mut *session, &plan, weights, starts, List::Train, CONTROL);
                results.loss_sums[0] / ROWS as f64
            };
            for param in &params.trained {
                let largest = gradients[param.range()]
                    .iter()
                    .fold(0.0f64, |a, g| a.max(g.abs()));
                let mut places: Vec<usize> = param.range().collect();
                Rng::new(1, Purpose::Test, param.offset as u64).shuffle(&mut places);
                let mut seen = 0;
                for &place in places.iter().take(8) {
                    let mut at = |by: f64| {
                        let mut weights = weights.clone();
                        weights[place] += by;
                        loss(&weights)
                    };
                    let (low, middle, high) = (at(-STEP), at(0.0), at(STEP));
                    let (left, right) = ((middle - low) / STEP, (high - middle) / STEP);
                    if (left - right).abs() > 1e-3 * (largest + 1e-3) {
                        continue; // a kink of a ReLU within the step
                    }
                    seen += 1;
                    let difference = (high - low) / (2.0 * STEP);
                    assert!(
                        (gradients[place] - difference).abs() <= 1e-6 * largest + 1e-8,
                        "{} at {place}: {} and {difference}",
                        param.name,
                        gradients[place]
                    );
                }
                assert!(
                    seen >= places.len().min(8) / 2,
                    "{}: kinks alone",
                    param.name
                );
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_reuse_of_memory_or_on_threads() {
    for cell in cells() {
        let outcome = |reuse: bool, threads: usize| {
            let cpu = Cpu::new(Some(threads), Convolution::Auto).expect("threads start");
            let options = Options {
                reuse,
                ..Options::new(ROWS)
            };
            let (plan, params) = plan(&cell, settings(70, false, 0.3), &cpu, options);
            let mut windows = Windows::default();
            let rows = windows.add(&text(), ROWS).expect("long enough");
            let input = Input {
                source: InputSource::Tokens(windows.tokens()),
                seed: 5,
            };
            let mut session = cpu.load(&plan, Some(input)).expect("it loads");
            let weights = lively(&params);
            let starts = rows.starts(STEPS, true);
            let trained = run(
                &mut *session,
                &plan,
                &weights,
                &starts,
                List::Train,
                CONTROL,
            );
            let weights = session.read(plan.weights).expect("it reads");
            let starts = rows.starts(STEPS, false);
            let of_list = List::Evaluate;
            let evaluated = run(
                &mut *session,
                &plan,
                &weights,
                &starts,
                of_list,
                Control::EVALUATE,
            );
            assert_eq!(trained.loss_sums.len(), 2);
            assert_eq!(evaluated.loss_sums.len(), 3, "the shorter window too");
            (weights, trained, evaluated)
        };
        let first = outcome(true, 1);
        assert!(first.1.finite && first.2.finite);
        assert!(first == outcome(false, 1), "reuse changes bits");
        assert!(first == outcome(true, 3), "threads change bits");
    }
}

/// The state goes on from window to window: what a text comes to does not depend on how it is cut.
#[test]
fn an_evaluation_is_the_same_in_windows_of_any_length() {
    for cell in cells() {
        let total = |steps: usize| {
            let model = LanguageModel::new(&cell, settings(6, false, 0.5)).expect("sound");
            let (params, spans) = model.params();
            let options = Options {
                evaluate_only: true,
                ..Options::new(ROWS)
            };
            let parameters = (&params, &spans);
            let plan = Plan::of_language(&model, parameters, &Reference, options, steps);
            let mut windows = Windows::default();
            let rows = windows.add(&text(), ROWS).expect("long enough");
            let input = Input {
                source: InputSource::Tokens(windows.tokens()),
                seed: 5,
            };
            let mut session = Reference.load(&plan, Some(input)).expect("it loads");
            let starts = rows.starts(steps, false);
            let (weights, of_list) = (lively(&params), List::Evaluate);
            let results = run(
                &mut *session,
                &plan,
                &weights,
                &starts,
                of_list,
                Control::EVALUATE,
            );
            results.loss_sums.iter().sum::<f64>()
        };
        let whole = total(20);
        for steps in [1, 2, 3, 7] {
            let cut = total(steps);
            assert!(
                (cut - whole).abs() < 1e-10 * whole,
                "{steps} steps: {cut}, {whole}"
            );
        }
    }
}

/// What writes text computes what is trained: its logits have the loss of the plan.
#[test]
fn a_reader_has_the_loss_of_an_evaluation() {
    for cell in cells() {
        for tied in [false, true] {
            let settings = settings(5, tied, 0.0);
            let model = LanguageModel::new(&cell, settings).expect("sound settings");
            let options = Options {
                evaluate_only: true,
                ..Options::new(1)
            };
            let (plan, params) = plan(&cell, settings, &Reference, options);
            let weights = lively(&params);
            let mut windows = Windows::default();
            let rows = windows.add(&text(), 1).expect("long enough");
            let input = Input {
                source: InputSource::Tokens(windows.tokens()),
                seed: 5,
            };
            let mut session = Reference.load(&plan, Some(input)).expect("it loads");
            let starts = rows.starts(STEPS, false);
            session.write(plan.weights, &weights);
            session.begin(&starts, Control::EVALUATE);
            session.run(List::Evaluate, starts.len());
            let results = session.results().expect("it runs");
            let expected: f64 = results.loss_sums.iter().sum();

            let floats: Vec<f32> = weights.iter().map(|&x| x as f32).collect();
            let mut reader = Reader::new(&model, &floats);
            let loss = |words: &[u32]| {
                let logits = reader.read(words[0]);
                let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
                sum.ln() - logits[words[1] as usize]
            };
            let read: f64 = text().windows(2).map(loss).sum();
            let apart = (read - expected).abs() / expected;
            assert!(apart < 1e-10, "{cell:?}, tied {tied}: {read}, {expected}");
        }
    }
}

#[test]
fn training_lowers_the_loss() {
    let cpu = Cpu::new(Some(1), Convolution::Auto).expect("a thread starts");
    for cell in cells() {
        let settings = LanguageSettings {
            initial: 0.4,
            ..settings(32, false, 0.0)
        };
        let (plan, params) = plan(&cell, settings, &cpu, Options::new(ROWS));
        let mut windows = Windows::default();
        let rows = windows.add(&text(), ROWS).expect("long enough");
        let input = Input {
            source: InputSource::Tokens(windows.tokens()),
            seed: 5,
        };
        let mut session = cpu.load(&plan, Some(input)).expect("it loads");
        let starts = rows.starts(STEPS, true);
        let mut weights: Vec<f64> = params
            .initial(1)
            .trained
            .iter()
            .map(|&x| x.into())
            .collect();
        let mut losses = vec![];
        let control = Control {
            learning_rate: 0.1,
            ..CONTROL
        };
        for _ in 0..500 {
            let results = run(
                &mut *session,
                &plan,
                &weights,
                &starts,
                List::Train,
                control,
            );
            weights = session.read(plan.weights).expect("it reads");
            // Of the first window, before its update.
            losses.push(results.loss_sums[0] / (ROWS * STEPS) as f64);
        }
        let (first, last) = (losses[0], losses[499]);
        // Drawn at random, a word costs ln 11.
        assert!((first - (VOCABULARY as f64).ln()).abs() < 0.4, "{first}");
        // By how often it comes alone, 1.77: the words are squares modulo 11. The rest is what layers
        // have learned.
        assert!(last < 0.9, "{cell:?}: {first} to {last}");
    }
}
