//! Does nothing; the library is linked, but not opted in to.

use offshoot as _;

fn main() {}
