//! Cases of batch normalisation: with and without ReLU, by the batch and by running statistics.

use super::{Case, Data, Setup, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::plan::{NormInput, NormPlaces};
use nas_engine::graph::step::{Contribution, NORM_EPSILON, Norm, NormId, Source, Span, Step};

/// Sums over the batch in f32, then a quotient and a square root.
const TOLERANCE: f64 = 5e-6;
/// Where the mean is 100 deviations, x - mean keeps 17 of 24 bits.
const FAR_FROM_ZERO: f64 = 5e-5;
/// With one value a channel (or equal ones) the gradient is a difference of equal terms, each up to
/// 1 / sqrt(eps) = 316 times dz.
const ONE_VALUE: f64 = 5e-4;

pub(super) fn cases() -> Vec<Case> {
    let shape = Shape::new;
    let groups = Shape {
        groups: vec![3, 9],
        h: 3,
        w: 4,
    };
    let normal = Data::Normal(0.5, 2.0);
    let usual = Tolerance::new(TOLERANCE);
    let mut cases = vec![];
    for (batch, shape) in [
        (3, shape(5, 7, 6)),
        (2, shape(16, 5, 5)),
        (7, shape(11, 1, 1)),
        (1, shape(3, 4, 1)),
        (5, shape(9, 32, 32)),
        (4, groups),
    ] {
        for relu in [false, true] {
            cases.push(batch_case(batch, &shape, relu, normal.clone(), usual));
            cases.push(running_case(batch, &shape, relu, NORM_EPSILON));
        }
    }
    // Another epsilon, as large as the variance.
    let small = shape(5, 4, 3);
    cases.push(batch_case_with(
        2,
        &small,
        true,
        Data::Normal(0.5, 1.0),
        usual,
        1.0,
    ));
    cases.push(running_case(2, &small, false, 0.5));
    let far = Tolerance::new(FAR_FROM_ZERO);
    cases.push(batch_case(
        4,
        &shape(6, 6, 5),
        false,
        Data::Normal(100.0, 1.0),
        far,
    ));
    let one = Tolerance::new(TOLERANCE).absolute(ONE_VALUE);
    cases.push(batch_case(
        1,
        &shape(9, 1, 1),
        false,
        Data::Normal(0.0, 1.0),
        one,
    ));
    cases.push(batch_case(
        3,
        &shape(4, 5, 5),
        true,
        Data::Constant(1.5),
        one,
    ));
    cases
}

/// The name of a case and where its vectors lie.
struct Layout {
    name: String,
    vectors: [usize; 2],
    weight: Span,
    places: NormPlaces,
}

fn layout(shape: &Shape, relu: bool, how: &str) -> Layout {
    let c = shape.c();
    let span = |i: usize| Span {
        start: i * c,
        len: c,
    };
    let relu = if relu { " relu" } else { "" };
    Layout {
        name: format!("{:?} {}x{}{relu} {how}", shape.groups, shape.h, shape.w),
        vectors: [3 * c, 2 * c],
        weight: span(0),
        places: NormPlaces {
            scale: span(1),
            shift: span(2),
            running_mean: span(0),
            running_var: span(1),
        },
    }
}

/// A normalisation whose x is filled with `data`. The ReLU belongs to a convolution's result; that
/// convolution, of one channel and 1x1, is never run.
fn norm(
    setup: &mut Setup,
    layout: &Layout,
    shape: &Shape,
    (relu, epsilon): (bool, f64),
    data: Data,
) -> Norm {
    let input = if relu {
        let source = Shape::new(1, shape.h, shape.w);
        let source = Source {
            buffer: setup.builder.images("source", &source),
            shape: source,
            first_channel: 0,
        };
        let conv = setup
            .builder
            .conv("x", vec![source], [1, 1], [1, 1], shape, layout.weight);
        NormInput::Conv(conv)
    } else {
        NormInput::Tensor(setup.builder.images("x", shape))
    };
    let id = setup.builder.norm("norm", input, shape, layout.places);
    setup.builder.plan().norms[id.0].epsilon = epsilon;
    let norm = setup.builder.plan().norm(id).clone();
    let running = setup.builder.plan().running;
    setup.weights(Data::Normal(0.2, 1.0));
    setup.fill(running, Data::Uniform(0.2, 2.0));
    setup.fill(norm.x, data);
    norm
}

/// By the batch's statistics, and the gradients.
fn batch_case(batch: usize, shape: &Shape, relu: bool, data: Data, tolerance: Tolerance) -> Case {
    batch_case_with(batch, shape, relu, data, tolerance, NORM_EPSILON)
}

fn batch_case_with(
    batch: usize,
    shape: &Shape,
    relu: bool,
    data: Data,
    tolerance: Tolerance,
    epsilon: f64,
) -> Case {
    let shape = shape.clone();
    let layout = layout(&shape, relu, &format!("{data:?} epsilon {epsilon}"));
    let title = ("batchnorm", layout.name.clone());
    Case::new(title, batch, layout.vectors, tolerance, move |setup| {
        if matches!(data, Data::Constant(_)) {
            setup.on_a_kink(); // not a kink, but with no variance a nudge changes everything
        }
        let norm = norm(setup, &layout, &shape, (relu, epsilon), data.clone());
        let id = NormId(0);
        setup.forward(Step::Moments(id));
        setup.forward(Step::Norm(id));
        let dout = setup.builder.images("dout", &shape);
        setup.result(norm.out, dout);
        let running = setup.builder.plan().running;
        setup.output(running);
        (0..2).for_each(|row| setup.statistics(norm.moments, &shape, row, 2));
        (0..4).for_each(|row| setup.statistics(norm.coefficients, &shape, row, 7));
        setup.backward(Step::Gather {
            out: norm.dz,
            shape: shape.clone(),
            contributions: vec![Contribution::Copy {
                dout,
                shape: shape.clone(),
                first_plane: 0,
            }],
            norm: Some(id),
        });
        setup.backward(Step::NormGrad(id));
        setup.gradient(norm.x, norm.dx);
        if norm.dx != norm.dz {
            setup.output_backward(norm.dz);
        }
        (0..2).for_each(|row| setup.statistics_backward(norm.dz_sums, &shape, row, 2));
        (4..7).for_each(|row| setup.statistics_backward(norm.coefficients, &shape, row, 7));
        setup.weight_gradients();
    })
}

/// By the running statistics.
fn running_case(batch: usize, shape: &Shape, relu: bool, epsilon: f64) -> Case {
    let shape = shape.clone();
    let layout = layout(&shape, relu, &format!("running epsilon {epsilon}"));
    let title = ("batchnorm", layout.name.clone());
    let tolerance = Tolerance::new(TOLERANCE);
    Case::new(title, batch, layout.vectors, tolerance, move |setup| {
        let norm = norm(
            setup,
            &layout,
            &shape,
            (relu, epsilon),
            Data::Normal(0.5, 2.0),
        );
        setup.forward(Step::NormRunning(NormId(0)));
        setup.output(norm.out);
        let running = setup.builder.plan().running;
        setup.output(running);
    })
}
