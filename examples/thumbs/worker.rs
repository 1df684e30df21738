//! What happens in the process of one picture: the only code that looks into a file.
//!
//! It answers with lines on its stream: `size WIDTH HEIGHT` as soon as the header has
//! told, then `done EXTENSION`, or `error TEXT`.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use image::{DynamicImage, ImageDecoder, ImageReader};
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
            writeln!(start.stream, "done {extension}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let line = error.to_string().replace('\n', " ");
            writeln!(start.stream, "error {line}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn decode_and_shrink(
    path: &Path,
    target: &Path,
    mut answer: impl Write,
) -> Result<&'static str, Box<dyn Error>> {
    let mut reader = ImageReader::open(path)?.with_guessed_format()?;
    // The limits that this crate sets itself would refuse a picture that claims to be
    // huge. Not every decoder is so careful, which is what this program is about: it is
    // the limit of the process that has to catch it.
    reader.no_limits();
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    writeln!(answer, "size {width} {height}")?;
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
