//! Descriptors in arguments, results and events.

mod arrived;
mod lies;
mod many;
mod owned;
mod programs;
mod room;
mod unpassable;
mod values;

offshoot::early!();
