//! Lower limits on the resources of a server that runs: `prlimit(2)`.

use std::io;

use anyhow::{Context, anyhow};
use nix::unistd::Pid;
use rustix::process::{self, Resource, Rlimit, getrlimit, prlimit};

use crate::conformance::Running;
use crate::proc::processes::group_members;

/// A limit that all processes of a server have; they get back what the first of them had before,
/// which is what they all started with.
#[derive(Debug)]
pub struct Limit {
    group: Pid,
    resource: Resource,
    before: Rlimit,
}

impl Limit {
    /// Lets each process have at most what `most` says of it. Only the soft limit is
    /// lowered, so that raising it again needs no privilege.
    pub fn lower(running: &Running, resource: Resource, most: impl Fn(Pid) -> u64) -> anyhow::Result<Self> {
        // A server has the hard limit of the harness, and the soft one that it raised to it.
        let hard = getrlimit(resource).maximum;
        let mut limit = None;
        for process in running.processes()? {
            let lower = Rlimit {
                current: Some(most(process.pid)),
                maximum: hard,
            };
            let before = set(process.pid, resource, lower)
                .with_context(|| format!("cannot limit {resource:?} of process {}", process.pid))?;
            // From here on an early return gives back what was taken. Not made where there is
            // one already: what is made in vain is dropped.
            limit.get_or_insert_with(|| Limit {
                group: running.group(),
                resource,
                before,
            });
        }
        limit.ok_or_else(|| anyhow!("the server has no process to limit"))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Of all that there are now: a child that was forked meanwhile has it, too.
        for process in group_members(self.group).unwrap_or_default() {
            let _ = set(process.pid, self.resource, self.before);
        }
    }
}

/// Returns what it was before.
fn set(pid: Pid, resource: Resource, limit: Rlimit) -> io::Result<Rlimit> {
    let pid = process::Pid::from_raw(pid.as_raw());
    Ok(prlimit(pid, resource, limit)?)
}
