//! How every model stops.
//!
//! The first SIGTERM or SIGINT shuts the listener down. A blocked `accept` then returns,
//! an event loop sees the listener become ready, and both get EINVAL, in every process and
//! thread that shares the socket. This has no race and needs no second channel. Over a Unix
//! socket a nonblocking `accept` still gets EAGAIN, which means the same after a signal. Open
//! connections have the drain time to end. A second signal ends the process at once.

use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{io, marker::PhantomData};

use crate::sys::{process, signal, socket};

const NONE: RawFd = -1;

static LISTENER: AtomicI32 = AtomicI32::new(NONE);
/// Further listeners of the same server.
static OTHER_LISTENERS: OnceLock<Vec<RawFd>> = OnceLock::new();
/// A signal to raise at the stop; 0 for none.
static RAISED: AtomicI32 = AtomicI32::new(0);
static HELD: AtomicI32 = AtomicI32::new(NONE);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static LEFT_TO_PARENT: AtomicBool = AtomicBool::new(false);
static DRAIN_ENDED: AtomicBool = AtomicBool::new(false);
/// Nanoseconds after [`START`] at which the drain time ends.
static END: AtomicU64 = AtomicU64::new(0);
static DRAIN: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<Instant> = OnceLock::new();

/// Makes SIGTERM and SIGINT stop the server with this listener, which must stay open until
/// the first signal.
pub fn on_signals(listener: BorrowedFd, drain: Duration) -> io::Result<()> {
    START.get_or_init(Instant::now);
    DRAIN.store(drain.as_nanos().try_into().unwrap_or(u64::MAX), SeqCst);
    LISTENER.store(listener.as_raw_fd(), SeqCst);
    signal::catch(libc::SIGALRM, end_drain)?;
    signal::catch(libc::SIGTERM, stop)?;
    signal::catch(libc::SIGINT, stop)
}

/// Makes the signals shut down further listeners too, which must stay open until then.
/// Call it once.
pub fn also_shut_down<'a>(listeners: impl Iterator<Item = BorrowedFd<'a>>) {
    let others = OTHER_LISTENERS.get_or_init(|| listeners.map(|listener| listener.as_raw_fd()).collect());
    // An earlier signal has missed them.
    if requested() {
        others.iter().copied().for_each(socket::shutdown_input);
    }
}

/// Makes a stop raise `signal` as well, for a loop that waits for signals alone: the kernel sends
/// none when a Unix socket is shut down.
pub fn also_raise(signal: i32) {
    RAISED.store(signal, SeqCst);
    // An earlier stop has missed it.
    if requested() {
        raise();
    }
}

fn raise() {
    let signal = RAISED.load(SeqCst);
    if signal != 0 {
        // Fails for no signal of this process to itself.
        let _ = signal::send_to_self(signal);
    }
}

/// In a forked child: leaves the signals to the parent.
///
/// The child learns of a stop through the listener that it shares with the parent.
pub fn leave_to_parent() -> io::Result<()> {
    LEFT_TO_PARENT.store(true, SeqCst);
    signal::ignore(libc::SIGTERM)?;
    signal::ignore(libc::SIGINT)
}

/// Whether a signal has requested a stop.
pub fn requested() -> bool {
    REQUESTED.load(SeqCst)
}

/// Whether this process must stop if it finds its listener shut down.
pub fn follows_listener() -> bool {
    requested() || LEFT_TO_PARENT.load(SeqCst)
}

/// The remaining drain time: all of it before a stop.
pub fn drain_left() -> Duration {
    if !requested() {
        return Duration::from_nanos(DRAIN.load(SeqCst));
    }
    Duration::from_nanos(END.load(SeqCst).saturating_sub(since_start()))
}

/// Whether the drain time has ended.
pub fn drain_is_over() -> bool {
    requested() && drain_left().is_zero()
}

/// Cuts the connection off at the end of the drain time, in the middle of a blocking call.
///
/// For models that serve one connection at a time per process. The others wait with a
/// time-out and close their connections.
pub fn hold(stream: &TcpStream) -> Held<'_> {
    HELD.store(stream.as_fd().as_raw_fd(), SeqCst);
    if DRAIN_ENDED.load(SeqCst) {
        let _ = stream.shutdown(Shutdown::Both);
    }
    Held(PhantomData)
}

/// Releases the connection when dropped, which must happen before the stream closes.
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

/// Signal handler: uses atomics, the clock and system calls only.
extern "C" fn stop(signal: i32) {
    let drain = DRAIN.load(SeqCst);
    // Before REQUESTED, so that a reader of REQUESTED finds the end of the drain time.
    END.store(since_start().saturating_add(drain), SeqCst);
    if REQUESTED.swap(true, SeqCst) {
        process::exit_now(128 + signal);
    }
    signal::preserving_errno(|| {
        socket::shutdown_input(LISTENER.load(SeqCst));
        OTHER_LISTENERS
            .get()
            .into_iter()
            .flatten()
            .copied()
            .for_each(socket::shutdown_input);
        raise();
        signal::alarm(Duration::from_nanos(drain));
    });
}

/// Signal handler: uses atomics and system calls only.
extern "C" fn end_drain(_: i32) {
    DRAIN_ENDED.store(true, SeqCst);
    let held = HELD.load(SeqCst);
    if held != NONE {
        signal::preserving_errno(|| socket::shutdown(held));
    }
}
