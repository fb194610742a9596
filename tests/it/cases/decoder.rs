//! Cases of the softmax over a vocabulary, with places without a target.

use super::{Case, Data, Tolerance};
use nas_engine::graph::recurrent::Decoder;
use nas_engine::graph::step::{Span, Step};

/// Sums of up to a few hundred products in f32.
const TOLERANCE: f64 = 4e-6;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case([1, 1, 1, 1], 1.0),
        case([3, 2, 5, 7], 1.0),
        case([4, 20, 33, 50], 1.0),
        // More places than are worked on together; logits that overflow without care.
        case([20, 15, 12, 35], 1.0),
        case([3, 4, 8, 10], 60.0),
        case([2, 1, 3, 1000], 1.0),
        // More of everything than one tile of a product has.
        case([10, 14, 130, 2100], 0.5),
    ]
}

fn case([rows, steps, hidden, vocabulary]: [usize; 4], size: f64) -> Case {
    let name = format!("{steps} steps, {hidden} units, {vocabulary} words, inputs of {size}");
    let len = vocabulary * hidden;
    let vectors = [len + vocabulary, 0];
    let tolerance = Tolerance::new(TOLERANCE);
    Case::new(("decoder", name), rows, vectors, tolerance, move |setup| {
        setup.weights(Data::Normal(0.0, 0.5));
        let n = rows * steps;
        // Every fifth place has none.
        let target = |i: usize| match i % 5 {
            4 => -1.0,
            _ => (i * 3 % vocabulary) as f64,
        };
        let targets = Data::Literal((0..n).map(target).collect());
        let decoder = Decoder {
            x: setup.values("x", steps * hidden, Data::Normal(0.0, size)),
            dx: setup.builder.values("dx", steps * hidden),
            targets: setup.values("targets", steps, targets),
            n,
            rows,
            hidden,
            vocabulary,
            weight: Span { start: 0, len },
            bias: Span {
                start: len,
                len: vocabulary,
            },
        };
        setup.forward(Step::DecoderLoss(decoder.clone()));
        setup.results();
        setup.gradient(decoder.x, decoder.dx);
        setup.weight_gradients();
        setup.backward(Step::Decoder(decoder));
    })
}
