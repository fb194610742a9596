//! Sizes of images and the only copy of the output-size formulas.

/// Channels in a plane: activations are stored as planes of 8 channels, `[n][c/8][h][w][8]`.
pub const PLANE: usize = 8;

/// Planes that hold `c` channels.
pub fn planes(c: usize) -> usize {
    c.div_ceil(PLANE)
}

/// Output size of a convolution with "same" padding: ceil(size / stride).
pub fn conv_output(size: usize, stride: usize) -> usize {
    size.div_ceil(stride)
}

/// Output size of a pool without padding: floor((size - window) / stride) + 1, or `None` where the
/// window is larger than the input.
pub fn pool_output(size: usize, window: usize, stride: usize) -> Option<usize> {
    Some(size.checked_sub(window)? / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!((planes(36), planes(3), planes(8)), (5, 1, 1));
        assert_eq!(
            (conv_output(32, 1), conv_output(32, 3), conv_output(11, 2)),
            (32, 11, 6)
        );
        assert_eq!(pool_output(32, 2, 2), Some(16));
        assert_eq!(pool_output(11, 3, 2), Some(5));
        assert_eq!(pool_output(2, 3, 1), None);
    }
}
