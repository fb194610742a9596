//! Cases of the embedding: words that come often and never, weights of its own and of the decoder.

use super::{Case, Data, Tolerance};
use nas_engine::graph::recurrent::Embedding;
use nas_engine::graph::step::{Span, Step};

/// Sums of a few values in f32.
const TOLERANCE: f64 = 1e-6;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(1, 1, 1, false),
        case(10, 7, 5, false),
        case(40, 9, 33, false),
        case(40, 3, 20, true),
        // More places and values than are worked on together.
        case(300, 11, 130, false),
    ]
}

/// `n` places, most of them of few words.
fn case(n: usize, vocabulary: usize, hidden: usize, tied: bool) -> Case {
    let name = format!("{n} places, {vocabulary} words of {hidden}, tied: {tied}");
    let len = vocabulary * hidden;
    let tolerance = Tolerance::new(TOLERANCE);
    Case::new(("embedding", name), n, [len, 0], tolerance, move |setup| {
        setup.weights(Data::Normal(0.0, 1.0));
        let words = (0..n).map(|i| (i * i % vocabulary) as f64).collect();
        let embedding = Embedding {
            tokens: setup.values("tokens", 1, Data::Literal(words)),
            out: setup.builder.values("out", hidden),
            dout: setup.builder.values("dout", hidden),
            n,
            hidden,
            weight: Span { start: 0, len },
            tied,
        };
        setup.forward(Step::Embedding(embedding.clone()));
        setup.result(embedding.out, embedding.dout);
        if tied {
            // What the decoder has left there, which is no gradient of this case's loss.
            let gradients = setup.builder.plan().gradients;
            setup.fill(gradients, Data::Normal(0.0, 1.0));
            setup.output_backward(gradients);
        } else {
            setup.weight_gradients();
        }
        setup.backward(Step::EmbeddingGrad(embedding));
    })
}
