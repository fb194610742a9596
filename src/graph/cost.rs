//! Parameters and multiply-adds of a child.

use super::Graph;
use crate::space::LayerOp;

/// Size of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerCost {
    /// Trained parameters.
    pub parameters: u64,
    /// Multiply-adds of one image, forward; padding taps counted.
    pub multiply_adds: u64,
}

/// Size of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Layers 1, 2, … in order.
    pub layers: Vec<LayerCost>,
    /// The classifier.
    pub classifier: LayerCost,
}

impl Costs {
    /// Counts as formats.md, section 4 does: a convolution has H W kh kw C filters multiply-adds,
    /// the classifier features x classes, all else none.
    pub fn new(graph: &Graph) -> Costs {
        let layers = graph.layers[1..].iter().map(|layer| {
            let norm = 2 * layer.output.c() as u64;
            match layer.op {
                Some(LayerOp::Conv {
                    filter: [kh, kw],
                    filters,
                    ..
                }) => {
                    let weights = (kh * kw * layer.input.c() * filters) as u64;
                    let pixels = (layer.output.h * layer.output.w) as u64;
                    LayerCost {
                        parameters: weights + norm,
                        multiply_adds: weights * pixels,
                    }
                }
                Some(LayerOp::BatchNorm) => LayerCost {
                    parameters: norm,
                    multiply_adds: 0,
                },
                None | Some(LayerOp::MaxPool { .. } | LayerOp::AvgPool { .. } | LayerOp::Lcn) => {
                    LayerCost {
                        parameters: 0,
                        multiply_adds: 0,
                    }
                }
            }
        });
        let weights = (graph.features() * graph.classes) as u64;
        let classifier = LayerCost {
            parameters: weights + graph.classes as u64,
            multiply_adds: weights,
        };
        Costs {
            layers: layers.collect(),
            classifier,
        }
    }

    /// Trained parameters of the child.
    pub fn parameters(&self) -> u64 {
        self.total(|l| l.parameters)
    }

    /// Multiply-adds of one image, forward.
    pub fn multiply_adds(&self) -> u64 {
        self.total(|l| l.multiply_adds)
    }

    /// 256 layers of the largest allowed size pass 2^64: the sum stays there.
    fn total(&self, count: impl Fn(&LayerCost) -> u64) -> u64 {
        self.layers
            .iter()
            .chain([&self.classifier])
            .map(count)
            .fold(0, u64::saturating_add)
    }
}
