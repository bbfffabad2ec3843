//! A lock that belongs to a process: `fcntl(2)` with F_SETLKW, on a `memfd_create(2)` file.
//!
//! Not `flock(2)`: that belongs to the open file, which forked children share, so all of
//! them would have it at once.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A lock that excludes other processes, and is free again when its holder dies.
#[derive(Debug)]
pub struct RecordLock(OwnedFd);

impl RecordLock {
    /// A free one, on a file without a name: nothing is left of it at the end.
    pub fn new() -> io::Result<Self> {
        Ok(RecordLock(memfd_create("accept", MFdFlags::MFD_CLOEXEC)?))
    }

    /// Waits until no other process has it, and holds it until what is returned is dropped.
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        while let Err(error) = fcntl(&self.0, FcntlArg::F_SETLKW(&whole_file(libc::F_WRLCK))) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        Ok(Locked(self))
    }
}

/// The lock is held until this is dropped.
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
        // To the end, wherever that is.
        l_len: 0,
        l_pid: 0,
    }
}
