//! io_uring: whether this host lets us have one; `io_uring_setup(2)`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::check;

/// Words in `struct io_uring_params`.
const PARAMETERS: usize = 30;

/// Makes the smallest ring and drops it; the error says why there can be none.
pub fn probe() -> io::Result<()> {
    let mut parameters = [0u32; PARAMETERS];
    // SAFETY: `parameters` has the size of what the kernel reads and writes there.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    match check(ring as libc::c_int) {
        Ok(ring) => {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(ring) });
            Ok(())
        }
        Err(error) => Err(explain(&error)),
    }
}

fn explain(error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSYS) => "this kernel has no io_uring, or a seccomp filter hides it",
        Some(Errno::EPERM | Errno::EACCES) => {
            "io_uring is forbidden here, by `sysctl kernel.io_uring_disabled` or by a seccomp filter"
        }
        _ => return io::Error::new(error.kind(), format!("no io_uring can be made: {error}")),
    };
    io::Error::new(error.kind(), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_refuses_is_explained() {
        let said = |errno: Errno| explain(&io::Error::from(errno)).to_string();
        assert!(said(Errno::EPERM).contains("io_uring_disabled"));
        assert!(said(Errno::ENOSYS).contains("no io_uring"));
        assert!(said(Errno::ENOMEM).contains("memory"));
    }
}
