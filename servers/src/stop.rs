//! How a server stops, the same for every model.
//!
//! The first SIGTERM or SIGINT shuts the listener down. That is the whole message: a
//! blocked `accept` returns, an event loop is told that the listener is ready, and
//! both find EINVAL there, in every process and thread that shares the socket, without
//! a race and without a second channel. What is open then has the drain time to end by
//! itself. A second signal ends the process at once.

use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{io, marker::PhantomData};

use crate::sys::{process, signal, socket};

const NONE: RawFd = -1;

static LISTENER: AtomicI32 = AtomicI32::new(NONE);
static HELD: AtomicI32 = AtomicI32::new(NONE);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);
/// Nanoseconds after [`START`] at which the drain ends.
static END: AtomicU64 = AtomicU64::new(0);
static DRAIN: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<Instant> = OnceLock::new();

/// Lets SIGTERM and SIGINT stop the server behind `listener`, which must stay open until
/// the first of them has come.
pub fn on_signals(listener: BorrowedFd, drain: Duration) -> io::Result<()> {
    START.get_or_init(Instant::now);
    DRAIN.store(drain.as_nanos().try_into().unwrap_or(u64::MAX), SeqCst);
    LISTENER.store(listener.as_raw_fd(), SeqCst);
    signal::catch(libc::SIGALRM, drain_is_over)?;
    signal::catch(libc::SIGTERM, stop)?;
    signal::catch(libc::SIGINT, stop)
}

/// For a forked child: its parent decides when it ends.
pub fn leave_to_parent() -> io::Result<()> {
    signal::ignore(libc::SIGTERM)?;
    signal::ignore(libc::SIGINT)
}

/// Stops the server from within, as the first signal does; a stop under way goes on.
pub fn request() {
    if !requested() {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
    }
}

/// Whether the server was told to stop.
pub fn requested() -> bool {
    REQUESTED.load(SeqCst)
}

/// What is left of the drain time: all of it as long as nobody has said stop.
pub fn left() -> Duration {
    if !requested() {
        return Duration::from_nanos(DRAIN.load(SeqCst));
    }
    Duration::from_nanos(END.load(SeqCst).saturating_sub(since_start()))
}

/// Lets the end of the drain cut off the one connection that a thread is blocked on.
///
/// For models that serve one connection at a time in a process of their own; the
/// others wait with a time-out and close what they have.
pub fn hold(stream: &TcpStream) -> Held<'_> {
    HELD.store(stream.as_fd().as_raw_fd(), SeqCst);
    if OVER.load(SeqCst) {
        let _ = stream.shutdown(Shutdown::Both);
    }
    Held(PhantomData)
}

/// A connection is held until this is dropped, which is before the stream closes.
#[derive(Debug)]
pub struct Held<'a>(PhantomData<&'a TcpStream>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        HELD.store(NONE, SeqCst);
    }
}

fn since_start() -> u64 {
    START.get().map_or(0, |start| start.elapsed().as_nanos() as u64)
}

/// Runs as a signal handler: atomics, the clock and system calls only.
extern "C" fn stop(signal: i32) {
    let drain = DRAIN.load(SeqCst);
    // First, so that whoever sees the request sees how much time there is.
    END.store(since_start().saturating_add(drain), SeqCst);
    if REQUESTED.swap(true, SeqCst) {
        process::exit_now(128 + signal);
    }
    signal::preserving_errno(|| {
        socket::shutdown(LISTENER.load(SeqCst));
        signal::alarm(Duration::from_nanos(drain));
    });
}

/// Runs as a signal handler: atomics and system calls only.
extern "C" fn drain_is_over(_: i32) {
    OVER.store(true, SeqCst);
    let held = HELD.load(SeqCst);
    if held != NONE {
        signal::preserving_errno(|| socket::shutdown(held));
    }
}
