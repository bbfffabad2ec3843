//! How many connections this process can have: the limit of descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
