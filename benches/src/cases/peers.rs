//! The same by other libraries, each as its documentation does it (feature `peers`), in
//! the groups of ours.

use crate::case::Case;

mod calls;
mod create;
mod pools;
mod python;

pub(crate) fn cases() -> Vec<Case> {
    [create::cases(), calls::cases(), pools::cases(), python::cases()]
        .into_iter()
        .flatten()
        .collect()
}
