//! What a layer is: its sources, its filter, its sizes.

use super::plan::{Plane, Source};
use crate::shape::{PLANE, conv_output, planes};

/// A tensor that a convolution reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceShape {
    /// Channels of each group; a group begins with a new plane (a copied concatenation keeps the
    /// planes of its parts).
    pub groups: Vec<usize>,
    /// Height; padded with zeros at the bottom to the target's.
    pub h: usize,
    /// Width; padded with zeros at the right to the target's.
    pub w: usize,
}

impl SourceShape {
    pub(super) fn planes(&self) -> usize {
        self.groups.iter().map(|&group| planes(group)).sum()
    }

    pub(super) fn channels(&self) -> usize {
        self.groups.iter().sum()
    }

    pub(super) fn plan(&self) -> Source {
        Source {
            planes: self.planes(),
            h: self.h,
            w: self.w,
        }
    }

    /// Floats of an image.
    pub fn image_len(&self) -> usize {
        self.plan().image()
    }
}

/// A convolutional layer on a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Images of a batch.
    pub n: usize,
    /// Height of the concatenated input: the largest of the sources.
    pub h: usize,
    /// Width of the concatenated input.
    pub w: usize,
    /// What is concatenated, in order.
    pub sources: Vec<SourceShape>,
    /// Output channels.
    pub filters: usize,
    /// Height and width of the filter, odd.
    pub filter: [usize; 2],
    /// Rows and columns from an output to the next.
    pub stride: [usize; 2],
}

impl ConvShape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        [
            conv_output(self.h, self.stride[0]),
            conv_output(self.w, self.stride[1]),
        ]
    }

    /// Floats of an output image.
    pub fn output_len(&self) -> usize {
        let [h, w] = self.output();
        planes(self.filters) * h * w * PLANE
    }

    /// Input channels.
    pub fn channels(&self) -> usize {
        self.sources.iter().map(SourceShape::channels).sum()
    }

    /// Floats of the weights, `[filters][channels][kh][kw]`.
    pub fn weights_len(&self) -> usize {
        self.filters * self.channels() * self.filter[0] * self.filter[1]
    }
}

/// Planes of a concatenation, in order.
pub(super) fn concat<'a>(tensors: impl Iterator<Item = &'a [usize]>) -> Vec<Plane> {
    let mut list = Vec::new();
    let mut channel = 0;
    for (source, groups) in tensors.enumerate() {
        let mut index = 0;
        for &group in groups {
            for first in (0..group).step_by(PLANE) {
                let channels = PLANE.min(group - first);
                list.push(Plane {
                    source,
                    index,
                    channel: channel + first,
                    channels,
                });
                index += 1;
            }
            channel += group;
        }
    }
    list
}

pub(super) fn check(shape: &ConvShape) {
    let sizes = [
        shape.n,
        shape.h,
        shape.w,
        shape.filters,
        shape.stride[0],
        shape.stride[1],
    ];
    assert!(
        sizes.iter().all(|&size| size > 0),
        "sizes of a convolution are positive: {shape:?}"
    );
    assert!(
        shape.filter.iter().all(|k| k % 2 == 1),
        "filters are odd: {shape:?}"
    );
    for source in &shape.sources {
        assert!(
            source.h <= shape.h && source.w <= shape.w,
            "sources fit the target: {shape:?}"
        );
        assert!(
            source.groups.iter().all(|&group| group > 0),
            "groups have channels: {shape:?}"
        );
    }
    assert!(
        shape.channels() > 0,
        "a convolution reads something: {shape:?}"
    );
}
