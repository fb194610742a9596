//! The head of a network and the update, by hand: average, classifier, loss, momentum.

use crate::cases::{Data, Setup};
use nas_engine::graph::step::{BufferId, Classifier, Contribution, Source, Step};

use super::{expect, gather, images, literal, run, span};

/// The second tensor has one pixel of four.
#[test]
fn global_average_pooling_counts_padded_zeros() {
    let outputs = run(1, [0, 0], |setup| {
        let a = images(setup, "a", [1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = Source {
            first_channel: 1,
            ..images(setup, "b", [1, 1, 1], &[8.0])
        };
        let parts = [a.shape.clone(), b.shape.clone()];
        let features = setup.builder.values("features", 2);
        let dfeatures = setup.builder.values("dfeatures", 2);
        setup.forward(Step::GlobalAveragePool {
            sources: vec![a, b],
            pixels: 4,
            features,
        });
        setup.result_with(features, dfeatures, literal(&[4.0, 8.0]));
        for (first_feature, (name, part)) in ["da", "db"].into_iter().zip(parts).enumerate() {
            let share = Contribution::GlobalAveragePool {
                dfeatures,
                first_feature,
                n_features: 2,
                pixels: 4,
            };
            gather(setup, name, &part, vec![share]);
        }
    });
    expect(&outputs, "features", &[2.5, 2.0]);
    expect(&outputs, "da", &[1.0, 1.0, 1.0, 1.0]);
    expect(&outputs, "db", &[2.0]);
}

#[test]
fn classifier() {
    let outputs = run(1, [9, 0], |setup| {
        setup.weights(literal(&[1.0, 0.0, 2.0, -1.0, 0.0, 3.0, 10.0, 20.0, 30.0]));
        let classifier = Classifier {
            features: setup.values("features", 2, literal(&[1.0, 2.0])),
            dfeatures: setup.builder.values("dfeatures", 2),
            logits: setup.builder.values("logits", 3),
            dlogits: setup.builder.values("dlogits", 3),
            n_features: 2,
            n_classes: 3,
            weight: span(0, 6),
            bias: span(6, 3),
        };
        setup.forward(Step::Classifier(classifier.clone()));
        let dlogits = literal(&[1.0, 2.0, 3.0]);
        setup.result_with(classifier.logits, classifier.dlogits, dlogits);
        setup.output_backward(classifier.dfeatures);
        setup.backward(Step::ClassifierGrad(classifier));
        setup.weight_gradients();
    });
    expect(&outputs, "logits", &[11.0, 20.0, 36.0]);
    expect(&outputs, "dfeatures", &[5.0, 7.0]);
    let gradients = [1.0, 2.0, 2.0, 4.0, 3.0, 6.0, 1.0, 2.0, 3.0];
    expect(&outputs, "gradients", &gradients);
}

/// Probabilities 1/4 and 3/4 with loss ln 4/3, and a tie, which goes to the lower class, with ln 2.
#[test]
fn softmax_cross_entropy() {
    let ln3 = f64::from(3.0f32.ln());
    let outputs = run(2, [0, 0], move |setup| {
        let logits = setup.values("logits", 2, literal(&[0.0, ln3, 5.0, 5.0]));
        let dlogits = setup.builder.values("dlogits", 2);
        setup.set_labels(&[1, 1]);
        setup.forward(Step::SoftmaxXent {
            logits,
            dlogits,
            n_classes: 2,
        });
        setup.results();
        setup.gradient(logits, dlogits);
    });
    let right = ln3.exp() / (1.0 + ln3.exp()); // 3/4 but for the rounding of ln 3 to f32
    expect(&outputs, "loss_sums", &[-right.ln() + 2.0f64.ln()]);
    expect(&outputs, "correct", &[1.0]);
    let half = (1.0 - right) / 2.0;
    expect(&outputs, "dlogits", &[half, -half, 0.25, -0.25]);
}

/// w = 1, g = 1/2, v = 1/4, all rates powers of 2: g becomes 1, v 9/8, and w 1 - (1 + 9/16) / 4.
// paper P6.6
#[test]
fn nesterov_momentum() {
    let outputs = run(1, [1, 0], |setup| {
        let plan = setup.builder.plan();
        let (weights, gradients, momentum) = (plan.weights, plan.gradients, plan.momentum);
        let fill = |setup: &mut Setup, id: BufferId, x| setup.fill(id, Data::Constant(x));
        fill(setup, weights, 1.0);
        fill(setup, gradients, 0.5);
        fill(setup, momentum, 0.25);
        let control = setup.control();
        control.learning_rate = 0.25;
        control.momentum = 0.5;
        control.weight_decay = 0.5;
        setup.forward(Step::Update);
        setup.output(weights);
        setup.output(momentum);
    });
    expect(&outputs, "momentum", &[1.125]);
    expect(&outputs, "weights", &[0.609375]);
}
