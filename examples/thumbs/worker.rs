//! What happens in a worker process: the only code that looks into a file.
//!
//! The thumbnail goes back to the program as bytes. A worker writes no file, and may
//! not, so one that is killed leaves nothing half done.

use std::ffi::OsString;
use std::io::{self, Cursor};
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use offshoot::Context;
use serde::{Deserialize, Serialize};

/// Longest side of a thumbnail, in pixels.
const SIDE: u32 = 320;

/// What a file claims to hold: told as soon as that is known, since the worker may not
/// live to tell more.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    /// Of which call.
    pub(crate) job: u64,
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
}

/// A thumbnail.
#[derive(Serialize, Deserialize)]
pub(crate) struct Thumb {
    /// Whether it is a PNG, as it is transparent somewhere; or else a JPEG.
    pub(crate) is_png: bool,
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Why there is no thumbnail, in the decoder's own words.
#[derive(Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// The file is no picture, or cannot be read.
    Error(String),
    /// It needs more memory than there is.
    Limit(String),
}

/// Makes a thumbnail of a file. (An `OsString`, as not every path is text.)
#[offshoot::worker]
pub(crate) fn thumbnail(cx: &Context<Header>, job: u64, path: OsString) -> Result<Thumb, Refusal> {
    let begun = Instant::now();
    let tell = |(width, height)| {
        cx.event(&Header { job, width, height });
        // What comes next may be the end of this process.
        cx.flush();
    };
    match decode_and_shrink(&path, tell) {
        Ok((is_png, bytes)) => Ok(Thumb { is_png, bytes, time: begun.elapsed() }),
        Err(error) if is_of_memory(&error) => Err(Refusal::Limit(error.to_string())),
        Err(error) => Err(Refusal::Error(error.to_string())),
    }
}

/// Whether the decoder was refused memory and could say so.
fn is_of_memory(error: &ImageError) -> bool {
    match error {
        ImageError::Limits(_) => true,
        ImageError::IoError(error) => error.kind() == io::ErrorKind::OutOfMemory,
        _ => false,
    }
}

fn decode_and_shrink(
    path: &OsString,
    tell: impl FnOnce((u32, u32)),
) -> Result<(bool, Vec<u8>), ImageError> {
    let mut reader = ImageReader::open(path)?.with_guessed_format()?;
    // The limits that this crate sets itself would refuse a picture that claims to be
    // huge. Not every decoder is so careful, which is what this program is about: it is
    // the limit of the process that has to catch it.
    reader.no_limits();
    let mut decoder = reader.into_decoder()?;
    tell(decoder.dimensions());
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if picture.width().max(picture.height()) > SIDE {
        picture = picture.thumbnail(SIDE, SIDE);
    }
    picture.apply_orientation(orientation);
    let mut bytes = Cursor::new(Vec::new());
    let is_png = picture.color().has_alpha();
    if is_png {
        picture.to_rgba8().write_to(&mut bytes, ImageFormat::Png)?;
    } else {
        picture.to_rgb8().write_to(&mut bytes, ImageFormat::Jpeg)?;
    }
    Ok((is_png, bytes.into_inner()))
}
