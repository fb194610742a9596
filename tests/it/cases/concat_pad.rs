//! Cases of the copied, zero-padded concatenation and of each source's gradient.

use super::{Case, Data, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::step::{Contribution, Source, Step};

pub(super) fn cases() -> Vec<Case> {
    let groups = |groups: &[usize], h, w| Shape {
        groups: groups.to_vec(),
        h,
        w,
    };
    vec![
        case(
            2,
            vec![
                Shape::new(3, 9, 9),
                Shape::new(10, 5, 7),
                Shape::new(7, 9, 4),
            ],
        ),
        case(3, vec![Shape::new(8, 4, 6), Shape::new(16, 6, 4)]),
        case(1, vec![Shape::new(1, 1, 1), Shape::new(1, 5, 1)]),
        case(
            2,
            vec![
                groups(&[3, 9], 6, 6),
                groups(&[8, 1], 8, 5),
                Shape::new(2, 3, 9),
            ],
        ),
        case(2, vec![Shape::new(12, 5, 3)]),
    ]
}

fn case(batch: usize, shapes: Vec<Shape>) -> Case {
    let concat = Shape::concat(&shapes.iter().collect::<Vec<_>>());
    let sizes: Vec<_> = shapes.iter().map(|s| (&s.groups, s.h, s.w)).collect();
    let name = format!("{sizes:?}");
    let tolerance = Tolerance::new(0.0); // values move as they are
    Case::new(
        ("concat_pad", name),
        batch,
        [0, 0],
        tolerance,
        move |setup| {
            let sources = setup.sources(&shapes, Data::Normal(0.0, 1.0));
            let out = setup.builder.images("out", &concat);
            let dout = setup.builder.images("dout", &concat);
            setup.forward(Step::Concat {
                sources: sources.clone(),
                out,
                shape: concat.clone(),
            });
            setup.result(out, dout);
            let mut first_plane = 0;
            for (i, Source { buffer, shape, .. }) in sources.into_iter().enumerate() {
                let dx = setup.builder.images(format!("gradient {i}"), &shape);
                let planes = shape.planes();
                setup.backward(Step::Gather {
                    out: dx,
                    shape,
                    contributions: vec![Contribution::Copy {
                        dout,
                        shape: concat.clone(),
                        first_plane,
                    }],
                    norm: None,
                });
                setup.gradient(buffer, dx);
                first_plane += planes;
            }
        },
    )
}
