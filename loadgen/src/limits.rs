//! How many connections this process can have: the limit of descriptors.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::{fs, io, thread};

use nix::libc::STDERR_FILENO;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::close;

/// Descriptors that the program needs in addition to its connections, with room to spare.
const OWN_DESCRIPTORS: u64 = 64;

/// Descriptors of an engine in addition to its connections.
const DESCRIPTORS_OF_A_WORKER: u64 = 2;

/// The soft limit of most systems, where the process cannot read its own.
const USUAL: u64 = 1024;

/// More connections than the process has descriptors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{asked} connections need more descriptors than the {limit} that this process may open: \
     ask for {possible} or fewer, or raise the limit (`ulimit -n`, or LimitNOFILE= of a service)"
)]
pub struct TooFewDescriptors {
    /// Connections asked for.
    pub asked: usize,
    /// The limit of the process.
    pub limit: u64,
    /// Connections that it allows.
    pub possible: usize,
}

/// The descriptors that this process may open once it has raised its soft limit.
pub fn hard_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(USUAL, |(_, hard)| hard)
}

/// Raises the soft limit to the hard one; returns the limit that then applies.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return USUAL;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Gives the calling thread a table of descriptors of its own, which the threads that it starts share.
/// The limit then counts for them alone. Only the standard streams are left in the table: what other
/// threads have open stays open for them, and ends when they close it.
pub(crate) fn own_descriptors() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    let names = fs::read_dir("/proc/thread-self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<OsString> = names.collect::<io::Result<_>>()?;
    let numbers = names
        .iter()
        .filter_map(|name| name.to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|&number| number > STDERR_FILENO) {
        // That of the folder is closed already.
        let _ = close(number);
    }
    Ok(())
}

/// Whether this host lets a thread have descriptors of its own: unless a sandbox forbids it.
pub fn threads_can_own_descriptors() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let tried = thread::Builder::new().spawn(|| own_descriptors().is_ok());
        tried.is_ok_and(|tried| tried.join().unwrap_or(false))
    })
}

/// How many connections the limit allows, which must be at least those asked for.
pub fn possible(asked: usize, threads: usize, limit: u64) -> Result<usize, TooFewDescriptors> {
    let own = OWN_DESCRIPTORS.saturating_add(DESCRIPTORS_OF_A_WORKER.saturating_mul(threads as u64));
    let possible = limit.saturating_sub(own) as usize;
    match asked > possible {
        true => Err(TooFewDescriptors {
            asked,
            limit,
            possible,
        }),
        false => Ok(possible),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_thread_can_have_descriptors_of_its_own() {
        if !threads_can_own_descriptors() {
            return eprintln!("this host does not let a thread have descriptors of its own");
        }
        let file = File::open("/proc/self/stat").unwrap();
        let count = || {
            own_descriptors().unwrap();
            fs::read_dir("/proc/thread-self/fd").unwrap().count()
        };
        // The standard streams, and the folder that is read.
        assert!(thread::spawn(count).join().unwrap() <= 4);
        file.metadata().unwrap();
    }
}
