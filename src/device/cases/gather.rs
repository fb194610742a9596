//! Cases of a tensor that many consumers read: its gradient is gathered from all of them.

use super::{Case, Data, Setup, Tolerance};
use crate::graph::Shape;
use crate::graph::plan::{NormInput, NormPlaces};
use crate::graph::step::{BufferId, Contribution, NormId, Pool, PoolKind, Source, Span, Step};
use crate::shape;

/// As for a convolution, with its sums for each consumer.
const DIRECT: f64 = 2e-5;
const TRANSFORM: f64 = 2e-4;

/// A consumer of the tensor.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// A convolution of 5 filters with this filter and stride.
    Conv([usize; 2], [usize; 2]),
    Pool(PoolKind, [usize; 2], [usize; 2]),
    Lcn,
    Concat,
    GlobalAveragePool,
}

pub(super) fn cases() -> Vec<Case> {
    use Reader::*;
    const STRIDES: &[Reader] = &[
        Conv([3, 3], [1, 1]),
        Conv([5, 3], [2, 1]),
        Conv([1, 1], [1, 1]),
        Conv([7, 7], [3, 2]),
    ];
    const TRANSFORMS: &[Reader] = &[
        Conv([3, 3], [1, 1]),
        Conv([3, 3], [1, 1]),
        Conv([5, 5], [1, 1]),
        Conv([7, 1], [1, 1]),
    ];
    const ALL: &[Reader] = &[
        Conv([3, 5], [1, 1]),
        Pool(PoolKind::Max, [3, 3], [2, 2]),
        Pool(PoolKind::Avg, [2, 2], [2, 2]),
        Concat,
        Lcn,
        Conv([3, 3], [2, 2]),
        GlobalAveragePool,
    ];
    const HEAD: &[Reader] = &[GlobalAveragePool];
    let mut cases = vec![];
    for shape in [Shape::new(5, 9, 8), Shape::new(16, 7, 7)] {
        for readers in [STRIDES, TRANSFORMS, ALL, HEAD] {
            cases.push(case(&shape, readers, None));
            cases.push(case(&shape, readers, Some(false)));
            cases.push(case(&shape, readers, Some(true)));
        }
    }
    cases
}

/// `relu` says which normalisation has the tensor as its result.
fn case(shape: &Shape, readers: &'static [Reader], relu: Option<bool>) -> Case {
    let shape = shape.clone();
    let c = shape.c();
    let norm = match relu {
        None => "",
        Some(false) => ", of a normalisation",
        Some(true) => ", of a normalisation with relu",
    };
    let title = (
        "gather",
        format!("{c} {}x{} read by {readers:?}{norm}", shape.h, shape.w),
    );
    let tolerance = Tolerance::new(DIRECT).transform(TRANSFORM);
    // Room for the normalisation, then for each reader a convolution of the tensor and 3 channels.
    let room = move |reader: &Reader| match reader {
        Reader::Conv([kh, kw], _) => 5 * (c + 3) * kh * kw,
        _ => 0,
    };
    let n_weights = 3 * c + readers.iter().map(room).sum::<usize>();
    Case::new(title, 2, [n_weights, 2 * c], tolerance, move |setup| {
        // No scale near 0, which would leave lcn a contrast of rounding alone.
        setup.weights(Data::Signed(0.3, 1.5));
        let (tensor, norm) = tensor(setup, &shape, relu);
        let mut start = 3 * c;
        let mut contributions = vec![];
        for (i, reader) in readers.iter().enumerate() {
            let len = room(reader);
            contributions.push(read(setup, i, tensor, &shape, *reader, Span { start, len }));
            start += len;
        }
        let out = match norm {
            Some(id) => setup.builder.plan().norm(id).dz,
            None => setup.builder.images("gradient", &shape),
        };
        setup.backward(Step::Gather {
            out,
            shape: shape.clone(),
            contributions,
            norm,
        });
        match norm {
            None => setup.gradient(tensor, out),
            Some(id) => {
                let norm = setup.builder.plan().norm(id).clone();
                (0..2).for_each(|row| setup.statistics_backward(norm.dz_sums, &shape, row, 2));
                setup.backward(Step::NormGrad(id));
                setup.gradient(norm.x, norm.dx);
            }
        }
    })
}

/// The tensor: an input, or the result of a normalisation of one.
fn tensor(setup: &mut Setup, shape: &Shape, relu: Option<bool>) -> (BufferId, Option<NormId>) {
    let data = Data::Normal(0.0, 1.0);
    let c = shape.c();
    let span = |i: usize| Span {
        start: i * c,
        len: c,
    };
    let input = match relu {
        None => return (setup.images("tensor", shape, data), None),
        Some(false) => NormInput::Tensor(setup.builder.images("x", shape)),
        Some(true) => {
            // A ReLU belongs to a convolution's result; this convolution is never run.
            let sources = setup.sources(&[Shape::new(1, shape.h, shape.w)], data.clone());
            let conv = setup
                .builder
                .conv("x", sources, [1, 1], [1, 1], shape, span(0));
            NormInput::Conv(conv)
        }
    };
    let places = NormPlaces {
        scale: span(1),
        shift: span(2),
        running_mean: span(0),
        running_var: span(1),
    };
    let id = setup.builder.norm("norm", input, shape, places);
    let norm = setup.builder.plan().norm(id).clone();
    setup.fill(norm.x, data);
    setup.forward(Step::Moments(id));
    setup.forward(Step::Norm(id));
    (norm.out, Some(id))
}

/// Adds a consumer's forward step and its result; returns what it adds to the gradient.
fn read(
    setup: &mut Setup,
    i: usize,
    tensor: BufferId,
    shape: &Shape,
    reader: Reader,
    weight: Span,
) -> Contribution {
    let source = |buffer, shape: &Shape, first_channel| Source {
        buffer,
        shape: shape.clone(),
        first_channel,
    };
    match reader {
        Reader::Conv(filter, stride) => {
            // Beside the tensor it reads three channels of another size, before or after it.
            let other = Shape::new(3, shape.h + 1, shape.w - 1);
            let beside = setup.images(&format!("beside {i}"), &other, Data::Normal(0.0, 1.0));
            let first = i.is_multiple_of(2);
            let sources = match first {
                true => vec![source(tensor, shape, 0), source(beside, &other, shape.c())],
                false => vec![source(beside, &other, 0), source(tensor, shape, 3)],
            };
            let h = shape::conv_output(shape.h + 1, stride[0]);
            let output = Shape::new(5, h, shape::conv_output(shape.w, stride[1]));
            let name = format!("reader {i}");
            let conv = (setup.builder).conv(&name, sources, filter, stride, &output, weight);
            setup.forward(Step::Conv(conv));
            let y = setup.builder.plan().conv(conv).y;
            setup.result(y, y);
            let source = usize::from(!first);
            Contribution::Conv { conv, source }
        }
        Reader::Pool(kind, window, stride) => {
            let side = |size, axis: usize| shape::pool_output(size, window[axis], stride[axis]);
            let output = Shape {
                groups: shape.groups.clone(),
                h: side(shape.h, 0).expect("the table's windows fit"),
                w: side(shape.w, 1).expect("the table's windows fit"),
            };
            let (out, dout) = result(setup, i, &output);
            let pool = Pool {
                kind,
                window,
                stride,
                x: tensor,
                input: shape.clone(),
                out,
                output,
            };
            setup.forward(Step::Pool(pool.clone()));
            Contribution::Pool { pool, dout }
        }
        Reader::Lcn => {
            let (out, dout) = result(setup, i, shape);
            setup.forward(Step::Lcn {
                x: tensor,
                out,
                shape: shape.clone(),
            });
            Contribution::Lcn { x: tensor, dout }
        }
        Reader::Concat => {
            let other = Shape::new(11, shape.h - 2, shape.w + 3);
            let beside = setup.images(&format!("beside {i}"), &other, Data::Normal(0.0, 1.0));
            let concat = Shape::concat(&[&other, shape]);
            let (out, dout) = result(setup, i, &concat);
            setup.forward(Step::Concat {
                sources: vec![source(beside, &other, 0), source(tensor, shape, 11)],
                out,
                shape: concat.clone(),
            });
            Contribution::Copy {
                dout,
                shape: concat,
                first_plane: other.planes(),
            }
        }
        Reader::GlobalAveragePool => {
            let other = Shape::new(2, shape.h + 1, shape.w + 1);
            let beside = setup.images(&format!("beside {i}"), &other, Data::Normal(0.0, 1.0));
            let (n_features, pixels) = (2 + shape.c(), (shape.h + 1) * (shape.w + 1));
            let out = setup.builder.values(format!("features {i}"), n_features);
            let dfeatures = setup.builder.values(format!("dfeatures {i}"), n_features);
            setup.forward(Step::GlobalAveragePool {
                sources: vec![source(beside, &other, 0), source(tensor, shape, 2)],
                pixels,
                features: out,
            });
            setup.result(out, dfeatures);
            Contribution::GlobalAveragePool {
                dfeatures,
                first_feature: 2,
                n_features,
                pixels,
            }
        }
    }
}

/// A reader's result and the gradient to it.
fn result(setup: &mut Setup, i: usize, shape: &Shape) -> (BufferId, BufferId) {
    let out = setup.builder.images(format!("result {i}"), shape);
    let dout = setup.builder.images(format!("gradient {i}"), shape);
    setup.result(out, dout);
    (out, dout)
}
