//! Which files to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that is to be a picture.
pub(crate) struct Picture {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its path below the directory that was asked for.
    pub(crate) below: PathBuf,
    /// The same, to be shown.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// All files below `dir` that are named like pictures, sorted; those below `out`, which
/// are our own work, left out.
pub(crate) fn pictures(dir: &Path, out: &Path) -> io::Result<Vec<Picture>> {
    let out = out.canonicalize().ok();
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        if out.is_some() && next.canonicalize().ok() == out {
            continue;
        }
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", next.display()));
        for entry in fs::read_dir(&next).map_err(named)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if is_named_like_a_picture(&path) {
                let below = path.strip_prefix(dir).unwrap_or(&path).to_path_buf();
                // A link that leads nowhere has none; its process will tell.
                let bytes = fs::metadata(&path).map_or(0, |m| m.len());
                found.push(Picture { name: below.display().to_string(), bytes, below, path });
            }
        }
    }
    found.sort_by(|a, b| a.below.cmp(&b.below));
    Ok(found)
}

fn is_named_like_a_picture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}
