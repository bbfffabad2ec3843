//! No room for another process or thread: a pids cgroup, of version 1 or 2.
//!
//! It binds root as well, which RLIMIT_NPROC does not, and nobody but the server.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::unistd::Pid;

use crate::conformance::client::{STALL, wait_until};
use crate::conformance::{NotHere, Running};
use crate::proc::processes::tasks;
use crate::server::guard::remove;

/// A cgroup with the processes of one server in it; dropping it moves them back.
#[derive(Debug)]
pub struct PidsCgroup {
    folder: PathBuf,
    /// Where the processes have been before.
    home: PathBuf,
}

impl PidsCgroup {
    /// Moves a server into a cgroup of its own, without a limit so far.
    pub fn around(running: &Running) -> anyhow::Result<Self> {
        let not_here = |error: io::Error| {
            NotHere(format!(
                "no pids cgroup can be made ({error}): run as root, or where the pids controller is delegated"
            ))
        };
        let home = folder_of(Pid::this()).map_err(not_here)?;
        let folder = parent_for(&home).join(unique_name());
        // Told of first: there is no moment at which nobody would remove it.
        running.remove_at_end(&folder)?;
        fs::create_dir(&folder).map_err(not_here)?;
        // From here on an early return removes it.
        let cgroup = PidsCgroup { folder, home };
        // A folder that is none of the controller's has no such file.
        fs::metadata(cgroup.folder.join("pids.max")).map_err(not_here)?;
        let mut threads = 0;
        for process in running.processes()? {
            let pid = process.pid.to_string();
            match fs::write(cgroup.folder.join("cgroup.procs"), pid) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => continue,
                written => written.map_err(not_here)?,
            }
            threads += tasks(process.pid).len();
        }
        let held = cgroup.number("pids.current")?;
        ensure!(
            held >= threads,
            "a cgroup counts {held} where the server has {threads} threads: it cannot limit them"
        );
        Ok(cgroup)
    }

    /// Lets nothing be started in it beside what there is now.
    pub fn close(&self) -> anyhow::Result<()> {
        let held = self.number("pids.current")?;
        self.limit(&held.to_string())
    }

    /// Lets nothing be started in it, not even in the place of what ends.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.limit("0")
    }

    /// Lets anything be started again.
    pub fn open(&self) -> anyhow::Result<()> {
        self.limit("max")
    }

    /// How often it has refused to let something be started.
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
        let is_left = || {
            // By one: the file takes no list. One that ends meanwhile needs not to be moved.
            let members = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines() {
                let _ = fs::write(self.home.join("cgroup.procs"), pid);
            }
            remove(&self.folder).is_ok()
        };
        // What has been killed holds its place until it has ended.
        wait_until(STALL, is_left);
    }
}

/// The folder of the pids cgroup that a process is in.
pub fn folder_of(pid: Pid) -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let member = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    find(&mounts, &member).ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is no pids controller"))
}

/// Version 1 if it has the controller, else version 2.
fn find(mounts: &str, member: &str) -> Option<PathBuf> {
    let first = mount(mounts, "cgroup", Some("pids")).zip(path(member, "pids"));
    let second = || mount(mounts, "cgroup2", None).zip(path(member, ""));
    let (mount, path) = first.or_else(second)?;
    Some(Path::new(mount).join(path.trim_start_matches('/')))
}

/// Where a file system of that kind, with that option, is mounted.
fn mount<'a>(mounts: &'a str, kind: &str, option: Option<&str>) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[_, place, this, options, ..] = &fields[..] else {
            return None;
        };
        let has_option = option.is_none_or(|option| options.split(',').any(|this| this == option));
        (this == kind && has_option).then_some(place)
    })
}

/// The path of a process in the hierarchy of a controller, which version 2 leaves empty.
fn path<'a>(member: &'a str, controller: &str) -> Option<&'a str> {
    member.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        let is_it = controllers.split(',').any(|this| this == controller);
        is_it.then(|| fields.next())?
    })
}

/// Where a new cgroup has the controller. In version 2 it needs to be enabled above it, which
/// it cannot be in a cgroup that has processes, such as that of the harness: then beside it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_is_found_by_its_controller_and_the_second_by_its_kind() {
        let first = "cgroup /cg/cpu cgroup rw,cpu 0 0\ncgroup /cg/pids cgroup rw,relatime,pids 0 0\n";
        let second = "cgroup2 /cg/unified cgroup2 rw,relatime 0 0\n";
        let member = "8:pids:/a\n4:memory:/b\n0::/c\n";
        let found = |mounts: &str| find(mounts, member);
        assert_eq!(found(&(first.to_owned() + second)), Some("/cg/pids/a".into()));
        assert_eq!(found(second), Some("/cg/unified/c".into()));
        assert_eq!(found(""), None);
    }
}
