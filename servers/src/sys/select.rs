//! Readiness of a set of descriptors: `select(2)`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use super::clock::timeval;
use super::errno::check;

/// The first descriptor that does not fit into a set.
pub const LIMIT: RawFd = libc::FD_SETSIZE as RawFd;

/// A bit set of descriptors below [`LIMIT`].
#[derive(Clone, Copy)]
pub struct Set(libc::fd_set);

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the pointer is to memory for a set.
        unsafe { libc::FD_ZERO(set.as_mut_ptr()) };
        // SAFETY: the call above has made it an empty set.
        Set(unsafe { set.assume_init() })
    }

    /// Adds a descriptor; returns an error if it does not fit.
    ///
    /// FD_SET does not check this and would write past the end of the set.
    pub fn insert(&mut self, fd: RawFd) -> io::Result<()> {
        if !fits(fd) {
            let limit = format!("select supports descriptors below {LIMIT}, and this one is {fd}");
            return Err(io::Error::other(limit));
        }
        // SAFETY: the set lives across the call, and the descriptor is one of its bits.
        unsafe { libc::FD_SET(fd, &mut self.0) };
        Ok(())
    }

    /// Removes a descriptor.
    pub fn remove(&mut self, fd: RawFd) {
        if fits(fd) {
            // SAFETY: the set lives across the call, and the descriptor is one of its bits.
            unsafe { libc::FD_CLR(fd, &mut self.0) };
        }
    }

    /// Whether the set contains a descriptor.
    pub fn contains(&self, fd: RawFd) -> bool {
        // SAFETY: the set lives across the call, and the descriptor is one of its bits.
        fits(fd) && unsafe { libc::FD_ISSET(fd, &self.0) }
    }
}

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

fn fits(fd: RawFd) -> bool {
    (0..LIMIT).contains(&fd)
}

/// Waits until a descriptor is readable or writable, and leaves only the ready ones in the
/// sets; waits for ever without a `timeout`. `highest` is the highest descriptor in either.
///
/// The sets are empty after a signal: select(2) is never restarted, even with SA_RESTART.
pub fn select(read: &mut Set, write: &mut Set, highest: RawFd, timeout: Option<Duration>) -> io::Result<()> {
    let count = highest.min(LIMIT - 1) + 1;
    let mut time = timeout.map(timeval);
    let time = time.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the sets and the time live across the call, `count` is within the sets, and
    // a set or a time may be null.
    match check(unsafe { libc::select(count, &mut read.0, &mut write.0, ptr::null_mut(), time) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            // The kernel has not written to the sets: they still hold the input.
            (*read, *write) = (Set::new(), Set::new());
            Ok(())
        }
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_does_not_fit_is_refused_and_changes_nothing() {
        let mut set = Set::new();
        assert!(set.insert(LIMIT - 1).is_ok() && set.contains(LIMIT - 1));
        for fd in [-1, LIMIT, LIMIT + 64] {
            assert!(set.insert(fd).is_err() && !set.contains(fd), "{fd}");
            set.remove(fd);
        }
        assert!((0..LIMIT - 1).all(|fd| !set.contains(fd)));
        set.remove(LIMIT - 1);
        assert!(!set.contains(LIMIT - 1));
    }
}
