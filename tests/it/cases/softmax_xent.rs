//! Cases of softmax with cross-entropy: ties, large logits, one class.

use super::{Case, Data, Tolerance};
use nas_engine::graph::step::Step;

/// exp and ln in f32, sums of up to 100.
const TOLERANCE: f64 = 5e-7;

pub(super) fn cases() -> Vec<Case> {
    [
        (5, 10, Data::Normal(0.0, 2.0)),
        (33, 10, Data::Normal(0.0, 1.0)),
        (3, 100, Data::Normal(0.0, 3.0)),
        (16, 4, Data::Integers(1)), // ties
        (6, 10, Data::Constant(2.0)),
        (8, 10, Data::Normal(0.0, 1e4)), // exp of any of them overflows or is 0
        (2, 1, Data::Normal(0.0, 1.0)),
    ]
    .into_iter()
    .map(|(batch, n_classes, data)| case(batch, n_classes, data))
    .collect()
}

fn case(batch: usize, n_classes: usize, data: Data) -> Case {
    let title = ("softmax_xent", format!("{n_classes} classes, {data:?}"));
    Case::new(
        title,
        batch,
        [0, 0],
        Tolerance::new(TOLERANCE),
        move |setup| {
            let logits = setup.values("logits", n_classes, data.clone());
            let dlogits = setup.builder.values("dlogits", n_classes);
            setup.labels(n_classes);
            setup.forward(Step::SoftmaxXent {
                logits,
                dlogits,
                n_classes,
            });
            setup.results();
            setup.gradient(logits, dlogits);
        },
    )
}
