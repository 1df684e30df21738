//! Which files to do.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::vec;

/// A file that is to be a picture.
pub(crate) struct Picture {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its path below the directory that was asked for.
    pub(crate) below: PathBuf,
}

/// A directory that is being walked through, and what is left of it.
struct Level {
    dir: PathBuf,
    names: vec::IntoIter<(OsString, bool)>,
}

/// All files below `dir` that are named like pictures, in order; those below `ours`,
/// which are our own work, left out. Directories that cannot be read are told.
///
/// They are looked for as they are asked for. All that is kept are the names in one
/// directory of each level.
pub(crate) fn pictures<'a>(
    dir: &'a Path,
    ours: &Path,
    mut unreadable: impl FnMut(&Path, &io::Error) + 'a,
) -> impl Iterator<Item = Picture> + 'a {
    let ours = ours.canonicalize().ok();
    let mut levels = Vec::new();
    let mut to_enter = Some(dir.to_path_buf());
    iter::from_fn(move || {
        loop {
            if let Some(dir) = to_enter.take()
                && (ours.is_none() || dir.canonicalize().ok() != ours)
            {
                match names(&dir) {
                    Ok(names) => levels.push(Level { dir, names: names.into_iter() }),
                    Err(error) => unreadable(&dir, &error),
                }
            }
            let level = levels.last_mut()?;
            match level.names.next() {
                Some((name, true)) => to_enter = Some(level.dir.join(name)),
                Some((name, false)) => {
                    let path = level.dir.join(name);
                    let below = path.strip_prefix(dir).unwrap_or(&path).to_path_buf();
                    return Some(Picture { path, below });
                }
                None => drop(levels.pop()),
            }
        }
    })
}

/// The pictures and directories in a directory, sorted; and which are directories.
fn names(dir: &Path) -> io::Result<Vec<(OsString, bool)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // One that is gone by now cannot be asked, and is nothing.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        if is_dir || is_named_like_a_picture(name.as_ref()) {
            names.push((name, is_dir));
        }
    }
    names.sort();
    Ok(names)
}

fn is_named_like_a_picture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}
