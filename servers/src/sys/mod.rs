//! Safe functions named after the system calls that they wrap, one file per mechanism.
//!
//! This is the only module with unsafe code. A function appears here when neither the
//! standard library nor `nix` offers it safely; each unsafe block holds one call and
//! says what makes it sound.

#![allow(
    unsafe_code,
    reason = "system calls have no safe form; this module is their fence"
)]

pub mod aio;
pub mod clock;
pub mod descriptors;
pub mod epoll;
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

use std::io;

/// Turns the -1 of a system call into the error that it stands for.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The functions of pthreads return the number of the error instead of setting errno.
fn check_number(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
