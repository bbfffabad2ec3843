//! A mutex of several processes: `pthread_mutex_lock(3)`, robust and process-shared.

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::{check_number, shared};

/// A mutex in memory that forked children share. It outlives whoever dies with it.
#[derive(Debug)]
pub struct RobustMutex(NonNull<libc::pthread_mutex_t>);

impl RobustMutex {
    /// A free one.
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
        // SAFETY: the memory is large enough, aligned to a page, mapped for ever and not
        // yet in use; a mutex stays where it was initialised, and this one does.
        check_number(unsafe { libc::pthread_mutex_init(mutex.as_ptr(), attributes) })?;
        Ok(RobustMutex(mutex))
    }

    /// Waits until nobody else has it, and holds it until what is returned is dropped.
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        // SAFETY: the mutex is initialised and mapped for ever.
        match unsafe { libc::pthread_mutex_lock(self.0.as_ptr()) } {
            // Its holder has died. There is nothing behind the mutex to be repaired.
            libc::EOWNERDEAD => {
                // SAFETY: as above, and this thread holds it now.
                check_number(unsafe { libc::pthread_mutex_consistent(self.0.as_ptr()) })?;
            }
            result => check_number(result)?,
        }
        Ok(Locked(self))
    }
}

/// The mutex is held until this is dropped.
#[derive(Debug)]
pub struct Locked<'a>(&'a RobustMutex);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: the mutex is initialised, and locked by this thread: `NonNull` keeps
        // what points to it from being sent to another.
        let _ = unsafe { libc::pthread_mutex_unlock(self.0.0.as_ptr()) };
    }
}
