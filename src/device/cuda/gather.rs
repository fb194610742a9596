//! Launches of a gathered gradient: what each consumer adds, convolutions of equal stride together
//! and last, because their epilogue can mask and sum.

use super::conv::Epilogue;
use super::conv_tiling::Gathered;
use super::launches::Launches;
use crate::graph::Shape;
use crate::graph::step::{BufferId, Contribution, ConvId, Norm};

/// A convolution that reads the tensor, and which of its sources the tensor is.
type Reader = (ConvId, usize);

impl Launches<'_> {
    pub(super) fn gather(
        &mut self,
        out: BufferId,
        shape: &Shape,
        contributions: &[Contribution],
        norm: Option<&Norm>,
    ) {
        let mut add = false;
        let mut by_stride: Vec<([usize; 2], Vec<Reader>)> = vec![];
        for contribution in contributions {
            if let Contribution::Conv { conv, source } = contribution {
                let stride = self.plan.conv(*conv).stride;
                match by_stride.iter_mut().find(|(other, _)| *other == stride) {
                    Some((_, list)) => list.push((*conv, *source)),
                    None => by_stride.push((stride, vec![(*conv, *source)])),
                }
            } else {
                self.contribution(out, shape, contribution, add);
                add = true;
            }
        }
        let last = by_stride.len();
        for (i, (stride, list)) in by_stride.into_iter().enumerate() {
            let gradient = |&(conv, source): &Reader| self.conv_gradient(conv, source);
            let sources = list.iter().map(gradient).collect();
            let mut gathered = Gathered {
                sources: vec![],
                out,
                shape,
                step: [1, 1],
                phases: stride,
                add,
            };
            let epilogue = match norm {
                Some(norm) if i + 1 == last => Epilogue::Norm(norm),
                _ => Epilogue::Nothing,
            };
            self.convolve_all(&mut gathered, sources, epilogue);
            add = true;
        }
        if let Some(norm) = norm.filter(|_| last == 0) {
            self.batchnorm_mask(norm);
        }
    }

    /// What a consumer that is no convolution adds to, or sets.
    fn contribution(
        &mut self,
        out: BufferId,
        shape: &Shape,
        contribution: &Contribution,
        add: bool,
    ) {
        match contribution {
            Contribution::Conv { .. } => unreachable!("convolutions are gathered together"),
            Contribution::Copy {
                dout,
                shape: concat,
                first_plane,
            } => self.concat_pad_bwd([*dout, out], [concat, shape], *first_plane, add),
            Contribution::GlobalAveragePool {
                dfeatures,
                first_feature,
                n_features,
                pixels,
            } => {
                let sizes = [*first_feature, *n_features, *pixels];
                self.global_average_pool_bwd([*dfeatures, out], shape, sizes, add);
            }
            Contribution::Pool { pool, dout } => self.pool_bwd(pool, *dout, out, add),
            Contribution::Lcn { x, dout } => self.lcn_bwd([*x, *dout, out], shape, add),
        }
    }
}
