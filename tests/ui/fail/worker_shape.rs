//! Functions that cannot be called in another process.
#![allow(unused_imports)]

use offshoot::{Context, Done};

#[offshoot::worker]
fn generic<T: Default>(_: u32) {}

#[offshoot::worker]
fn borrowing<'a>(_: u32) {}

#[offshoot::worker]
fn of_some_length<const N: usize>(_: [u8; N]) {}

#[offshoot::worker]
unsafe fn not_safe(_: u32) {}

#[offshoot::worker]
extern "C" fn foreign(_: u32) {}

#[offshoot::worker]
fn by_reference(_: &str) {}

#[offshoot::worker]
fn by_reference_later(_: u32, _: &'static [u8]) {}

#[offshoot::worker]
fn state_from_nowhere(_: &mut u32) {}

#[offshoot::worker(init = zero)]
fn state_for_nobody(_: u32) {}

#[offshoot::worker(init = zero)]
async fn state_for_nobody_async(_: &mut u32) {}

#[offshoot::worker(init = zero)]
fn two_states(_: &mut u32, _: &mut u32) {}

#[offshoot::worker]
fn context_by_value(_: Context<u32>) {}

#[offshoot::worker]
fn context_to_change(_: &mut Context<u32>) {}

#[offshoot::worker]
fn two_contexts(_: &Context<u32>, _: &Context<u32>) {}

#[offshoot::worker]
async fn context_by_reference(_: &Context<u32>) {}

#[offshoot::worker]
fn done_and_result(_: Done<u32>) -> u32 {
    0
}

#[offshoot::worker]
fn two_dones(_: Done<u32>, _: Done<u32>) {}

#[offshoot::worker]
fn done_by_reference(_: &Done<u32>) {}

#[offshoot::worker]
async fn done_later(_: Done<u32>) {}

#[offshoot::worker]
fn any_argument(_: impl Into<String>) {}

#[offshoot::worker]
fn any_result() -> impl Iterator<Item = u32> {
    0..3
}

#[offshoot::worker]
fn no_result() -> ! {
    loop {}
}

#[offshoot::worker]
fn borrowed_result() -> &'static str {
    ""
}

#[offshoot::worker]
fn inferred(_: _) {}

#[offshoot::worker]
struct NoFunction;

struct Server;

impl Server {
    #[offshoot::worker]
    fn by_self(&self) {}

    #[offshoot::worker]
    fn by_value(self, _: u32) {}
}

trait Serve {
    #[offshoot::worker]
    fn no_body(_: u32);
}

fn zero() -> u32 {
    0
}

fn main() {}
