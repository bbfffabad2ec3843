//! Error results of C functions as [`io::Error`].

use std::io;

/// Converts the -1 of a system call into the error in errno.
pub(super) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Converts an error number that a pthread function returns.
pub(super) fn check_number(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
