//! Signals: `sigaction(2)`, `sigprocmask(2)`, `signalfd(2)`, `setitimer(2)`.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::Pid;

use nix::sys::signalfd::SfdFlags;

use super::check;
use super::clock::timeval;

pub use nix::sys::signalfd::SignalFd;

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

/// Lets `signal` do what it does in a process that has not been told otherwise.
pub fn restore(signal: i32) -> io::Result<()> {
    install(signal, SigHandler::SigDfl, SaFlags::empty())
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

/// Waits for `signal`, which every thread blocks; one that is pending already counts.
pub fn wait(signal: i32) -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::try_from(signal)?);
    set.wait()?;
    Ok(())
}

/// Sends `signal` to this process.
pub fn send_to_self(signal: i32) -> io::Result<()> {
    Ok(signal::kill(Pid::this(), Signal::try_from(signal)?)?)
}

/// Keeps `signal` from being delivered, and makes a descriptor that is ready when it came.
///
/// A wait on descriptors then hears of the signal without a race: one that comes
/// between a check and the wait is there when the wait begins.
pub fn descriptor(signal: i32) -> io::Result<SignalFd> {
    block(signal)?;
    let mut set = SigSet::empty();
    set.add(Signal::try_from(signal)?);
    Ok(SignalFd::with_flags(
        &set,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
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
