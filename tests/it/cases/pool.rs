//! Cases of max and average pooling: windows that overlap, leave gaps, or fill the image.

use super::{Case, Data, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::step::{Contribution, Pool, PoolKind, Step};
use nas_engine::shape;

/// Sums of a window in f32. Of the largest value nothing is lost, only where windows overlap is
/// the gradient a sum.
const TOLERANCE: f64 = 1e-6;

pub(super) fn cases() -> Vec<Case> {
    let two_groups = Shape {
        groups: vec![3, 9],
        h: 7,
        w: 6,
    };
    let rows = [
        (2, Shape::new(5, 7, 5), [2, 2], [2, 2]),
        (3, Shape::new(8, 8, 9), [3, 3], [2, 2]),
        (1, Shape::new(11, 6, 7), [3, 3], [1, 1]),
        (2, Shape::new(3, 3, 4), [1, 1], [1, 1]),
        (2, Shape::new(3, 5, 4), [1, 1], [2, 3]),
        (2, Shape::new(9, 4, 6), [4, 6], [1, 1]),
        (2, Shape::new(4, 8, 7), [2, 3], [3, 1]),
        (1, Shape::new(2, 20, 13), [5, 5], [8, 7]),
        (1, Shape::new(3, 1, 1), [1, 1], [1, 1]),
        (2, Shape::new(16, 32, 32), [2, 2], [2, 2]),
        (2, two_groups, [3, 2], [2, 2]),
    ];
    let mut cases = vec![];
    for (batch, input, window, stride) in rows {
        for kind in [PoolKind::Max, PoolKind::Avg] {
            for data in [Data::Normal(0.0, 1.0), Data::Integers(1)] {
                cases.push(case(kind, batch, &input, window, stride, data));
            }
        }
    }
    cases
}

fn case(
    kind: PoolKind,
    batch: usize,
    input: &Shape,
    window: [usize; 2],
    stride: [usize; 2],
    data: Data,
) -> Case {
    let side = |size, axis: usize| shape::pool_output(size, window[axis], stride[axis]);
    let input = input.clone();
    let output = Shape {
        groups: input.groups.clone(),
        h: side(input.h, 0).expect("the table's windows fit"),
        w: side(input.w, 1).expect("the table's windows fit"),
    };
    let (groups, h, w) = (&input.groups, input.h, input.w);
    let name = format!("{kind:?} {groups:?} {h}x{w} window {window:?} stride {stride:?} {data:?}");
    Case::new(
        ("pool", name),
        batch,
        [0, 0],
        Tolerance::new(TOLERANCE),
        move |setup| {
            if kind == PoolKind::Max && matches!(data, Data::Integers(_)) {
                setup.on_a_kink(); // ties
            }
            let x = setup.images("x", &input, data.clone());
            let out = setup.builder.images("out", &output);
            let dout = setup.builder.images("dout", &output);
            let dx = setup.builder.images("dx", &input);
            let pool = Pool {
                kind,
                window,
                stride,
                x,
                input: input.clone(),
                out,
                output: output.clone(),
            };
            setup.forward(Step::Pool(pool.clone()));
            setup.result(out, dout);
            setup.backward(Step::Gather {
                out: dx,
                shape: input.clone(),
                contributions: vec![Contribution::Pool { pool, dout }],
                norm: None,
            });
            setup.gradient(x, dx);
        },
    )
}
