//! The planes of a concatenated input, and the blocks that they are cut into.

use std::ops::Range;

use crate::device::cpu::layout::plane_channels;
use crate::graph::Shape;

/// Input planes of a block at most: their addresses are gathered on the stack.
pub(super) const MAX_PLANES: usize = 32;

/// A plane of the concatenated input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub source: usize,
    /// Which plane of the source.
    pub index: usize,
    /// Its first channel in the concatenation, and how many of its 8 are used.
    pub channel: usize,
    pub channels: usize,
}

/// Planes of a concatenation, in order.
pub(super) fn concat(sources: &[Shape]) -> Vec<Plane> {
    let mut list = Vec::new();
    let mut first = 0;
    for (source, shape) in sources.iter().enumerate() {
        let planes = plane_channels(shape).enumerate();
        list.extend(planes.map(|(index, (channel, channels))| Plane {
            source,
            index,
            channel: first + channel,
            channels,
        }));
        first += shape.c();
    }
    list
}

/// Cuts planes into blocks of nearly equal length, `most` planes at most, each of neighbours that
/// may be `together`.
pub(super) fn cut(
    planes: &[Plane],
    most: usize,
    together: impl Fn(&Plane, &Plane) -> bool,
) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut first = 0;
    for same in planes.chunk_by(together) {
        let n = same.len().div_ceil(most);
        let at = |i: usize| first + i * same.len() / n;
        blocks.extend((0..n).map(|i| at(i)..at(i + 1)));
        first += same.len();
    }
    blocks
}
