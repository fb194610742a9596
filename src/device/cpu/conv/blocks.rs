//! The input planes of a pass, and the blocks of them that V holds at a time.

use super::axis::Axis;
use super::plan::{Kind, Pass, V_FLOATS};
use super::product::Input;
use super::strips::Strip;
use crate::device::cpu::layout::{image_len, plane_channels};
use crate::graph::Shape;
use crate::shape::PLANE;

/// Input planes of a block at most: their addresses are gathered on the stack.
const MAX_BLOCK: usize = 32;

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

impl Pass {
    /// Floats of V.
    pub fn v_len(&self) -> usize {
        let most = self
            .blocks
            .iter()
            .map(|block| block.len())
            .max()
            .unwrap_or(0);
        if self.in_place {
            0
        } else {
            most * self.plane_pitch
        }
    }

    /// Input channels of a block.
    pub fn block_channels(&self, block: usize) -> usize {
        self.planes[self.blocks[block].clone()]
            .iter()
            .map(|plane| plane.channels)
            .sum()
    }

    /// Addresses of a block's planes when V is the source itself.
    pub fn inputs_in_place<'a>(
        &self,
        block: usize,
        strip: Strip,
        sources: &[&[f32]],
        inputs: &'a mut [Input; MAX_BLOCK],
    ) -> &'a [Input] {
        let row = strip.row * self.axes[0].step;
        let range = self.blocks[block].clone();
        for (input, plane) in inputs.iter_mut().zip(&self.planes[range.clone()]) {
            let source = &self.sources[plane.source];
            let pixel = (plane.index * source.h + row) * source.w;
            let at = strip.image * image_len(source) + pixel * PLANE;
            *input = Input {
                at: sources[plane.source][at..].as_ptr(),
                channels: plane.channels,
            };
        }
        &inputs[..range.len()]
    }

    /// Addresses of a block's planes in V.
    pub fn inputs_in_v<'a>(
        &self,
        block: usize,
        v: &[f32],
        inputs: &'a mut [Input; MAX_BLOCK],
    ) -> &'a [Input] {
        let range = self.blocks[block].clone();
        for (i, plane) in self.planes[range.clone()].iter().enumerate() {
            let at = v[i * self.plane_pitch..].as_ptr();
            inputs[i] = Input {
                at,
                channels: plane.channels,
            };
        }
        &inputs[..range.len()]
    }

    /// Room for the addresses of a block's planes.
    pub fn no_inputs() -> [Input; MAX_BLOCK] {
        [Input {
            at: std::ptr::null(),
            channels: 0,
        }; MAX_BLOCK]
    }

    /// Whether positions are pixels of sources without padding, and strips are contiguous.
    pub fn can_read_in_place(&self, filter: [usize; 2]) -> bool {
        let first = &self.sources[0];
        let covered = |axis: &Axis, size| axis.positions(axis.tiles()) <= size;
        filter == [1, 1]
            && self
                .sources
                .iter()
                .all(|source| (source.h, source.w) == (first.h, first.w))
            && (self.strip[0] == 1 || self.sources.len() == 1)
            && covered(&self.axes[0], first.h)
            && covered(&self.axes[1], first.w)
    }

    /// Cuts the planes into blocks of one source size that V has room for; those that are read in
    /// place by offsets from one address are of one source.
    pub fn cut_blocks(&mut self, kind: Kind) {
        let most = match self.in_place {
            true => MAX_BLOCK,
            false => (V_FLOATS / self.plane_pitch).clamp(1, MAX_BLOCK),
        };
        let size = |plane: &Plane| {
            let source = &self.sources[plane.source];
            (source.h, source.w)
        };
        let one_source = self.in_place && kind == Kind::Filter;
        let together = |a: &Plane, b: &Plane| match one_source {
            true => a.source == b.source,
            false => size(a) == size(b),
        };
        let mut first = 0;
        for same in self.planes.chunk_by(together) {
            let n = same.len().div_ceil(most);
            let cut = |i: usize| first + i * same.len() / n;
            self.blocks.extend((0..n).map(|i| cut(i)..cut(i + 1)));
            first += same.len();
        }
    }
}
