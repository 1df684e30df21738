//! What a worker, or a parent, sends may be anything: the decoder of frames takes it
//! apart or refuses it, and holds no more memory than has arrived.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot::__private_0_1::fuzz_inbox(bytes));
