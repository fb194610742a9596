//! Images in f64 by their four indices, and the buffers of a plan made of them.

use std::ops::{Index, IndexMut};

use crate::graph::Shape;
use crate::graph::step::BufferId;

/// Values with four indices in row order: images `[n][c][h][w]`, filters `[f][c][kh][kw]`.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Sizes along the four indices.
    pub dims: [usize; 4],
    /// The values, the last index fastest.
    pub values: Vec<f64>,
}

impl Tensor {
    /// Zeros.
    pub fn zeros(dims: [usize; 4]) -> Tensor {
        Tensor {
            dims,
            values: vec![0.0; dims.iter().product()],
        }
    }

    /// `n` images of zeros.
    pub fn images(n: usize, shape: &Shape) -> Tensor {
        Tensor::zeros([n, shape.c(), shape.h, shape.w])
    }

    /// A vector, as a tensor of one row.
    pub fn vector(values: Vec<f64>) -> Tensor {
        Tensor {
            dims: [1, 1, 1, values.len()],
            values,
        }
    }

    /// All positions in row order.
    pub fn positions(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        positions(self.dims)
    }

    fn at(&self, [i, j, k, l]: [usize; 4]) -> usize {
        let [a, b, c, d] = self.dims;
        // A wrong index would otherwise find the neighbour's value.
        assert!(i < a && j < b && k < c && l < d, "a position in the tensor");
        ((i * b + j) * c + k) * d + l
    }
}

impl Index<[usize; 4]> for Tensor {
    type Output = f64;

    fn index(&self, position: [usize; 4]) -> &f64 {
        &self.values[self.at(position)]
    }
}

impl IndexMut<[usize; 4]> for Tensor {
    fn index_mut(&mut self, position: [usize; 4]) -> &mut f64 {
        let at = self.at(position);
        &mut self.values[at]
    }
}

/// All positions of a tensor of these sizes, in row order.
pub fn positions([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..a * b * c * d).map(move |i| [i / (b * c * d), i / (c * d) % b, i / d % c, i % d])
}

/// The buffers of a plan.
pub struct Memory(pub Vec<Tensor>);

impl Index<BufferId> for Memory {
    type Output = Tensor;

    fn index(&self, id: BufferId) -> &Tensor {
        &self.0[id.0]
    }
}

impl IndexMut<BufferId> for Memory {
    fn index_mut(&mut self, id: BufferId) -> &mut Tensor {
        &mut self.0[id.0]
    }
}
