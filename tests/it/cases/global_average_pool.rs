//! Cases of global average pooling over a padded concatenation.

use super::{Case, Data, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::step::{Contribution, Source, Step};

/// Sums of up to 1,024 values in f32.
const TOLERANCE: f64 = 3e-6;

pub(super) fn cases() -> Vec<Case> {
    let groups = Shape {
        groups: vec![3, 9],
        h: 6,
        w: 5,
    };
    vec![
        case(3, vec![Shape::new(5, 7, 6)]),
        case(2, vec![Shape::new(16, 32, 32)]),
        case(
            2,
            vec![
                Shape::new(3, 9, 9),
                Shape::new(10, 5, 7),
                Shape::new(7, 9, 4),
            ],
        ),
        case(4, vec![groups, Shape::new(2, 1, 1)]),
        case(1, vec![Shape::new(1, 1, 1)]),
    ]
}

fn case(batch: usize, shapes: Vec<Shape>) -> Case {
    let concat = Shape::concat(&shapes.iter().collect::<Vec<_>>());
    let (pixels, n_features) = (concat.h * concat.w, concat.c());
    let sizes: Vec<_> = shapes.iter().map(|s| (&s.groups, s.h, s.w)).collect();
    let title = ("global_average_pool", format!("{sizes:?}"));
    Case::new(
        title,
        batch,
        [0, 0],
        Tolerance::new(TOLERANCE),
        move |setup| {
            let sources = setup.sources(&shapes, Data::Normal(0.0, 1.0));
            let features = setup.builder.values("features", n_features);
            let dfeatures = setup.builder.values("dfeatures", n_features);
            setup.forward(Step::GlobalAveragePool {
                sources: sources.clone(),
                pixels,
                features,
            });
            setup.result(features, dfeatures);
            for (i, source) in sources.into_iter().enumerate() {
                let Source {
                    buffer,
                    shape,
                    first_channel,
                } = source;
                let dx = setup.builder.images(format!("gradient {i}"), &shape);
                setup.backward(Step::Gather {
                    out: dx,
                    shape,
                    contributions: vec![Contribution::GlobalAveragePool {
                        dfeatures,
                        first_feature: first_channel,
                        n_features,
                        pixels,
                    }],
                    norm: None,
                });
                setup.gradient(buffer, dx);
            }
        },
    )
}
