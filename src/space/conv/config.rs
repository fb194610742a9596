//! Settings of the convolutional search space: presets, and the checks that every setting passes.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{FILTER_SIDE, FILTERS, LAYERS, LayerType, POOL_SIDE, STRIDE};
use crate::space::SpaceError;
use crate::space::error::{check_distinct, wrong};

/// Which convolutional architectures the search may say. Lists hold the choices of a decision; each value
/// stands once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpaceConfig {
    /// Choices of a filter's height, odd.
    pub filter_heights: Vec<usize>,
    /// Choices of a filter's width, odd.
    pub filter_widths: Vec<usize>,
    /// Choices of a convolution's number of filters.
    pub filters: Vec<usize>,
    /// Choices of a convolution's stride, height and width predicted apart. A single value is
    /// fixed and takes no decision.
    pub strides: Vec<usize>,
    /// Fixes the first layer's stride, both ways, where it is a convolution; then it takes no
    /// decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_stride: Option<usize>,
    /// Whether skip connections are predicted. Without them every layer reads the one before it.
    pub anchors: bool,
    /// Layers of the first sample; blocks, where `blocks` is on.
    pub depth: usize,
    /// Layers added every `depth_every` samples; 0 keeps the depth.
    pub depth_step: usize,
    /// Samples between two steps of depth.
    pub depth_every: u64,
    /// Where the depth stops growing.
    pub max_depth: usize,
    /// Whether each layer's type is predicted; without, every layer is a convolution.
    pub predict_layer_type: bool,
    /// Choices of a layer's type, where it is predicted.
    pub layer_types: Vec<LayerType>,
    /// Choices of a pooling window's height and width, where types are predicted.
    pub pool_windows: Vec<usize>,
    /// Choices of a pool's stride, height and width, where types are predicted.
    pub pool_strides: Vec<usize>,
    /// Whether an architecture's own learning rate is predicted.
    pub predict_learning_rate: bool,
    /// Choices of the learning rate, where it is predicted.
    pub learning_rates: Vec<f64>,
    /// Whether each prediction is a densely connected block of three convolutions.
    pub blocks: bool,
    /// Blocks that a 2x2 max pool of stride 2 follows, ascending, where `blocks` is on.
    pub pool_after_blocks: Vec<usize>,
}

/// Convolutions of a block.
pub const BLOCK_LAYERS: usize = 3;

impl ConvSpaceConfig {
    /// A named space: the paper's `v1`, `v2` and `v3`, or the small `sample`.
    pub fn preset(name: &str) -> Option<Self> {
        let v1 = ConvSpaceConfig {
            // paper P1.2
            filter_heights: vec![1, 3, 5, 7],
            filter_widths: vec![1, 3, 5, 7],
            // paper P1.3
            filters: vec![24, 36, 48, 64],
            // paper P1.6
            strides: vec![1],
            first_stride: None,
            anchors: true,
            // paper P5.4
            depth: 6,
            depth_step: 2,
            depth_every: 1600,
            max_depth: 20, // where the paper's 12,800 samples end
            predict_layer_type: false,
            layer_types: LayerType::ALL.to_vec(),
            pool_windows: vec![2, 3],
            pool_strides: vec![2, 3],
            predict_learning_rate: false,
            learning_rates: vec![0.2, 0.1, 0.05, 0.01],
            blocks: false,
            // paper P3.4
            pool_after_blocks: vec![4, 8],
        };
        let fixed = |depth| ConvSpaceConfig {
            depth,
            depth_step: 0,
            max_depth: depth,
            ..v1.clone()
        };
        match name {
            "v1" => Some(v1),
            "v2" => Some(ConvSpaceConfig {
                // paper P3.1
                strides: vec![1, 2, 3],
                ..v1
            }),
            "v3" => Some(ConvSpaceConfig {
                // paper P3.3
                filters: vec![6, 12, 24, 36],
                blocks: true,
                // paper P3.2
                ..fixed(13)
            }),
            "sample" => Some(ConvSpaceConfig {
                filter_heights: vec![1, 3, 5],
                filter_widths: vec![1, 3, 5],
                filters: vec![8, 12, 16, 24],
                strides: vec![1, 2],
                first_stride: Some(2),
                ..fixed(4)
            }),
            _ => None,
        }
    }

    /// Depth of sample `s`, counted from 0, in layers (blocks, where they are on):
    /// `depth + depth_step * floor(s / depth_every)`, capped by `max_depth`.
    // paper P5.4
    pub(super) fn depth_of(&self, sample: u64) -> usize {
        let steps = usize::try_from(sample / self.depth_every).unwrap_or(usize::MAX);
        self.depth
            .saturating_add(self.depth_step.saturating_mul(steps))
            .min(self.max_depth)
    }

    /// Layers of an architecture of this many layers or blocks, pools counted.
    pub(super) fn n_layers(&self, depth: usize) -> usize {
        match self.blocks {
            true => {
                let pools = self
                    .pool_after_blocks
                    .iter()
                    .filter(|&&block| block <= depth)
                    .count();
                depth.saturating_mul(BLOCK_LAYERS).saturating_add(pools)
            }
            false => depth,
        }
    }

    pub(super) fn check(&self) -> Result<(), SpaceError> {
        check_sizes("filter_heights", &self.filter_heights, FILTER_SIDE, true)?;
        check_sizes("filter_widths", &self.filter_widths, FILTER_SIDE, true)?;
        check_sizes("filters", &self.filters, FILTERS, false)?;
        check_sizes("strides", &self.strides, STRIDE, false)?;
        if let Some(stride) = self.first_stride {
            check_sizes("first_stride", &[stride], STRIDE, false)?;
        }
        check_distinct("layer_types", &self.layer_types, |x| x.name().to_owned())?;
        check_sizes("pool_windows", &self.pool_windows, POOL_SIDE, false)?;
        check_sizes("pool_strides", &self.pool_strides, STRIDE, false)?;
        check_distinct("learning_rates", &self.learning_rates, f64::to_string)?;
        if let Some(x) = self
            .learning_rates
            .iter()
            .find(|x| !(x.is_finite() && **x > 0.0))
        {
            return wrong("learning_rates", format!("holds {x}; give numbers above 0"));
        }
        self.check_depth()?;
        self.check_blocks()
    }

    fn check_depth(&self) -> Result<(), SpaceError> {
        for (key, depth) in [("depth", self.depth), ("max_depth", self.max_depth)] {
            if depth == 0 {
                return wrong(key, "is 0; give at least 1".to_owned());
            }
        }
        if self.depth_every == 0 {
            return wrong(
                "depth_every",
                "is 0; give the samples between two steps".to_owned(),
            );
        }
        let (n_layers, most) = (self.n_layers(self.max_depth), *LAYERS.end());
        if n_layers > most {
            let text = format!(
                "is {}, which makes {n_layers} layers; an architecture has at most {most}",
                self.max_depth
            );
            return wrong("max_depth", text);
        }
        Ok(())
    }

    fn check_blocks(&self) -> Result<(), SpaceError> {
        if !self.blocks {
            return Ok(());
        }
        let ascending = self
            .pool_after_blocks
            .windows(2)
            .all(|pair| pair[0] < pair[1]);
        if !ascending || self.pool_after_blocks.first() == Some(&0) {
            let found = &self.pool_after_blocks;
            return wrong(
                "pool_after_blocks",
                format!("is {found:?}; give numbers of blocks from 1, ascending"),
            );
        }
        if self.predict_layer_type {
            return wrong(
                "predict_layer_type",
                "does not go with `blocks`; turn one off".into(),
            );
        }
        if self.strides != [1] || self.first_stride.is_some_and(|stride| stride != 1) {
            let key = if self.strides == [1] {
                "first_stride"
            } else {
                "strides"
            };
            return wrong(
                key,
                "does not go with `blocks`, whose strides are 1".to_owned(),
            );
        }
        Ok(())
    }
}

fn check_sizes(
    key: &'static str,
    values: &[usize],
    range: RangeInclusive<usize>,
    odd: bool,
) -> Result<(), SpaceError> {
    check_distinct(key, values, usize::to_string)?;
    match values
        .iter()
        .find(|&x| !range.contains(x) || (odd && x % 2 == 0))
    {
        Some(x) => {
            let (low, high) = range.into_inner();
            let odd = if odd { "odd " } else { "" };
            wrong(
                key,
                format!("holds {x}; give {odd}whole numbers from {low} to {high}"),
            )
        }
        None => Ok(()),
    }
}
