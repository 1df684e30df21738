//! What `lead.rs` synchronises with, and its clock, in one place: its model test
//! compiles that file against those of a model checker instead.

pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use std::time::Instant;
