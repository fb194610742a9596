//! Random architectures with every type of layer, skips and strides; each at its own address.

use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::{ConvArchitecture, Layer, LayerOp};

/// An architecture and what its layers must be, counted here and not by the engine's formulas.
pub struct Drawn {
    pub architecture: ConvArchitecture,
    /// Channels, height and width of the image and of every layer's output.
    pub outputs: Vec<[usize; 3]>,
    /// The same of every layer's concatenated input; that of the image is empty.
    pub inputs: Vec<[usize; 3]>,
}

/// Bounds of what is drawn.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub layers: u32,
    pub filters: u32,
    /// Channels of a concatenation, beyond which fewer inputs are taken.
    pub channels: usize,
}

/// The architecture at (seed, index).
pub fn draw(seed: u64, index: u64, bounds: Bounds) -> Drawn {
    let mut rng = Rng::new(seed, Purpose::Test, index);
    let mut drawn = Drawn {
        architecture: ConvArchitecture {
            layers: vec![],
            learning_rate: None,
        },
        outputs: vec![[3, 32, 32]],
        inputs: vec![[0; 3]],
    };
    for number in 1..=1 + rng.below(bounds.layers) as usize {
        let inputs = draw_inputs(&mut rng, number, &drawn.outputs, bounds.channels);
        let input = joined(&inputs, &drawn.outputs);
        let op = draw_op(&mut rng, input, bounds.filters);
        drawn.outputs.push(output(&op, input));
        drawn.inputs.push(input);
        drawn.architecture.layers.push(Layer { op, inputs });
    }
    drawn
}

/// The last layer most of the time, and any of the others.
fn draw_inputs(
    rng: &mut Rng,
    number: usize,
    outputs: &[[usize; 3]],
    channels: usize,
) -> Vec<usize> {
    let chance = |rng: &mut Rng, percent| rng.below(100) < percent;
    let mut inputs: Vec<usize> = (0..number)
        .filter(|&j| chance(rng, if j + 1 == number { 70 } else { 30 }))
        .collect();
    while inputs.len() > 1 && joined(&inputs, outputs)[0] > channels {
        inputs.pop();
    }
    if inputs.is_empty() {
        inputs.push(rng.below(number as u32) as usize);
    }
    inputs
}

fn draw_op(rng: &mut Rng, [_, h, w]: [usize; 3], filters: u32) -> LayerOp {
    let side = |rng: &mut Rng| 1 + 2 * rng.below(4) as usize;
    let stride = |rng: &mut Rng| 1 + [0, 0, 0, 1, 1, 2][rng.below(6) as usize];
    let window = |rng: &mut Rng, size: usize| 1 + rng.below(size.min(4) as u32) as usize;
    match rng.below(10) {
        0 => LayerOp::Lcn,
        1 => LayerOp::BatchNorm,
        2 => LayerOp::MaxPool {
            pool: [window(rng, h), window(rng, w)],
            stride: [stride(rng), stride(rng)],
        },
        3 => LayerOp::AvgPool {
            pool: [window(rng, h), window(rng, w)],
            stride: [stride(rng), stride(rng)],
        },
        _ => LayerOp::Conv {
            filter: [side(rng), side(rng)],
            filters: 1 + rng.below(filters) as usize,
            stride: [stride(rng), stride(rng)],
        },
    }
}

/// Channels add up, the largest height and the largest width win.
pub fn joined(inputs: &[usize], outputs: &[[usize; 3]]) -> [usize; 3] {
    let mut all = [0; 3];
    for &[c, h, w] in inputs.iter().map(|&j| &outputs[j]) {
        all = [all[0] + c, all[1].max(h), all[2].max(w)];
    }
    all
}

/// Counts the places at which a filter or a window is laid.
fn output(op: &LayerOp, [c, h, w]: [usize; 3]) -> [usize; 3] {
    let every = |size: usize, stride: usize| (0..size).step_by(stride);
    match *op {
        LayerOp::Conv {
            filters, stride, ..
        } => [
            filters,
            every(h, stride[0]).count(),
            every(w, stride[1]).count(),
        ],
        LayerOp::MaxPool { pool, stride } | LayerOp::AvgPool { pool, stride } => [
            c,
            every(h, stride[0]).filter(|i| i + pool[0] <= h).count(),
            every(w, stride[1]).filter(|j| j + pool[1] <= w).count(),
        ],
        LayerOp::Lcn | LayerOp::BatchNorm => [c, h, w],
    }
}
