//! The operating system, and the only unsafe code of the crate.
//!
//! The contract: every function here is safe to call from safe code. Each
//! `unsafe` block says why it is sound. What the kernel hands out (file
//! descriptors, received lengths, addresses in our own image) is checked here,
//! so that nothing above ever holds a raw number as an owner.

#![allow(unsafe_code)]

pub(crate) mod alone;
pub(crate) mod collapse;
pub(crate) mod fdpass;
pub(crate) mod fds;
pub(crate) mod fork;
pub(crate) mod forked;
pub(crate) mod futex;
pub(crate) mod ids;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod living;
pub(crate) mod memfd;
pub(crate) mod origin;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod prefault;
pub(crate) mod queued;
#[cfg(feature = "tokio")]
pub(crate) mod readiness;
pub(crate) mod reexec;
pub(crate) mod ring;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod stack;
pub(crate) mod timer;
pub(crate) mod title;
pub(crate) mod turns;
pub(crate) mod wait;
