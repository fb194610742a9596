//! Cases of a tensor that many consumers read: its gradient is gathered from all of them.

use super::{Case, Data, Setup, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::plan::{NormInput, NormPlaces};
use nas_engine::graph::step::{BufferId, Contribution, NormId, Pool, PoolKind, Source, Span, Step};
use nas_engine::shape;

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
        let (buffer, norm) = tensor(setup, &shape, relu);
        let tensor = Tensor {
            buffer,
            shape: &shape,
        };
        let mut start = 3 * c;
        let mut contributions = vec![];
        for (i, reader) in readers.iter().enumerate() {
            let len = room(reader);
            contributions.push(tensor.read(setup, i, *reader, Span { start, len }));
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
            None => setup.gradient(buffer, out),
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

/// The tensor that is read.
struct Tensor<'a> {
    buffer: BufferId,
    shape: &'a Shape,
}

impl Tensor<'_> {
    fn source(&self, first_channel: usize) -> Source {
        source(self.buffer, self.shape, first_channel)
    }

    /// Adds the forward step of consumer `i` and its result; returns what it adds to the gradient.
    fn read(&self, setup: &mut Setup, i: usize, reader: Reader, weight: Span) -> Contribution {
        match reader {
            Reader::Conv(filter, stride) => self.conv(setup, i, filter, stride, weight),
            Reader::Pool(kind, window, stride) => self.pool(setup, i, kind, window, stride),
            Reader::Lcn => self.lcn(setup, i),
            Reader::Concat => self.concat(setup, i),
            Reader::GlobalAveragePool => self.global_average_pool(setup, i),
        }
    }

    /// Beside the tensor it reads three channels of another size, before or after it.
    fn conv(
        &self,
        setup: &mut Setup,
        i: usize,
        filter: [usize; 2],
        stride: [usize; 2],
        weight: Span,
    ) -> Contribution {
        let shape = self.shape;
        let other = Shape::new(3, shape.h + 1, shape.w - 1);
        let first = i.is_multiple_of(2);
        let sources = match first {
            true => vec![self.source(0), beside(setup, i, &other, shape.c())],
            false => vec![beside(setup, i, &other, 0), self.source(3)],
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

    fn pool(
        &self,
        setup: &mut Setup,
        i: usize,
        kind: PoolKind,
        window: [usize; 2],
        stride: [usize; 2],
    ) -> Contribution {
        let input = self.shape.clone();
        let side = |size, axis: usize| shape::pool_output(size, window[axis], stride[axis]);
        let output = Shape {
            groups: input.groups.clone(),
            h: side(input.h, 0).expect("the table's windows fit"),
            w: side(input.w, 1).expect("the table's windows fit"),
        };
        let (out, dout) = result(setup, i, &output);
        let pool = Pool {
            kind,
            window,
            stride,
            x: self.buffer,
            input,
            out,
            output,
        };
        setup.forward(Step::Pool(pool.clone()));
        Contribution::Pool { pool, dout }
    }

    fn lcn(&self, setup: &mut Setup, i: usize) -> Contribution {
        let (out, dout) = result(setup, i, self.shape);
        let (x, shape) = (self.buffer, self.shape.clone());
        setup.forward(Step::Lcn { x, out, shape });
        Contribution::Lcn { x, dout }
    }

    fn concat(&self, setup: &mut Setup, i: usize) -> Contribution {
        let other = Shape::new(11, self.shape.h - 2, self.shape.w + 3);
        let sources = vec![beside(setup, i, &other, 0), self.source(11)];
        let shape = Shape::concat(&[&other, self.shape]);
        let (out, dout) = result(setup, i, &shape);
        setup.forward(Step::Concat {
            sources,
            out,
            shape: shape.clone(),
        });
        Contribution::Copy {
            dout,
            shape,
            first_plane: other.planes(),
        }
    }

    fn global_average_pool(&self, setup: &mut Setup, i: usize) -> Contribution {
        let other = Shape::new(2, self.shape.h + 1, self.shape.w + 1);
        let (n_features, pixels) = (2 + self.shape.c(), other.h * other.w);
        let sources = vec![beside(setup, i, &other, 0), self.source(2)];
        let features = setup.builder.values(format!("features {i}"), n_features);
        let dfeatures = setup.builder.values(format!("dfeatures {i}"), n_features);
        setup.forward(Step::GlobalAveragePool {
            sources,
            pixels,
            features,
        });
        setup.result(features, dfeatures);
        Contribution::GlobalAveragePool {
            dfeatures,
            first_feature: 2,
            n_features,
            pixels,
        }
    }
}

fn source(buffer: BufferId, shape: &Shape, first_channel: usize) -> Source {
    Source {
        buffer,
        shape: shape.clone(),
        first_channel,
    }
}

/// Another tensor that reader `i` reads.
fn beside(setup: &mut Setup, i: usize, shape: &Shape, first_channel: usize) -> Source {
    let buffer = setup.images(&format!("beside {i}"), shape, Data::Normal(0.0, 1.0));
    source(buffer, shape, first_channel)
}

/// A reader's result and the gradient to it.
fn result(setup: &mut Setup, i: usize, shape: &Shape) -> (BufferId, BufferId) {
    let out = setup.builder.images(format!("result {i}"), shape);
    let dout = setup.builder.images(format!("gradient {i}"), shape);
    setup.result(out, dout);
    (out, dout)
}
