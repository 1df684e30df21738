//! What happens in a worker process: the only code that looks into a picture.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, ImageReader, Limits};
use offshoot::Octets;

/// Longest side of a thumbnail, in pixels.
const SIDE: u32 = 160;

/// A picture becomes a small JPEG, or is refused in the decoder's own words.
///
/// The picture goes to the worker as it came from the client, without being copied.
#[offshoot::worker(codec = Octets)]
pub(crate) fn thumbnail(picture: Bytes) -> Result<Vec<u8>, String> {
    shrink(&picture).map_err(|error| error.to_string())
}

fn shrink(picture: &[u8]) -> image::ImageResult<Vec<u8>> {
    let mut reader = ImageReader::new(Cursor::new(picture)).with_guessed_format()?;
    // Less than the process may have: whoever asks for more is told so.
    let mut limits = Limits::default();
    limits.max_alloc = Some(256 << 20);
    reader.limits(limits);
    let small = reader.decode()?.thumbnail(SIDE, SIDE);
    let mut bytes = Cursor::new(Vec::new());
    small.to_rgb8().write_to(&mut bytes, ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}
