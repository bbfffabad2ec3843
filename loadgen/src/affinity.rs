//! The processors of a thread: `sched_getaffinity(2)`, `sched_setaffinity(2)`.

use std::io;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, for the affinity calls.
const SELF: Pid = Pid::from_raw(0);

/// The processors that the calling thread, and threads that it starts, may run on.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect())
}

/// Pins the calling thread.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let pin = || {
        let mut set = CpuSet::new();
        cpus.iter().try_for_each(|&cpu| set.set(cpu))?;
        sched_setaffinity(SELF, &set)
    };
    pin().map_err(|errno| {
        let advice = match errno {
            Errno::EPERM | Errno::EACCES | Errno::ENOSYS => {
                ": the sandbox or container must allow sched_setaffinity(2)"
            }
            _ => "",
        };
        let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
        let error = io::Error::from(errno);
        let message = format!(
            "a thread cannot be pinned to processors {}: {error}{advice}",
            cpus.join(",")
        );
        io::Error::new(error.kind(), message)
    })
}

/// Runs `action` pinned to `cpus`. Threads and processes that it starts inherit them from the start,
/// as a runtime counts its processors when it starts.
pub fn with<T>(cpus: &[usize], action: impl FnOnce() -> T) -> io::Result<T> {
    let before = allowed()?;
    pin(cpus)?;
    let result = action();
    pin(&before)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_returns_to_its_processors_after_the_action() {
        let before = allowed().unwrap();
        let inside = with(&before[..1], || allowed().unwrap()).unwrap();
        assert_eq!(inside, before[..1]);
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn processors_that_cannot_be_had_are_named() {
        let error = pin(&[CpuSet::count() - 2, CpuSet::count() - 1])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pinned to processors 1022,1023: Invalid"),
            "{error}"
        );
    }
}
