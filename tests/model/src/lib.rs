//! `lead.rs` of the library as it is, on the primitives and the clock of a model
//! checker (shuttle), and a model of what the library does with it.
#![allow(dead_code, unreachable_pub, reason = "compiled from the library's own file")]

pub mod socket;
pub mod sync;

/// The file under test.
#[allow(missing_docs, reason = "it is the library's, where it is private")]
#[path = "../../../src/lead.rs"]
pub mod lead;
