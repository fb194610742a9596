//! What a convolutional architecture is: layers, what each reads, and the limits that every architecture keeps.
//!
//! What depends on sizes of images (a pooling window larger than its input) is found later, by
//! shape inference.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Layers of an architecture, pools and normalisations counted.
pub const LAYERS: RangeInclusive<usize> = 1..=256;
/// Sides of a filter, which are odd.
pub const FILTER_SIDE: RangeInclusive<usize> = 1..=15;
/// Filters of a convolution.
pub const FILTERS: RangeInclusive<usize> = 1..=4096;
/// Strides of a convolution or a pool.
pub const STRIDE: RangeInclusive<usize> = 1..=8;
/// Sides of a pooling window: twice the side of an image, which no window that fits can reach.
pub const POOL_SIDE: RangeInclusive<usize> = 1..=64;

/// A convolutional network as the search sees it: no weights, no sizes of images.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvArchitecture {
    /// Layers in order; the first is layer 1, because 0 names the image.
    pub layers: Vec<Layer>,
    /// The initial learning rate it is to be trained with, where it has one of its own.
    pub learning_rate: Option<f64>,
}

/// One layer: what it does and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What the layer computes.
    pub op: LayerOp,
    /// Layers read, strictly ascending, each before this one; 0 is the image. `[0]` where the
    /// layer has no other input, so never empty.
    pub inputs: Vec<usize>,
}

/// What a layer computes. Pairs are [height, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerOp {
    /// Convolution, batch normalisation, ReLU.
    Conv {
        /// Sides of a filter, both odd.
        filter: [usize; 2],
        /// Number of filters, which is the number of output channels.
        filters: usize,
        /// Steps between outputs.
        stride: [usize; 2],
    },
    /// The largest value of each window.
    MaxPool {
        /// Sides of the window.
        pool: [usize; 2],
        /// Steps between windows.
        stride: [usize; 2],
    },
    /// The mean of each window.
    AvgPool {
        /// Sides of the window.
        pool: [usize; 2],
        /// Steps between windows.
        stride: [usize; 2],
    },
    /// Local contrast normalisation.
    Lcn,
    /// Batch normalisation with scale and shift, no ReLU.
    BatchNorm,
}

/// The type of a layer, which is its operation without the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Convolution, batch normalisation, ReLU.
    Conv,
    /// Max pooling.
    MaxPool,
    /// Average pooling.
    AvgPool,
    /// Local contrast normalisation.
    Lcn,
    /// Batch normalisation alone.
    BatchNorm,
}

impl LayerType {
    /// Every type there is.
    pub const ALL: [LayerType; 5] = [
        LayerType::Conv,
        LayerType::MaxPool,
        LayerType::AvgPool,
        LayerType::Lcn,
        LayerType::BatchNorm,
    ];

    /// Its name in files.
    pub fn name(&self) -> &'static str {
        match self {
            LayerType::Conv => "conv",
            LayerType::MaxPool => "max_pool",
            LayerType::AvgPool => "avg_pool",
            LayerType::Lcn => "lcn",
            LayerType::BatchNorm => "batch_norm",
        }
    }
}

impl LayerOp {
    /// The operation without its numbers.
    pub fn layer_type(&self) -> LayerType {
        match self {
            LayerOp::Conv { .. } => LayerType::Conv,
            LayerOp::MaxPool { .. } => LayerType::MaxPool,
            LayerOp::AvgPool { .. } => LayerType::AvgPool,
            LayerOp::Lcn => LayerType::Lcn,
            LayerOp::BatchNorm => LayerType::BatchNorm,
        }
    }

    /// The name of its type in files.
    pub fn type_name(&self) -> &'static str {
        self.layer_type().name()
    }
}

impl ConvArchitecture {
    /// Layers that no layer reads, ascending: together they are the classifier's input.
    pub fn unread(&self) -> Vec<usize> {
        let mut read = vec![false; self.layers.len() + 1];
        for &input in self.layers.iter().flat_map(|layer| &layer.inputs) {
            read[input] = true;
        }
        (1..=self.layers.len())
            .filter(|&layer| !read[layer])
            .collect()
    }
}
