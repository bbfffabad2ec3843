//! Safe wrappers, named after their system calls, one file per mechanism.
//!
//! This is the only module with unsafe code. It wraps only what neither the standard
//! library nor `nix` offers safely. Each unsafe block holds one call and states why it is
//! sound.

#![allow(
    unsafe_code,
    reason = "system calls have no safe form; this module encloses them"
)]

pub mod aio;
pub mod clock;
pub mod descriptors;
pub mod epoll;
mod errno;
pub mod mutex;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod record_lock;
pub mod select;
pub mod shared;
pub mod sigio;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod thread;
pub mod uring;
