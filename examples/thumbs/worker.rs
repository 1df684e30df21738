//! What happens in the process of one picture: the only code that looks into a file.
//!
//! It answers with lines on its stream: `size WIDTH HEIGHT` as soon as the header has
//! told, then `done EXTENSION`, `limit TEXT` or `error TEXT`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader};
use offshoot::Start;

/// Longest side of a thumbnail, in pixels.
const SIDE: u32 = 320;

/// Arguments: the file, and where the thumbnail goes, without extension.
#[offshoot::entry]
pub(crate) fn thumbnail(mut start: Start) -> io::Result<ExitCode> {
    let path = Path::new(OsStr::from_bytes(&start.args[0]));
    let target = Path::new(OsStr::from_bytes(&start.args[1]));
    match decode_and_shrink(path, target, &mut start.stream) {
        Ok(extension) => {
            tell(&mut start.stream, "done", extension)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let word = if is_of_memory(&error) { "limit" } else { "error" };
            tell(&mut start.stream, word, error.to_string().replace('\n', " ").trim())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// In one write: the process may be killed at any time, but not within a line.
fn tell(mut stream: impl Write, word: &str, text: &str) -> io::Result<()> {
    stream.write_all(format!("{word} {text}\n").as_bytes())
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
    path: &Path,
    target: &Path,
    answer: impl Write,
) -> Result<&'static str, ImageError> {
    let mut reader = ImageReader::open(path)?.with_guessed_format()?;
    // The limits that this crate sets itself would refuse a picture that claims to be
    // huge. Not every decoder is so careful, which is what this program is about: it is
    // the limit of the process that has to catch it.
    reader.no_limits();
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    tell(answer, "size", &format!("{width} {height}"))?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let small = picture.thumbnail(SIDE, SIDE);
    Ok(if small.color().has_alpha() {
        small.to_rgba8().save(target.with_added_extension("png"))?;
        "png"
    } else {
        small.to_rgb8().save(target.with_added_extension("jpg"))?;
        "jpg"
    })
}
