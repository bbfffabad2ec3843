//! A lock owned by a process: `fcntl(2)` with F_SETLKW, on a `memfd_create(2)` file.
//!
//! Not `flock(2)`: that lock belongs to the open file, which forked children share, so it
//! would not exclude any of them.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A lock that excludes other processes, and that the kernel releases when its holder dies.
#[derive(Debug)]
pub struct RecordLock(OwnedFd);

impl RecordLock {
    /// An unlocked one, on an anonymous file, which leaves nothing behind.
    pub fn new() -> io::Result<Self> {
        Ok(RecordLock(memfd_create("accept", MFdFlags::MFD_CLOEXEC)?))
    }

    /// Waits for the lock and holds it until the returned guard is dropped.
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        while let Err(error) = fcntl(&self.0, FcntlArg::F_SETLKW(&whole_file(libc::F_WRLCK))) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        Ok(Locked(self))
    }
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct Locked<'a>(&'a RecordLock);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = fcntl(&self.0.0, FcntlArg::F_SETLK(&whole_file(libc::F_UNLCK)));
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        // Zero means up to the end of the file.
        l_len: 0,
        l_pid: 0,
    }
}
