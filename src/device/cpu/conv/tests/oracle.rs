//! What a layer computes, by plain f64 loops.

use super::super::{ConvShape, SourceShape};
use crate::rng::{Purpose, Rng};
use crate::shape::{PLANE, planes};

/// A layer in words, for a table and for messages.
#[derive(Clone, Debug)]
pub struct Case {
    pub n: usize,
    /// Groups of channels, height and width of each source.
    pub sources: &'static [(&'static [usize], usize, usize)],
    pub filters: usize,
    pub filter: [usize; 2],
    pub stride: [usize; 2],
}

pub const fn case(
    n: usize,
    sources: &'static [(&'static [usize], usize, usize)],
    filters: usize,
    filter: [usize; 2],
    stride: [usize; 2],
) -> Case {
    Case {
        n,
        sources,
        filters,
        filter,
        stride,
    }
}

impl Case {
    pub fn shape(&self) -> ConvShape {
        let sources = self.sources.iter().map(|&(groups, h, w)| SourceShape {
            groups: groups.to_vec(),
            h,
            w,
        });
        ConvShape {
            n: self.n,
            h: self
                .sources
                .iter()
                .map(|source| source.1)
                .max()
                .expect("a source"),
            w: self
                .sources
                .iter()
                .map(|source| source.2)
                .max()
                .expect("a source"),
            sources: sources.collect(),
            filters: self.filters,
            filter: self.filter,
            stride: self.stride,
        }
    }
}

/// Images as planes of 8 channels, and as plain `[n][c][h][w]`.
pub struct Tensor {
    pub groups: Vec<usize>,
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub plain: Vec<f64>,
}

impl Tensor {
    pub fn new(
        n: usize,
        groups: &[usize],
        h: usize,
        w: usize,
        mut value: impl FnMut() -> f64,
    ) -> Self {
        let len = n * groups.iter().sum::<usize>() * h * w;
        let plain = (0..len).map(|_| value()).collect();
        Tensor {
            groups: groups.to_vec(),
            n,
            h,
            w,
            plain,
        }
    }

    pub fn channels(&self) -> usize {
        self.groups.iter().sum()
    }

    pub fn plain_at(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        ((n * self.channels() + c) * self.h + y) * self.w + x
    }

    pub fn image_len(&self) -> usize {
        self.groups.iter().map(|&g| planes(g)).sum::<usize>() * self.h * self.w * PLANE
    }

    /// Of every value its place in the planes.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let mut channels = Vec::new();
        let mut plane = 0;
        for &group in &self.groups {
            channels.extend((0..group).map(|c| (plane + c / PLANE, c % PLANE)));
            plane += planes(group);
        }
        (0..self.plain.len()).map(move |i| {
            let (pixel, image) = (
                i % (self.h * self.w),
                i / (self.h * self.w * self.channels()),
            );
            let (plane, lane) = channels[i / (self.h * self.w) % self.channels()];
            image * self.image_len() + (plane * self.h * self.w + pixel) * PLANE + lane
        })
    }

    pub fn planes(&self) -> Vec<f32> {
        let mut data = vec![0.0; self.n * self.image_len()];
        for (place, &value) in self.places().zip(&self.plain) {
            data[place] = value as f32;
        }
        data
    }
}

/// What the layer computes, by plain loops.
pub struct Oracle {
    pub case: Case,
    pub sources: Vec<Tensor>,
    pub weights: Vec<f64>,
    pub dy: Tensor,
    pub y: Vec<f64>,
    pub dw: Vec<f64>,
    pub dx: Vec<Vec<f64>>,
}

impl Oracle {
    /// Values are whole and small if `whole`: all sums are exact in f32.
    pub fn new(case: &Case, whole: bool) -> Oracle {
        let mut rng = Rng::new(5, Purpose::Test, case.filters as u64);
        let mut value = || match whole {
            true => f64::from(rng.below(9)) - 4.0,
            false => f64::from(rng.normal() as f32),
        };
        let shape = case.shape();
        let [oh, ow] = shape.output();
        let sources: Vec<Tensor> = case
            .sources
            .iter()
            .map(|&(groups, h, w)| Tensor::new(case.n, groups, h, w, &mut value))
            .collect();
        let weights: Vec<f64> = (0..shape.weights_len()).map(|_| value()).collect();
        let dy = Tensor::new(case.n, &[case.filters], oh, ow, &mut value);
        let dx = sources
            .iter()
            .map(|source| vec![0.0; source.plain.len()])
            .collect();
        let mut oracle = Oracle {
            case: case.clone(),
            y: vec![0.0; dy.plain.len()],
            dw: vec![0.0; weights.len()],
            dx,
            sources,
            weights,
            dy,
        };
        oracle.compute();
        oracle
    }

    /// Computes the results from the tensors, afresh.
    pub fn compute(&mut self) {
        let Case {
            filter: [kh, kw],
            stride: [sy, sx],
            n,
            filters,
            ..
        } = self.case;
        let channels: usize = self.sources.iter().map(Tensor::channels).sum();
        let results = [&mut self.y, &mut self.dw].into_iter().chain(&mut self.dx);
        results.for_each(|values| values.fill(0.0));
        for (image, k, oy, ox) in positions(n, filters, self.dy.h, self.dy.w) {
            let out = self.dy.plain_at(image, k, oy, ox);
            let mut first = 0;
            for (source, dx) in self.sources.iter().zip(&mut self.dx) {
                for (c, ky, kx) in positions(1, source.channels(), kh, kw).map(|p| (p.1, p.2, p.3))
                {
                    let (y, x) = (
                        (oy * sy + ky).wrapping_sub(kh / 2),
                        (ox * sx + kx).wrapping_sub(kw / 2),
                    );
                    if y >= source.h || x >= source.w {
                        continue;
                    }
                    let weight = ((k * channels + first + c) * kh + ky) * kw + kx;
                    let input = source.plain_at(image, c, y, x);
                    self.y[out] += source.plain[input] * self.weights[weight];
                    self.dw[weight] += source.plain[input] * self.dy.plain[out];
                    dx[input] += self.weights[weight] * self.dy.plain[out];
                }
                first += source.channels();
            }
        }
    }
}

pub fn positions(
    n: usize,
    c: usize,
    h: usize,
    w: usize,
) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..n * c * h * w).map(move |i| (i / (c * h * w), i / (h * w) % c, i / w % h, i % w))
}
