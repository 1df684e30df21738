//! A procedural macro that links `offshoot`: its constructor runs inside of rustc,
//! where it has to do nothing at all. That anything compiles which uses this macro
//! is the first half of the test; the second is what it found in there.

use offshoot::{Process, Start};
use proc_macro::TokenStream;

offshoot::early!();

#[offshoot::entry]
fn never(_: Start) {}

/// A string literal: what making a process inside of the compiler came to.
#[proc_macro]
pub fn what_rustc_says(_: TokenStream) -> TokenStream {
    let made = match Process::new().and_then(|p| p.run(never)) {
        Ok(_) => "worked".to_owned(),
        Err(error) => format!("unsupported={} {error}", error.is_unsupported()),
    };
    format!("{:?}", format!("{:?}: {made}", offshoot::doctor().road)).parse().expect("a literal")
}
