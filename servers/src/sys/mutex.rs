//! A mutex for several processes: `pthread_mutex_lock(3)`, robust and process-shared.

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::errno::check_number;
use super::shared;

/// A mutex in memory that forked children share. It survives the death of its holder.
#[derive(Debug)]
pub struct RobustMutex(NonNull<libc::pthread_mutex_t>);

impl RobustMutex {
    /// An unlocked mutex.
    pub fn new() -> io::Result<Self> {
        let mutex = shared::zeroes(size_of::<libc::pthread_mutex_t>())?.cast();
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: initialises the attributes, which live until the end of this function.
        check_number(unsafe { libc::pthread_mutexattr_init(attributes) })?;
        // SAFETY: the attributes are initialised.
        check_number(unsafe {
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
        })?;
        // SAFETY: as above.
        check_number(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: the memory is large enough, page-aligned, mapped for ever and unused, and
        // the mutex never moves.
        check_number(unsafe { libc::pthread_mutex_init(mutex.as_ptr(), attributes) })?;
        Ok(RobustMutex(mutex))
    }

    /// Waits for the mutex and holds it until the returned guard is dropped.
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        // SAFETY: the mutex is initialised and mapped for ever.
        match unsafe { libc::pthread_mutex_lock(self.0.as_ptr()) } {
            // The holder has died. The mutex protects no data that could need repair.
            libc::EOWNERDEAD => {
                // SAFETY: as above, and this thread holds it now.
                check_number(unsafe { libc::pthread_mutex_consistent(self.0.as_ptr()) })?;
            }
            result => check_number(result)?,
        }
        Ok(Locked(self))
    }
}

/// Holds the mutex until it is dropped.
#[derive(Debug)]
pub struct Locked<'a>(&'a RobustMutex);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: the mutex is initialised and locked by this thread: because of `NonNull`,
        // the guard is not `Send`.
        let _ = unsafe { libc::pthread_mutex_unlock(self.0.0.as_ptr()) };
    }
}
