//! Signals: `sigaction(2)`, `sigprocmask(2)`, `signalfd(2)`, `setitimer(2)`.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::Pid;

use nix::sys::signalfd::SfdFlags;

use super::clock::timeval;
use super::errno::check;

pub use nix::sys::signalfd::SignalFd;

/// Installs a handler with SA_RESTART.
///
/// A handler interrupts code at any point, so it may only use atomics and make
/// async-signal-safe calls, within [`preserving_errno`].
pub fn catch(signal: i32, handler: extern "C" fn(i32)) -> io::Result<()> {
    install(signal, SigHandler::Handler(handler), SaFlags::SA_RESTART)
}

/// Ignores `signal`.
pub fn ignore(signal: i32) -> io::Result<()> {
    install(signal, SigHandler::SigIgn, SaFlags::empty())
}

/// Restores the default action of `signal`.
pub fn restore(signal: i32) -> io::Result<()> {
    install(signal, SigHandler::SigDfl, SaFlags::empty())
}

fn install(signal: i32, handler: SigHandler, flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: every handler of this crate follows the rule of `catch`.
    unsafe { signal::sigaction(Signal::try_from(signal)?, &action) }?;
    Ok(())
}

/// Keeps `signal` pending for the calling thread instead of delivering it.
pub fn block(signal: i32) -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(Signal::try_from(signal)?);
    Ok(set.thread_block()?)
}

/// Waits for `signal`, which every thread must block; returns at once if it is pending.
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

/// Blocks `signal` and creates a descriptor that is ready while it is pending.
///
/// A wait on descriptors then includes the signal without a race: a signal between a check
/// and the wait is still pending when the wait begins.
pub fn descriptor(signal: i32) -> io::Result<SignalFd> {
    block(signal)?;
    let mut set = SigSet::empty();
    set.add(Signal::try_from(signal)?);
    Ok(SignalFd::with_flags(
        &set,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// Runs the body of a handler and restores errno for the interrupted code.
pub fn preserving_errno(body: impl FnOnce()) {
    let errno = Errno::last_raw();
    body();
    Errno::set_raw(errno);
}

/// Sends this process SIGALRM after `delay`.
pub fn alarm(delay: Duration) {
    // Zero would disarm the timer instead of firing at once.
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
