//! What steps work on: buffers with their places in the arena, and ranges of the flat vectors.

use super::Shape;

/// Position of a buffer in [`Plan::buffers`](super::Plan::buffers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// What a buffer holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Images of this shape, one for each image of the batch: activations and their gradients.
    Images(Shape),
    /// This many f32 values: parameters, features, logits.
    Values(usize),
    /// For each image two rows of `[8 planes]` of a tensor of this shape. A device may keep finer
    /// parts of them; [`Session::read`](crate::device::Session::read) gives two rows an image.
    Statistics(Shape),
    /// Packed weights and other memory of the device's own, in bytes.
    Bytes(usize),
}

/// A place in the arena.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// For messages, such as `layer 3 output`.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// Size in bytes on the device that the plan was made for.
    pub bytes: usize,
    /// First byte in the arena, a multiple of 64.
    pub offset: usize,
}

/// A range of one of the flat vectors (weights, gradients, momentum or running statistics).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First value.
    pub start: usize,
    /// Number of values.
    pub len: usize,
}

impl Span {
    /// The same as a range of indices.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}
