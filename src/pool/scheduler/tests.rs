//! Each rule by example, with a clock that is moved by hand; then whatever else may
//! happen, in any order.

mod ages;
mod assignment;
mod breaking;
mod ending;
mod failing;
mod growth;
mod invariants;
mod late;
mod properties;
mod recycling;
mod scene;
mod shrinking;
mod simulation;
mod spares;
mod stuck;
mod world;
