//! The examples of RPC.

use crate::built::output_of;

#[test]
fn rpc_countdown() {
    assert_eq!(
        output_of("rpc_countdown"),
        "starting to count up to 3\n\
         starting to count up to 2\n\
         starting to count up to 1\n\
         count 1 of 3\n\
         count 1 of 2\n\
         count 1 of 1\n\
         job 1 finished\n\
         count 2 of 2\n\
         job 2 finished\n\
         count 2 of 3\n\
         count 3 of 3\n\
         job 3 finished\n"
    );
}

#[test]
fn rpc_tokio() {
    assert_eq!(
        output_of("rpc_tokio"),
        "Ada comes in\n\
         Grace comes in\n\
         hello, Ada: 2 came while you were here\n\
         hello, Grace: 2 came while you were here\n\
         the call took longer than it may\n"
    );
}
