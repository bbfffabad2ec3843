//! Signals that report descriptor events: `fcntl(2)` with F_SETSIG, `signalfd(2)`.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::unistd::getpid;

use super::errno::check;
use super::poll::{self, Entry, Interest};

/// Signals per read: up to this many echoes share one system call.
const AT_ONCE: usize = 64;

/// What a signal reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An event on this descriptor, or on an earlier one with the same number: a signal can
    /// outlive its descriptor.
    Ready(RawFd),
    /// A plain SIGIO: the signal queue overflowed, or the terminal has input.
    Unknown,
}

/// Makes the kernel send SIGIO when a descriptor has input or room for output.
pub fn arm(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: F_SETOWN takes a process id.
    check(unsafe { libc::fcntl(fd, libc::F_SETOWN, getpid().as_raw()) })?;
    // SAFETY: F_GETFL takes nothing.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes flags; O_ASYNC is one that may be changed.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC) })?;
    Ok(())
}

/// Like [`arm`], with a real-time signal, which is queued and carries the descriptor.
pub fn arm_queued(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: F_SETSIG takes a signal number.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_SETSIG, libc::SIGRTMIN()) })?;
    arm(fd)
}

/// The libc crate lacks it on some targets; all targets of this crate use this value.
const F_SETSIG: libc::c_int = 10;

/// Receives the signals of armed descriptors through a signalfd.
#[derive(Debug)]
pub struct Signals {
    queue: OwnedFd,
    taken: Box<[libc::signalfd_siginfo]>,
}

impl Signals {
    /// Blocks the signals and starts to receive them. Call it from the only thread, before
    /// arming a descriptor.
    pub fn take_over() -> io::Result<Self> {
        let set = signal_set(&[libc::SIGRTMIN(), libc::SIGIO])?;
        // SAFETY: `set` lives across the call, and no old mask is asked for.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) })?;
        // SAFETY: `set` lives across the call; -1 asks for a new descriptor.
        let fd = check(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC) })?;
        // SAFETY: the kernel has just created this descriptor, and it has no other owner.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the structure consists of numbers, for which zero is a value.
        let none: libc::signalfd_siginfo = unsafe { mem::zeroed() };
        Ok(Signals {
            queue,
            taken: vec![none; AT_ONCE].into(),
        })
    }

    /// Waits for signals and returns their events; waits for ever without a `timeout`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = Event>> {
        let count = match timeout {
            None => self.read()?,
            Some(_) => {
                let mut entry = [Entry::new(&self.queue, Interest::Read)];
                poll::poll(&mut entry, timeout)?;
                if entry[0].is_ready() { self.read()? } else { 0 }
            }
        };
        Ok(self.taken[..count]
            .iter()
            .map(|signal| match signal.ssi_signo as libc::c_int {
                libc::SIGIO => Event::Unknown,
                _ => Event::Ready(signal.ssi_fd),
            }))
    }

    fn read(&mut self) -> io::Result<usize> {
        let (pointer, length) = (self.taken.as_mut_ptr().cast(), size_of_val(&*self.taken));
        // SAFETY: `taken` has `length` bytes and is borrowed for the call.
        match unsafe { libc::read(self.queue.as_raw_fd(), pointer, length) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
            bytes => Ok(bytes as usize / size_of::<libc::signalfd_siginfo>()),
        }
    }
}

/// Needed because `nix` does not support real-time signals.
fn signal_set(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to memory for a set.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: the call above has initialised the set.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals {
        // SAFETY: `set` lives across the call.
        check(unsafe { libc::sigaddset(&mut set, signal) })?;
    }
    Ok(set)
}
