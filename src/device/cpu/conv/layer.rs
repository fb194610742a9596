//! What a layer is: its sources, its filter, its sizes.

use crate::device::cpu::layout::image_len;
use crate::graph::Shape;
use crate::shape::conv_output;

/// A convolutional layer on a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Images of a batch.
    pub n: usize,
    /// What is concatenated, in order; padded with zeros at the bottom and right to the largest.
    pub sources: Vec<Shape>,
    /// Output channels.
    pub filters: usize,
    /// Height and width of the filter, odd.
    pub filter: [usize; 2],
    /// Rows and columns from an output to the next.
    pub stride: [usize; 2],
}

impl ConvShape {
    /// The concatenation.
    pub fn input(&self) -> Shape {
        Shape::concat(&self.sources.iter().collect::<Vec<_>>())
    }

    /// What comes out.
    pub fn output(&self) -> Shape {
        let input = self.input();
        let [h, w] = [(input.h, self.stride[0]), (input.w, self.stride[1])]
            .map(|(size, stride)| conv_output(size, stride));
        Shape::new(self.filters, h, w)
    }

    /// Floats of an output image.
    pub fn output_len(&self) -> usize {
        image_len(&self.output())
    }

    /// Input channels.
    pub fn channels(&self) -> usize {
        self.sources.iter().map(Shape::c).sum()
    }

    /// Floats of the weights, `[filters][channels][kh][kw]`.
    pub fn weights_len(&self) -> usize {
        self.filters * self.channels() * self.filter[0] * self.filter[1]
    }
}

pub(super) fn check(shape: &ConvShape) {
    let sizes = [shape.n, shape.filters, shape.stride[0], shape.stride[1]];
    let sources = shape.sources.iter();
    let sides = sources.flat_map(|source| source.groups.iter().chain([&source.h, &source.w]));
    assert!(
        sizes.iter().chain(sides).all(|&size| size > 0),
        "sizes of a convolution are positive: {shape:?}"
    );
    assert!(
        shape.filter.iter().all(|k| k % 2 == 1),
        "filters are odd: {shape:?}"
    );
    assert!(
        shape.channels() > 0,
        "a convolution reads something: {shape:?}"
    );
}
