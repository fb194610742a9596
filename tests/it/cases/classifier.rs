//! Cases of the classifier, forward and backward.

use super::{Case, Data, Tolerance};
use nas_engine::graph::step::{Classifier, Span, Step};

/// Sums of up to 300 products in f32.
const TOLERANCE: f64 = 2e-6;

pub(super) fn cases() -> Vec<Case> {
    [
        (1, 1, 1),
        (3, 5, 10),
        (7, 33, 10),
        (4, 128, 100),
        (33, 300, 10),
    ]
    .into_iter()
    .map(|(batch, n_features, n_classes)| case(batch, n_features, n_classes))
    .collect()
}

fn case(batch: usize, n_features: usize, n_classes: usize) -> Case {
    let n_weights = n_classes * n_features;
    let title = (
        "classifier",
        format!("{n_features} features, {n_classes} classes"),
    );
    let vectors = [n_weights + n_classes, 0];
    Case::new(
        title,
        batch,
        vectors,
        Tolerance::new(TOLERANCE),
        move |setup| {
            setup.weights(Data::Normal(0.0, 1.0));
            let classifier = Classifier {
                features: setup.values("features", n_features, Data::Normal(0.0, 1.0)),
                dfeatures: setup.builder.values("dfeatures", n_features),
                logits: setup.builder.values("logits", n_classes),
                dlogits: setup.builder.values("dlogits", n_classes),
                n_features,
                n_classes,
                weight: Span {
                    start: 0,
                    len: n_weights,
                },
                bias: Span {
                    start: n_weights,
                    len: n_classes,
                },
            };
            setup.forward(Step::Classifier(classifier.clone()));
            setup.result(classifier.logits, classifier.dlogits);
            setup.gradient(classifier.features, classifier.dfeatures);
            setup.backward(Step::ClassifierGrad(classifier));
            setup.weight_gradients();
        },
    )
}
