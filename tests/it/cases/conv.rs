//! Cases of the convolution: forward with moments, gradients to filters and to every source.

use super::{Case, Data, Setup, Tolerance};
use nas_engine::graph::Shape;
use nas_engine::graph::step::{Contribution, Conv, Source, Span, Step};
use nas_engine::shape;

/// Sums of up to a few thousand products in f32: each rounds by 6e-8 of its size, and what they add
/// up to may be a tenth of the largest.
const DIRECT: f64 = 4e-6;
/// The bound that `--convolution auto` promises.
const TRANSFORM: f64 = 1e-4;

/// Groups of channels, height and width of a source.
type SourceSize = (&'static [usize], usize, usize);

struct Row {
    sources: &'static [SourceSize],
    filter: [usize; 2],
    stride: [usize; 2],
    filters: usize,
    batch: usize,
}

const fn row(
    sources: &'static [SourceSize],
    filter: [usize; 2],
    stride: [usize; 2],
    filters: usize,
    batch: usize,
) -> Row {
    Row {
        sources,
        filter,
        stride,
        filters,
        batch,
    }
}

/// Nine channels, which fill one plane and begin another.
const NINE: &[SourceSize] = &[(&[9], 9, 7)];
/// Two tensors of one size, whose planes are worked on together.
const TWO: &[SourceSize] = &[(&[12], 8, 8), (&[9], 8, 8)];
/// Three tensors of unequal sizes, none of a multiple of 8 channels.
const THREE: &[SourceSize] = &[(&[3], 9, 9), (&[10], 5, 7), (&[7], 9, 4)];
/// A concat that was copied before, so of two groups, beside another tensor.
const GROUPS: &[SourceSize] = &[(&[3, 9], 6, 6), (&[8, 1], 8, 5)];
/// More tensors than a kernel has room for in its arguments.
const MANY: &[SourceSize] = &[ONE; 49];
const ONE: SourceSize = (&[1], 9, 9);

const ROWS: &[Row] = &[
    // Every filter that has a transform.
    row(NINE, [1, 3], [1, 1], 10, 2),
    row(NINE, [1, 5], [1, 1], 10, 2),
    row(NINE, [1, 7], [1, 1], 10, 2),
    row(NINE, [3, 1], [1, 1], 10, 2),
    row(NINE, [3, 3], [1, 1], 10, 2),
    row(NINE, [3, 5], [1, 1], 10, 2),
    row(NINE, [3, 7], [1, 1], 10, 2),
    row(NINE, [5, 1], [1, 1], 10, 2),
    row(NINE, [5, 3], [1, 1], 10, 2),
    row(NINE, [5, 5], [1, 1], 10, 2),
    row(NINE, [5, 7], [1, 1], 10, 2),
    row(NINE, [7, 1], [1, 1], 10, 2),
    row(NINE, [7, 3], [1, 1], 10, 2),
    row(NINE, [7, 5], [1, 1], 10, 2),
    row(NINE, [7, 7], [1, 1], 10, 2),
    // Channels that fill planes, and many of them; few, for which there is no transform.
    row(&[(&[8], 8, 8)], [3, 3], [1, 1], 16, 4),
    row(&[(&[40], 6, 6)], [3, 3], [1, 1], 33, 1),
    row(&[(&[13], 9, 11)], [5, 5], [1, 1], 7, 3),
    row(&[(&[5], 12, 10)], [7, 7], [1, 1], 9, 2),
    row(&[(&[3], 10, 10)], [1, 3], [1, 1], 4, 1),
    // More planes than are worked on together: on one side, on the other.
    row(&[(&[264], 4, 4)], [3, 3], [1, 1], 9, 1),
    row(&[(&[264], 4, 4)], [1, 1], [1, 1], 9, 1),
    row(&[(&[9], 4, 4)], [3, 3], [1, 1], 264, 1),
    // Images that are worked on in strips of rows, and several in a strip.
    row(&[(&[8], 32, 32)], [3, 3], [1, 1], 25, 1),
    row(&[(&[9], 4, 4)], [3, 3], [1, 1], 12, 19),
    row(&[(&[16], 3, 2)], [5, 5], [1, 1], 7, 33),
    row(&[(&[2], 4, 4)], [3, 3], [1, 1], 3, 17),
    // Every number of planes that is worked on together by tensor cores, in large tiles and small.
    row(&[(&[16], 20, 20)], [3, 3], [1, 1], 64, 1),
    row(&[(&[24], 20, 20)], [3, 1], [1, 1], 48, 1),
    row(&[(&[40], 20, 20)], [1, 3], [1, 1], 32, 1),
    row(&[(&[32], 6, 6)], [3, 3], [1, 1], 48, 2),
    // Enough images for several partial sums of the gradient to the filter.
    row(&[(&[9], 6, 6)], [3, 3], [1, 1], 8, 41),
    row(&[(&[3], 6, 6)], [3, 3], [2, 2], 8, 41),
    // Filters without a transform.
    row(&[(&[3], 11, 9)], [9, 9], [1, 1], 4, 2),
    row(&[(&[2], 6, 17)], [15, 15], [1, 1], 3, 2),
    row(&[(&[2], 17, 3)], [15, 1], [1, 1], 3, 1),
    row(&[(&[10], 7, 12)], [9, 3], [1, 1], 9, 1),
    // Images of one pixel, of one row, of one column.
    row(&[(&[1], 1, 1)], [1, 1], [1, 1], 1, 1),
    row(&[(&[1], 1, 1)], [3, 3], [1, 1], 2, 3),
    row(&[(&[24], 1, 1)], [7, 5], [1, 1], 10, 5),
    row(&[(&[9], 1, 13)], [5, 5], [1, 1], 3, 2),
    row(&[(&[9], 13, 1)], [3, 7], [2, 1], 3, 2),
    // Strides: equal and not, larger than the filter, larger than the image.
    row(&[(&[5], 11, 10)], [3, 3], [2, 2], 6, 3),
    row(&[(&[5], 11, 10)], [3, 3], [1, 2], 6, 2),
    row(&[(&[5], 11, 10)], [3, 5], [3, 1], 9, 2),
    row(&[(&[4], 10, 12)], [5, 7], [2, 3], 8, 2),
    row(&[(&[3], 32, 32)], [3, 3], [2, 2], 8, 1),
    row(&[(&[10], 17, 13)], [1, 3], [5, 8], 8, 2),
    row(&[(&[3], 5, 5)], [3, 3], [8, 8], 2, 2),
    row(&[(&[3], 13, 14)], [9, 15], [3, 2], 5, 1),
    // 1x1, which may read its sources in place.
    row(&[(&[3], 5, 7)], [1, 1], [1, 1], 5, 2),
    row(&[(&[12], 2, 2)], [1, 1], [1, 1], 20, 7),
    row(&[(&[12], 9, 8)], [1, 1], [2, 2], 5, 2),
    row(&[(&[12], 14, 14), (&[9], 14, 14)], [1, 1], [1, 1], 5, 2),
    row(TWO, [1, 1], [1, 1], 10, 3),
    row(TWO, [1, 1], [2, 3], 10, 3),
    row(THREE, [1, 1], [1, 1], 5, 3),
    // Several sources.
    row(TWO, [3, 5], [1, 1], 10, 3),
    row(THREE, [3, 3], [1, 1], 12, 2),
    row(THREE, [5, 5], [1, 1], 9, 2),
    row(THREE, [7, 3], [1, 1], 5, 1),
    row(THREE, [3, 5], [2, 1], 10, 2),
    row(GROUPS, [3, 3], [1, 1], 6, 2),
    row(GROUPS, [5, 1], [2, 2], 6, 2),
    // More sources than a GPU's kernels read at once, too far apart for their tiles.
    row(MANY, [3, 3], [8, 8], 3, 2),
    // Of a strip, nothing in one of the sources.
    row(&[(&[9], 16, 16), (&[7], 1, 1)], [3, 3], [1, 1], 8, 1),
    row(&[(&[9], 16, 16), (&[7], 1, 1)], [3, 3], [2, 1], 8, 2),
    row(&[(&[6], 4, 20), (&[6], 20, 4)], [3, 3], [1, 1], 8, 1),
];

pub(super) fn cases() -> Vec<Case> {
    let normal = ROWS.iter().map(|row| case(row, false));
    normal
        .chain(ROWS.iter().map(|row| case(row, true)))
        .collect()
}

impl Row {
    fn shapes(&self) -> Vec<Shape> {
        self.sources.iter().map(shape_of).collect()
    }

    fn input(&self) -> Shape {
        Shape::concat(&self.shapes().iter().collect::<Vec<_>>())
    }

    fn n_weights(&self) -> usize {
        self.filters * self.input().c() * self.filter[0] * self.filter[1]
    }
}

/// Random data, or small whole numbers with which plain sums are exact.
fn case(row: &'static Row, exact: bool) -> Case {
    let kind = if exact { "whole numbers" } else { "normal" };
    let name = format!(
        "{:?} to {} filters {:?} stride {:?}, {kind}",
        row.sources, row.filters, row.filter, row.stride
    );
    let direct = if exact { 0.0 } else { DIRECT };
    let tolerance = Tolerance::new(direct).transform(TRANSFORM);
    let vectors = [row.n_weights(), 0];
    let build = move |setup: &mut Setup| passes(setup, row, exact);
    Case::new(("conv", name), row.batch, vectors, tolerance, build)
}

/// Forward, the gradient to the filter, and that to every source.
fn passes(setup: &mut Setup, row: &Row, exact: bool) {
    let data = match exact {
        true => Data::Integers(3),
        false => Data::Normal(0.0, 1.0),
    };
    setup.weights(data.clone());
    let sources = setup.sources(&row.shapes(), data.clone());
    let (input, [s, t]) = (row.input(), row.stride);
    let [h, w] = [(input.h, s), (input.w, t)].map(|(size, s)| shape::conv_output(size, s));
    let output = Shape::new(row.filters, h, w);
    let weight = Span {
        start: 0,
        len: row.n_weights(),
    };
    let inputs = sources.clone();
    let conv = (setup.builder).conv("conv", inputs, row.filter, row.stride, &output, weight);
    let Conv { y, moments, .. } = *setup.builder.plan().conv(conv);
    setup.forward(Step::Conv(conv));
    setup.result_with(y, y, data);
    if !exact {
        (0..2).for_each(|i| setup.statistics(moments, &output, i, 2));
    }
    setup.backward(Step::ConvFilterGrad(conv));
    setup.weight_gradients();
    for (source, Source { buffer, shape, .. }) in sources.into_iter().enumerate() {
        let out = setup.builder.images(format!("gradient {source}"), &shape);
        setup.backward(Step::Gather {
            out,
            shape,
            contributions: vec![Contribution::Conv { conv, source }],
            norm: None,
        });
        setup.gradient(buffer, out);
    }
}

fn shape_of(&(groups, h, w): &SourceSize) -> Shape {
    let groups = groups.to_vec();
    Shape { groups, h, w }
}
