//! Empty.
use super::Scene;
pub(super) const SCENES: &[Scene] = &[];
