//! What `lead.rs` synchronises with, in one place: its model test compiles that
//! file against the primitives of a model checker instead.

pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
