//! Signals: `sigaction(2)`, `sigprocmask(2)`, `setitimer(2)`.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};

use super::check;
use super::clock::timeval;

/// Lets `handler` run when `signal` comes; system calls are restarted where Linux can.
///
/// A handler interrupts code at any point, so it may touch atomics and make
/// async-signal-safe calls and nothing else, under [`preserving_errno`].
pub fn catch(signal: i32, handler: extern "C" fn(i32)) -> io::Result<()> {
    install(signal, SigHandler::Handler(handler), SaFlags::SA_RESTART)
}

/// Ignores `signal`.
pub fn ignore(signal: i32) -> io::Result<()> {
    install(signal, SigHandler::SigIgn, SaFlags::empty())
}

fn install(signal: i32, handler: SigHandler, flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: every handler of this crate keeps to the rule of `catch`.
    unsafe { signal::sigaction(Signal::try_from(signal)?, &action) }?;
    Ok(())
}

/// Keeps `signal` pending for the calling thread instead of delivering it.
pub fn block(signal: i32) -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::try_from(signal)?);
    Ok(set.thread_block()?)
}

/// Runs the body of a handler without changing what the interrupted code sees in errno.
pub fn preserving_errno(body: impl FnOnce()) {
    let errno = Errno::last_raw();
    body();
    Errno::set_raw(errno);
}

/// Sends this process SIGALRM after `delay`.
pub fn alarm(delay: Duration) {
    // A value of zero would disarm the timer instead of firing at once.
    let delay = delay.max(Duration::from_micros(1));
    let timer = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: timeval(delay),
    };
    // SAFETY: `timer` lives across the call, and no old value is asked for.
    let _ = check(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) });
}
