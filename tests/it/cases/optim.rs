//! Cases of Nesterov momentum over several steps, and of descent with a limited gradient.

use super::{Case, Data, Tolerance};
use nas_engine::graph::step::Step;

/// A few products and sums in f32 for each step.
const TOLERANCE: f64 = 1e-6;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(1, 1, [0.1, 0.9, 1e-4]),
        case(1003, 5, [0.1, 0.9, 1e-4]),
        case(70, 3, [0.5, 0.0, 0.0]),
        case(70, 3, [0.01, 0.99, 0.1]),
        case(70, 2, [0.0, 0.9, 1e-4]),
    ]
}

fn case(n: usize, steps: usize, [learning_rate, momentum, weight_decay]: [f32; 3]) -> Case {
    let rates = format!("rate {learning_rate}, momentum {momentum}, decay {weight_decay}");
    let title = ("optim", format!("{n} weights, {steps} steps, {rates}"));
    Case::new(title, 1, [n, 0], Tolerance::new(TOLERANCE), move |setup| {
        let plan = setup.builder.plan();
        let (weights, gradients, vector) = (plan.weights, plan.gradients, plan.momentum);
        setup.fill(weights, Data::Normal(0.0, 1.0));
        setup.fill(gradients, Data::Normal(0.0, 1.0));
        setup.fill(vector, Data::Normal(0.0, 1.0));
        let control = setup.control();
        control.learning_rate = learning_rate;
        control.momentum = momentum;
        control.weight_decay = weight_decay;
        setup.forward(Step::Update);
        setup.times(steps);
        setup.output(weights);
        setup.output(vector);
    })
}

/// Longer gradients than the limit and shorter ones, in one piece and in several.
pub(super) fn descents() -> Vec<Case> {
    vec![
        descent(1, 0.5),
        descent(40_003, 5.0),
        descent(70, 1e3),
        descent(70, f32::INFINITY),
    ]
}

/// Descent with gradients whose norm is sqrt(n).
fn descent(n: usize, max_norm: f32) -> Case {
    let title = ("descend", format!("{n} weights, norm {max_norm}"));
    Case::new(title, 1, [n, 0], Tolerance::new(TOLERANCE), move |setup| {
        let plan = setup.builder.plan();
        let (weights, gradients) = (plan.weights, plan.gradients);
        setup.fill(weights, Data::Normal(0.0, 1.0));
        setup.fill(gradients, Data::Constant(1.0));
        let control = setup.control();
        control.learning_rate = 0.3;
        control.max_norm = max_norm;
        setup.forward(Step::Descend);
        setup.output(weights);
        setup.results();
    })
}
