//! Images as planes of 8 channels in bfloat16, and back.

use half::bf16;

use crate::graph::Shape;
use crate::shape::PLANE;

fn lanes(shape: &Shape) -> Vec<usize> {
    shape.lanes().collect()
}

/// Values of an image with its padding.
pub fn image_len(shape: &Shape) -> usize {
    shape.planes() * shape.h * shape.w * PLANE
}

/// `values` `[n][c][h][w]` as `[n][plane][h][w][8]`, zeros between, rounded to bfloat16.
pub fn to_planes(shape: &Shape, values: &[f64]) -> Vec<u16> {
    let (lanes, pixels) = (lanes(shape), shape.h * shape.w);
    let n = values.len() / shape.len();
    let mut planes = vec![0; n * image_len(shape)];
    for (image, values) in planes
        .chunks_exact_mut(image_len(shape))
        .zip(values.chunks_exact(shape.len()))
    {
        for (&lane, channel) in lanes.iter().zip(values.chunks_exact(pixels)) {
            let plane = &mut image[lane / PLANE * pixels * PLANE..];
            for (i, &value) in channel.iter().enumerate() {
                plane[i * PLANE + lane % PLANE] = bf16::from_f64(value).to_bits();
            }
        }
    }
    planes
}

/// The values of `planes` `[n][plane][h][w][8]` as `[n][c][h][w]`.
pub fn from_planes(shape: &Shape, planes: &[u16]) -> Vec<f64> {
    let (lanes, pixels) = (lanes(shape), shape.h * shape.w);
    let value = |image: &[u16], lane: usize, i: usize| {
        let at = (lane / PLANE * pixels + i) * PLANE + lane % PLANE;
        bf16::from_bits(image[at]).to_f64()
    };
    let images = planes.chunks_exact(image_len(shape));
    images
        .flat_map(|image| lanes.iter().map(move |&lane| (image, lane)))
        .flat_map(|(image, lane)| (0..pixels).map(move |i| value(image, lane, i)))
        .collect()
}
