//! A limit on processes and threads: a pids cgroup of version 1 or 2.
//!
//! Unlike RLIMIT_NPROC it also binds root, and it binds only the server.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, ensure};
use loadgen::cgroup;
use nix::errno::Errno;
use nix::unistd::Pid;

use crate::conformance::kit::server::ServerUnderTest;
use crate::conformance::kit::setup::Unsupported;
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::proc::processes::tasks;
use crate::server::guard::remove;

/// A cgroup that contains the processes of one server. Dropping it moves them back.
#[derive(Debug)]
pub struct PidsCgroup {
    folder: PathBuf,
    /// The cgroup that the processes came from.
    home: PathBuf,
}

impl PidsCgroup {
    /// Moves a server into a new cgroup, without a limit yet.
    pub fn around(server: &ServerUnderTest) -> anyhow::Result<Self> {
        let unsupported = |error: io::Error| {
            Unsupported(format!(
                "cannot create a pids cgroup ({error}): run as root, or where the pids controller is delegated"
            ))
        };
        let home = folder_of(Pid::this()).map_err(unsupported)?;
        let folder = parent_for(&home).join(unique_name());
        // Registered first, so that it is removed even if the harness dies right after.
        server.remove_at_end(&folder)?;
        fs::create_dir(&folder).map_err(unsupported)?;
        // From here on an early return removes it.
        let cgroup = PidsCgroup { folder, home };
        // A folder without the controller does not have this file.
        fs::metadata(cgroup.folder.join("pids.max")).map_err(unsupported)?;
        let mut threads = 0;
        for process in server.processes()? {
            let pid = process.pid.to_string();
            match fs::write(cgroup.folder.join("cgroup.procs"), pid) {
                // It has just ended.
                Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => continue,
                written => written.map_err(unsupported)?,
            }
            threads += tasks(process.pid).len();
        }
        let held = cgroup.number("pids.current")?;
        ensure!(
            held >= threads,
            "the cgroup counts {held} tasks, but the server has {threads} threads: it cannot limit them"
        );
        Ok(cgroup)
    }

    /// Allows no more tasks than there are now.
    pub fn close(&self) -> anyhow::Result<()> {
        let held = self.number("pids.current")?;
        self.limit(&held.to_string())
    }

    /// Allows no new task, not even to replace one that ends.
    pub fn forbid(&self) -> anyhow::Result<()> {
        self.limit("0")
    }

    /// Removes the limit.
    pub fn open(&self) -> anyhow::Result<()> {
        self.limit("max")
    }

    /// How often it has refused a new task.
    pub fn refusals(&self) -> anyhow::Result<usize> {
        let events = fs::read_to_string(self.folder.join("pids.events"))?;
        let count = events.lines().find_map(|line| line.strip_prefix("max "));
        count.unwrap_or("0").parse().context("pids.events")
    }

    fn limit(&self, most: &str) -> anyhow::Result<()> {
        fs::write(self.folder.join("pids.max"), most).context("pids.max")
    }

    fn number(&self, file: &str) -> anyhow::Result<usize> {
        let text = fs::read_to_string(self.folder.join(file)).context(file.to_owned())?;
        text.trim().parse().context(file.to_owned())
    }
}

impl Drop for PidsCgroup {
    fn drop(&mut self) {
        let is_removed = || {
            // One at a time: the file takes no list. A process that has just ended need not move.
            let members = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines() {
                let _ = fs::write(self.home.join("cgroup.procs"), pid);
            }
            remove(&self.folder).is_ok()
        };
        // A killed process is a member until it has ended.
        wait_until(STALL, is_removed);
    }
}

/// The folder of a process's pids cgroup: in version 1 if it has the controller, else in version 2.
pub fn folder_of(pid: Pid) -> io::Result<PathBuf> {
    let cgroups = cgroup::of(Path::new(&format!("/proc/{pid}")), "pids")?;
    let first = cgroups.into_iter().next().map(|cgroup| cgroup.folder);
    first.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is no pids controller"))
}

/// Where a new cgroup has the controller. In version 2 the parent must enable it, which a cgroup
/// that has processes, such as that of the harness, cannot do; then the cgroup becomes a sibling.
fn parent_for(home: &Path) -> PathBuf {
    let switch = home.join("cgroup.subtree_control");
    let is_second = switch.exists();
    let is_enabled =
        || fs::read_to_string(&switch).is_ok_and(|list| list.split(' ').any(|it| it.trim() == "pids"));
    if !is_second || is_enabled() || fs::write(&switch, "+pids").is_ok() {
        return home.into();
    }
    home.parent().unwrap_or(home).into()
}

fn unique_name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("echobench-{}-{}", process::id(), NUMBER.fetch_add(1, Relaxed))
}
