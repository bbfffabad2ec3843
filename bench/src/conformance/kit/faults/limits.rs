//! Lower resource limits for a running server: `prlimit(2)`.

use std::io;

use anyhow::{Context, anyhow};
use nix::unistd::Pid;
use rustix::process::{self, Resource, Rlimit, getrlimit, prlimit};

use crate::conformance::kit::server::ServerUnderTest;
use crate::proc::processes::guarded_by;

/// A limit on all processes of a server. Dropping it restores the limit that the first process
/// had, which is what all of them started with.
#[derive(Debug)]
pub struct Limit {
    guard: Pid,
    resource: Resource,
    before: Rlimit,
}

impl Limit {
    /// Limits each process to what `most` returns for it. Only the soft limit is lowered, so
    /// raising it again needs no privilege.
    pub fn lower(
        server: &ServerUnderTest,
        resource: Resource,
        most: impl Fn(Pid) -> u64,
    ) -> anyhow::Result<Self> {
        // The hard limit of a server is that of the harness; it has raised its soft limit to it.
        let hard = getrlimit(resource).maximum;
        let mut limit = None;
        for process in server.processes()? {
            let lower = Rlimit {
                current: Some(most(process.pid)),
                maximum: hard,
            };
            let before = set(process.pid, resource, lower)
                .with_context(|| format!("cannot limit {resource:?} of process {}", process.pid))?;
            // From here on an early return restores the limit. Created only once, because every
            // value restores it on drop.
            limit.get_or_insert_with(|| Limit {
                guard: server.guard(),
                resource,
                before,
            });
        }
        limit.ok_or_else(|| anyhow!("the server has no process to limit"))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Children forked since then have inherited the limit.
        for process in guarded_by(self.guard).unwrap_or_default() {
            let _ = set(process.pid, self.resource, self.before);
        }
    }
}

/// Returns the previous limit.
fn set(pid: Pid, resource: Resource, limit: Rlimit) -> io::Result<Rlimit> {
    let pid = process::Pid::from_raw(pid.as_raw());
    Ok(prlimit(pid, resource, limit)?)
}
