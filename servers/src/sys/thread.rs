//! Threads without what the standard library adds: `pthread_create(3)`, `pthread_join(3)`.
//!
//! A thread of the standard library also gets an alternate stack to report overflows. That takes
//! eight system calls, more than a whole short connection, and if it cannot be mapped (at
//! vm.max_map_count, or a limit of address space), the new thread panics where nothing can catch
//! it, and the process aborts. Here a thread that cannot start is an error.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::errno::check_number;

/// Runs `body` on a new detached thread. Its stack has at least `stack` bytes and at least
/// PTHREAD_STACK_MIN.
pub fn spawn_detached(stack: usize, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut attributes = Attributes::new()?;
    attributes.set_detached()?;
    start(attributes, stack, Box::new(body)).map(drop)
}

/// The same for a thread that [`Thread`] waits for when it is dropped.
pub fn spawn(stack: usize, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    start(Attributes::new()?, stack, Box::new(body)).map(Thread)
}

/// A thread; dropping it waits until the thread has ended.
#[derive(Debug)]
pub struct Thread(libc::pthread_t);

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: the thread is joinable, and only this joins it, once.
        unsafe { libc::pthread_join(self.0, ptr::null_mut()) };
    }
}

fn start(mut attributes: Attributes, stack: usize, body: Body) -> io::Result<libc::pthread_t> {
    attributes.set_stack_size(stack.max(libc::PTHREAD_STACK_MIN))?;
    // Boxed twice: a pointer to a trait object is two words, and there is room for one.
    let body: *mut Body = Box::into_raw(Box::new(body));
    let mut thread = MaybeUninit::uninit();
    // SAFETY: the attributes are initialised, and `run` takes ownership of the body.
    let result = unsafe { libc::pthread_create(thread.as_mut_ptr(), &attributes.0, run, body.cast()) };
    check_number(result).inspect_err(|_| {
        // SAFETY: no thread was started, so this one still owns the body.
        drop(unsafe { Box::from_raw(body) });
    })?;
    // SAFETY: the call has succeeded, so it has written the thread.
    Ok(unsafe { thread.assume_init() })
}

type Body = Box<dyn FnOnce() + Send>;

/// A panic cannot unwind through an `extern "C"` function and would abort the process; in a server it
/// ends before, as [`panics`](crate::panics) says.
extern "C" fn run(body: *mut c_void) -> *mut c_void {
    // SAFETY: `start` made this pointer from a box and gave up its ownership.
    let body = unsafe { Box::from_raw(body.cast::<Body>()) };
    body();
    ptr::null_mut()
}

struct Attributes(libc::pthread_attr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises the attributes.
        check_number(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: the call above has initialised them.
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
        // SAFETY: the attributes are initialised and not used afterwards.
        unsafe { libc::pthread_attr_destroy(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    /// Turns a hang into a failure.
    const HANGS: Duration = Duration::from_secs(60);

    #[test]
    fn the_body_runs_once_and_drops_its_captures() {
        let (sender, receiver) = channel();
        spawn_detached(64 * 1024, move || sender.send(7).unwrap()).unwrap();
        assert_eq!(receiver.recv_timeout(HANGS), Ok(7));
        assert_eq!(
            receiver.recv_timeout(HANGS),
            Err(RecvTimeoutError::Disconnected),
            "the body drops its sender"
        );
    }

    #[test]
    fn dropping_a_thread_waits_for_its_end() {
        let (sender, receiver) = channel();
        drop(spawn(64 * 1024, move || sender.send(7).unwrap()).unwrap());
        assert_eq!(receiver.try_recv(), Ok(7));
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
