//! GIF, by `gif`: the first frame as Pillow shows it. `image` gives colours and drops the palette's
//! indices, by which Pillow fills what a frame does not cover.

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::{MAX_PIXELS, Reader, Rgb, Stored, damaged};

pub(super) fn read<'a>(bytes: &[u8], reader: &'a Reader) -> Result<Stored<'a>, String> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.allow_unknown_blocks(true);
    options.set_memory_limit(MemoryLimit::Bytes(
        std::num::NonZeroU64::new(MAX_PIXELS).unwrap_or(std::num::NonZeroU64::MIN),
    ));
    let mut decoder = options.read_info(bytes).map_err(|error| damaged(&error))?;
    let (width, height) = (decoder.width(), decoder.height());
    let frame = decoder.next_frame_info().map_err(|error| damaged(&error))?;
    let frame = frame.ok_or("has no frame")?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    // Pillow makes the picture as large as its first frame needs.
    let width = usize::from(width).max(left + frame_width);
    let height = usize::from(height).max(top + frame_height);
    let around = frame.transparent.unwrap_or(0);
    let room = reader.room(width as u64, height as u64)?;
    let mut indices = vec![0; decoder.buffer_size()];
    decoder
        .read_into_buffer(&mut indices)
        .map_err(|error| damaged(&error))?;
    let palette = decoder.palette().map_err(|error| damaged(&error))?;
    let colours = palette.as_chunks::<3>().0;
    // Indices without a colour are black.
    let colour = |index: u8| colours.get(usize::from(index)).copied().unwrap_or([0; 3]);
    let mut bytes = colour(around).repeat(width * height);
    if frame_width > 0 {
        for (row, indices) in indices.chunks_exact(frame_width).enumerate() {
            let at = 3 * ((top + row) * width + left);
            let pixels = bytes[at..].as_chunks_mut::<3>().0;
            for (pixel, &index) in pixels.iter_mut().zip(indices) {
                *pixel = colour(index);
            }
        }
    }
    let rgb = Rgb {
        width,
        height,
        bytes,
    };
    Stored::new(rgb, room)
}
