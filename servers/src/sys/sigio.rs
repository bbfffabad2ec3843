//! Signals as news of descriptors: `fcntl(2)` with F_SETSIG, `signalfd(2)`.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::unistd::getpid;

use super::check;
use super::poll::{self, Entry, Interest};

/// Signals taken from the kernel at once: a read is shared by up to this many echoes.
const AT_ONCE: usize = 64;

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something has happened to the descriptor with this number, or to one that had the
    /// number before: a signal outlives the descriptor.
    Ready(RawFd),
    /// SIGIO: there was no room for another signal, or it is the keyboard's.
    Unknown,
}

/// Has SIGIO sent to this process when there is input on a descriptor, or room for output.
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

/// The same with a real-time signal, which is queued and names the descriptor.
pub fn arm_queued(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: F_SETSIG takes a signal number.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_SETSIG, libc::SIGRTMIN()) })?;
    arm(fd)
}

/// Not in the libc crate for all targets; one number on all that this crate supports.
const F_SETSIG: libc::c_int = 10;

/// The signals of armed descriptors, taken instead of delivered.
#[derive(Debug)]
pub struct Signals {
    queue: OwnedFd,
    taken: Box<[libc::signalfd_siginfo]>,
}

impl Signals {
    /// Takes them from here on; to be called before anything is armed, by the only thread.
    pub fn take_over() -> io::Result<Self> {
        let set = signal_set(&[libc::SIGRTMIN(), libc::SIGIO])?;
        // SAFETY: `set` lives across the call, and no old mask is asked for.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) })?;
        // SAFETY: `set` lives across the call; -1 asks for a new descriptor.
        let fd = check(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC) })?;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the structure consists of numbers, for which zero is a value.
        let none: libc::signalfd_siginfo = unsafe { mem::zeroed() };
        Ok(Signals {
            queue,
            taken: vec![none; AT_ONCE].into(),
        })
    }

    /// Waits for signals, for ever without a `timeout`, and returns what they say.
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

/// By hand, since `nix` knows no real-time signals.
fn signal_set(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to memory for a set.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: the call above has made it an empty set.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals {
        // SAFETY: `set` lives across the call.
        check(unsafe { libc::sigaddset(&mut set, signal) })?;
    }
    Ok(set)
}
