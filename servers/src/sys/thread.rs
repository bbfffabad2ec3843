//! Threads that nobody joins: `pthread_create(3)`.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::check_number;

/// Runs `body` on a new thread that ends by itself; its stack is at least `stack` bytes,
/// and what a thread needs on this processor (PTHREAD_STACK_MIN).
///
/// A thread of the standard library also gets a stack to report an overflow on, which
/// takes it eight system calls: more than a short connection needs altogether.
pub fn spawn_detached(stack: usize, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut attributes = Attributes::new()?;
    attributes.set_detached()?;
    attributes.set_stack_size(stack.max(libc::PTHREAD_STACK_MIN))?;
    // Twice boxed: a pointer to a closure of any type is two words, and there is room for one.
    let body: *mut Body = Box::into_raw(Box::new(Box::new(body)));
    let mut thread = MaybeUninit::uninit();
    // SAFETY: the attributes are initialised, and `run` takes over the body that it is given.
    let result = unsafe { libc::pthread_create(thread.as_mut_ptr(), &attributes.0, run, body.cast()) };
    check_number(result).inspect_err(|_| {
        // SAFETY: there is no thread, so the body still belongs to this one.
        drop(unsafe { Box::from_raw(body) });
    })
}

type Body = Box<dyn FnOnce() + Send>;

/// A panic ends the process here, since it cannot leave a function of C.
extern "C" fn run(body: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn_detached` made this pointer from a box, and gave it away.
    let body = unsafe { Box::from_raw(body.cast::<Body>()) };
    body();
    ptr::null_mut()
}

struct Attributes(libc::pthread_attr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: it initialises what it is given.
        check_number(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: it has just done so.
        Ok(Attributes(unsafe { attributes.assume_init() }))
    }

    fn set_detached(&mut self) -> io::Result<()> {
        // SAFETY: the attributes are initialised.
        check_number(unsafe { libc::pthread_attr_setdetachstate(&mut self.0, libc::PTHREAD_CREATE_DETACHED) })
    }

    fn set_stack_size(&mut self, bytes: usize) -> io::Result<()> {
        // SAFETY: the attributes are initialised.
        check_number(unsafe { libc::pthread_attr_setstacksize(&mut self.0, bytes) })
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: they are initialised, and used no more.
        unsafe { libc::pthread_attr_destroy(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn the_body_runs_once_with_what_it_owns() {
        let (sender, receiver) = channel();
        spawn_detached(64 * 1024, move || sender.send(7).unwrap()).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(7));
        assert!(
            receiver.recv_timeout(Duration::from_secs(10)).is_err(),
            "the sender was dropped"
        );
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_an_error_and_leaks_nothing() {
        let owned = std::sync::Arc::new(());
        let body = std::sync::Arc::clone(&owned);
        assert!(
            spawn_detached(usize::MAX / 2, move || drop(body)).is_err(),
            "a stack of half the address space"
        );
        assert_eq!(std::sync::Arc::strong_count(&owned), 1);
    }
}
