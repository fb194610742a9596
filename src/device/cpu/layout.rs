//! How tensors lie in memory: images as planes of 8 channels, `[n][plane][h][w][8]`.

use super::loops::Pixel;
use crate::graph::Shape;
use crate::shape::PLANE;

/// Floats of an image.
pub fn image_len(shape: &Shape) -> usize {
    shape.planes() * plane_len(shape)
}

/// Floats of a plane of an image.
pub fn plane_len(shape: &Shape) -> usize {
    shape.h * shape.w * PLANE
}

/// Floats of a row of a plane.
pub fn row_len(shape: &Shape) -> usize {
    shape.w * PLANE
}

/// Of every plane, in order, its first channel and the number of its channels.
pub fn plane_channels(shape: &Shape) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    shape.groups.iter().flat_map(move |&group| {
        let channel = first;
        first += group;
        (0..group)
            .step_by(PLANE)
            .map(move |c| (channel + c, PLANE.min(group - c)))
    })
}

/// Writes images `[n][c][h][w]` to planes; channels that pad a plane become zero.
pub fn to_planes(shape: &Shape, values: &[f64], out: &mut [f32]) {
    out.fill(0.0);
    let pixels = shape.h * shape.w;
    for (values, out) in values
        .chunks_exact(shape.len())
        .zip(out.chunks_exact_mut(image_len(shape)))
    {
        for (channel, lane) in values.chunks_exact(pixels).zip(shape.lanes()) {
            let plane = &mut out[lane / PLANE * plane_len(shape)..][..plane_len(shape)];
            let pixels: &mut [Pixel] = plane.as_chunks_mut().0;
            for (pixel, &value) in pixels.iter_mut().zip(channel) {
                pixel[lane % PLANE] = value as f32;
            }
        }
    }
}

/// Reads images `[n][c][h][w]` from planes.
pub fn from_planes(shape: &Shape, planes: &[f32]) -> Vec<f64> {
    let mut values = Vec::new();
    for image in planes.chunks_exact(image_len(shape)) {
        for lane in shape.lanes() {
            let plane = &image[lane / PLANE * plane_len(shape)..][..plane_len(shape)];
            let pixels: &[Pixel] = plane.as_chunks().0;
            values.extend(pixels.iter().map(|pixel| f64::from(pixel[lane % PLANE])));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_begins_a_plane() {
        let shape = Shape {
            groups: vec![2, 9, 1],
            h: 1,
            w: 1,
        };
        let lanes: Vec<usize> = shape.lanes().collect();
        assert_eq!(lanes, [0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24]);
        let planes: Vec<_> = plane_channels(&shape).collect();
        assert_eq!(planes, [(0, 2), (2, 8), (10, 1), (11, 1)]);
    }

    #[test]
    fn planes_and_back() {
        let shape = Shape {
            groups: vec![3, 8, 10],
            h: 2,
            w: 3,
        };
        let values: Vec<f64> = (0..2 * shape.len()).map(|i| i as f64).collect();
        let mut planes = vec![f32::NAN; 2 * image_len(&shape)];
        to_planes(&shape, &values, &mut planes);
        assert_eq!(from_planes(&shape, &planes), values);
        assert_eq!(planes[PLANE - 1], 0.0, "padding channels are zero");
    }
}
