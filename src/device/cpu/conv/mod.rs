//! Fast convolution: forward, gradient to data, gradient to the filter.
//!
//! A [`PlannedConv`] is planned once per layer and allocates nothing when it runs. Two schemes
//! share one loop nest (see `pass`): plain sums over the taps, and Cook-Toom transforms (see
//! `transform`) that need 4 to 6 times fewer products where the stride is 1. All of the time goes into the
//! register tiles of `product`.
//!
//! Activations are planes of 8 channels, `[n][plane][h][w][8]`; a concatenation is a list of
//! sources that is read in place. Results do not depend on the number of threads.

mod axis;
mod blocks;
mod filter;
mod layer;
mod outputs;
mod pack;
mod pass;
mod plan;
mod points;
mod product;
mod reach;
mod run;
mod stage;
mod strips;
#[cfg(test)]
mod tests;
mod transform;

use std::ops::Range;
use std::sync::Arc;

use super::layout::image_len;
use super::simd::Isa;
use super::workers::{each, each_with};
use crate::graph::Shape;
use filter::{FilterPass, FilterTask};
pub use layer::ConvShape;
use layer::check;
use outputs::Outputs;
use pack::Order;
use pass::Pass;
use plan::{PassKind, PassLayer};
use run::Target;

/// A planned convolution.
pub struct PlannedConv {
    shape: ConvShape,
    isa: Isa,
    forward: Arc<Pass>,
    y: Arc<Outputs>,
    filter: FilterPass,
    /// Of each source.
    data: Vec<DataPass>,
}

/// The gradient to one source. Sources of one size share a pass, those of one shape also what it
/// writes.
struct DataPass {
    pass: Arc<Pass>,
    dx: Arc<Outputs>,
    /// Its first channel in the concatenation.
    channel: usize,
    /// Where its weights lie in the packed weights.
    packed: Range<usize>,
}

/// A gradient to data to be computed.
pub struct DataGradient<'a> {
    /// Number of the source.
    pub source: usize,
    /// The gradient of some images of the source.
    pub dx: &'a mut [f32],
    /// Whether to set `dx`; otherwise it is added to.
    pub first: bool,
}

impl PlannedConv {
    /// Plans a layer. `allow_transform` permits sums that round a little more (1e-4 of the largest
    /// value at most) and take fewer products.
    ///
    /// # Panics
    /// If a size is 0 or a filter is even.
    pub fn new(shape: ConvShape, isa: Isa, allow_transform: bool) -> PlannedConv {
        check(&shape);
        let output = shape.output();
        let layer = |kind| PassLayer {
            kind,
            sources: &shape.sources,
            out: [output.h, output.w],
            out_planes: output.planes(),
            filter: shape.filter,
            stride: shape.stride,
            images: shape.n,
            allow_transform,
        };
        let forward = Arc::new(Pass::new(layer(PassKind::Forward)));
        let y = Arc::new(Outputs::new(isa, &forward, &output));
        let sizes = [
            shape.filters,
            shape.channels(),
            shape.filter[0] * shape.filter[1],
        ];
        let filter = FilterPass::new(Arc::clone(&forward), Arc::clone(&y), shape.n, sizes);
        let data = plan_data(&shape, isa, allow_transform, y.packed_len(&forward));
        PlannedConv {
            forward,
            y,
            filter,
            data,
            shape,
            isa,
        }
    }

    /// The layer that this is the plan of.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Floats of the packed weights, for forward alone (evaluation) or for gradients as well.
    pub fn packed_len(&self, gradients: bool) -> usize {
        match self.data.last() {
            Some(last) if gradients => last.packed.end,
            _ => self.y.packed_len(&self.forward),
        }
    }

    /// Floats of scratch for each thread, enough for every operation.
    pub fn scratch_len(&self) -> usize {
        let data = self.data.iter();
        let data = data.map(|data| data.pass.scratch_len(&data.dx));
        data.chain([self.filter.scratch_len(), self.fwd_scratch_len()])
            .max()
            .unwrap_or(0)
    }

    /// Floats of scratch for each thread that runs [`PlannedConv::fwd`].
    pub fn fwd_scratch_len(&self) -> usize {
        // At least something, for pieces of it to be told apart.
        self.forward.scratch_len(&self.y).max(16)
    }

    /// Floats of the partial sums of [`PlannedConv::bwd_filter`].
    pub fn partials_len(&self) -> usize {
        self.filter.partials_len()
    }

    /// Makes the tables that only [`PlannedConv::bwd_filter`] reads, which would else make them: they
    /// are as long as the filter of a block of channels, and sizes do not need them.
    pub fn make_tables(&self) {
        self.filter.entries();
    }

    /// Packs `weights`, `[filters][channels][kh][kw]`, into as much as `packed` is for: forward, or
    /// gradients as well.
    pub fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        assert_eq!(weights.len(), self.shape.weights_len(), "weights");
        let gradients = packed.len() == self.packed_len(true);
        assert_eq!(packed.len(), self.packed_len(gradients), "packed weights");
        let taps = self.shape.filter[0] * self.shape.filter[1];
        let (filter, channel) = (self.shape.channels() * taps, taps);
        let order = Order {
            out: filter,
            input: channel,
            filter: self.shape.filter,
            turned: false,
        };
        let turned = Order {
            out: channel,
            input: filter,
            turned: true,
            ..order
        };
        let data = self.data.iter().filter(|_| gradients);
        let passes = std::iter::once((&self.forward, &self.y, order, 0))
            .chain(data.map(|data| (&data.pass, &data.dx, turned, data.channel)));
        let mut rest = packed;
        let tasks = passes.flat_map(|(pass, outputs, order, channel)| {
            let blocks = outputs.vectors.iter().enumerate();
            let weights = &weights[channel * order.out..];
            blocks.map(move |(i, vectors)| (pass, outputs, order, weights, i, vectors.len()))
        });
        let tasks = tasks.map(|(pass, outputs, order, weights, block, vectors)| {
            let (packed, after) =
                std::mem::take(&mut rest).split_at_mut(pass.entries * vectors * outputs.lanes);
            rest = after;
            (pass, outputs, order, weights, block, packed)
        });
        each(tasks, |(pass, outputs, order, weights, block, packed)| {
            pack::pack(self.isa, pass, outputs, block, order, weights, packed);
        });
    }

    /// y = the convolution of the first `images` images of the sources.
    ///
    /// `packed`: from [`PlannedConv::pack`]. `scratch`: [`PlannedConv::fwd_scratch_len`] floats for
    /// each thread that may help. `y`: `[images][planes][h][w][8]`, overwritten.
    pub fn fwd(
        &self,
        images: usize,
        sources: &[&[f32]],
        packed: &[f32],
        scratch: &mut [f32],
        y: &mut [f32],
    ) {
        self.check_sources(images, sources);
        assert!(
            images <= self.shape.n,
            "{images} images in a batch of {}",
            self.shape.n
        );
        let packed = &packed[..self.y.packed_len(&self.forward)];
        let (group, len) = (self.forward.strip[0], self.y.image_len());
        let tasks = y[..images * len].chunks_mut(group * len).enumerate();
        let scratch = scratch.chunks_exact_mut(self.fwd_scratch_len());
        each_with(tasks, scratch, |(i, out), scratch| {
            let images = i * group..((i + 1) * group).min(images);
            let target = Target {
                outputs: &self.y,
                packed,
                out,
                add: false,
            };
            self.forward.run(self.isa, sources, images, target, scratch);
        });
    }

    /// The gradient of the filter from the sources and dY of a whole batch.
    ///
    /// `scratch`: [`PlannedConv::scratch_len`] floats for each thread that may help. `partials`:
    /// [`PlannedConv::partials_len`] floats. `dw`: `[filters][channels][kh][kw]`, overwritten.
    pub fn bwd_filter(
        &self,
        sources: &[&[f32]],
        dy: &[f32],
        scratch: &mut [f32],
        partials: &mut [f32],
        dw: &mut [f32],
    ) {
        self.check_sources(self.shape.n, sources);
        assert_eq!(dy.len(), self.shape.n * self.shape.output_len(), "dY");
        assert_eq!(
            dw.len(),
            self.shape.weights_len(),
            "gradient of the weights"
        );
        let partials = &mut partials[..self.partials_len()];
        let scratch = scratch.chunks_exact_mut(self.scratch_len());
        each_with(
            self.filter.tasks(partials),
            scratch,
            |(images, number, partial), scratch| {
                let task = FilterTask {
                    sources,
                    dy,
                    images,
                    number,
                };
                self.filter.run(self.isa, task, scratch, partial);
            },
        );
        let filters = self.filter.lanes() * self.shape.weights_len() / self.shape.filters;
        let tasks = dw.chunks_mut(filters).enumerate();
        each(tasks, |(vector, dw)| {
            self.filter.add_partials(vector, partials, dw);
        });
    }

    /// The gradient of a source for `images` of the batch, by the calling thread alone.
    ///
    /// `dy`: the whole batch. `packed`: from [`PlannedConv::pack`], gradients included. `scratch`:
    /// [`PlannedConv::scratch_len`] floats.
    pub fn bwd_data(
        &self,
        images: Range<usize>,
        dy: &[f32],
        packed: &[f32],
        scratch: &mut [f32],
        gradient: DataGradient,
    ) {
        assert_eq!(
            packed.len(),
            self.packed_len(true),
            "packed weights with gradients"
        );
        assert!(
            images.end <= self.shape.n,
            "images {images:?} of {}",
            self.shape.n
        );
        let data = &self.data[gradient.source];
        let target = Target {
            outputs: &data.dx,
            packed: &packed[data.packed.clone()],
            out: gradient.dx,
            add: !gradient.first,
        };
        data.pass.run(self.isa, &[dy], images, target, scratch);
    }

    fn check_sources(&self, images: usize, sources: &[&[f32]]) {
        assert_eq!(sources.len(), self.shape.sources.len(), "sources");
        for (source, shape) in sources.iter().zip(&self.shape.sources) {
            assert!(
                source.len() >= images * image_len(shape),
                "images of a source"
            );
        }
    }
}

/// Plans the gradients to all sources; their packed weights begin at `packed`.
fn plan_data(shape: &ConvShape, isa: Isa, allow_transform: bool, packed: usize) -> Vec<DataPass> {
    let dy = [shape.output()];
    let mut data: Vec<DataPass> = Vec::new();
    let (mut packed, mut channel) = (packed, 0);
    for source in &shape.sources {
        let size = [source.h, source.w];
        let same = data.iter().find(|data| [data.dx.h, data.dx.w] == size);
        let pass = same.map(|data| data.pass.clone()).unwrap_or_else(|| {
            let same = shape.sources.iter().filter(|s| [s.h, s.w] == size);
            Pass::new(PassLayer {
                kind: PassKind::Data,
                sources: &dy,
                out: size,
                out_planes: same.map(Shape::planes).max().unwrap_or(1),
                filter: shape.filter,
                stride: shape.stride,
                images: shape.n,
                allow_transform,
            })
            .into()
        });
        let (mut same, groups) = (shape.sources[..data.len()].iter(), &source.groups);
        let same = same.position(|s| [s.h, s.w] == size && s.groups == *groups);
        let dx = match same {
            Some(same) => Arc::clone(&data[same].dx),
            None => Outputs::new(isa, &pass, source).into(),
        };
        let end = packed + dx.packed_len(&pass);
        data.push(DataPass {
            pass,
            dx,
            channel,
            packed: packed..end,
        });
        (packed, channel) = (end, channel + source.c());
    }
    data
}
