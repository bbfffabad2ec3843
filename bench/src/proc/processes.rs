//! Processes as `/proc` shows them: one, a family, or a group.
//!
//! Processes come and go while this looks: one that is gone meanwhile is passed over.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use nix::unistd::Pid;

/// One process, as far as `stat` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// `R` runs, `S` sleeps, `T` is stopped, `Z` is a zombie (proc_pid_stat(5)).
    pub state: char,
    /// Its process group.
    pub group: Pid,
    /// CPU time of its children that have ended and were collected, and of theirs, in
    /// clock ticks.
    pub children_ticks: u64,
    /// Its threads.
    pub threads: usize,
}

/// A process; `None` once it is gone.
pub fn process(pid: Pid) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether this kernel lists the children of a process; without that (it is built with
/// CONFIG_PROC_CHILDREN nearly everywhere) a family cannot be seen.
pub fn shows_families() -> bool {
    let this = nix::unistd::getpid();
    fs::exists(format!("/proc/{this}/task/{this}/children")).unwrap_or(false)
}

/// A process and its descendants that are there now, parents before children.
pub fn family(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        for task in tasks(found[next]) {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            found.extend(pids.map(Pid::from_raw));
        }
        next += 1;
    }
    found
}

/// The processes of a group without its leader, zombies included.
pub fn group_members(group: Pid) -> io::Result<Vec<Process>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        members.extend(process(Pid::from_raw(pid)).filter(|process| process.group == group));
    }
    members.retain(|process| process.pid != group);
    Ok(members)
}

/// The folders of a process's threads; none once it is gone.
pub fn tasks(pid: Pid) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The same without the threads of the kernel: for an io_uring it keeps a worker in the
/// process, named `iou-wrk` and a number, long after there was any use.
pub fn own_tasks(pid: Pid) -> Vec<PathBuf> {
    let mut tasks = tasks(pid);
    tasks.retain(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| !name.starts_with("iou-wrk")));
    tasks
}

/// The descriptors that a process has open, by number; none once it is gone.
pub fn descriptors(pid: Pid) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let numbers = entries.map_while(Result::ok);
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Whether a process has an io_uring open, as far as it may be looked at.
pub fn has_ring(pid: Pid) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let is_ring = |entry: fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]")
    };
    entries.flatten().any(is_ring)
}

/// The sockets that a process has open, by inode; none once it is gone, or where it may
/// not be looked at.
pub fn sockets(pid: Pid) -> Vec<u64> {
    open_sockets(pid).into_iter().map(|(_, inode)| inode).collect()
}

/// The descriptors of these sockets.
pub fn socket_descriptors(pid: Pid) -> Vec<RawFd> {
    open_sockets(pid)
        .into_iter()
        .map(|(descriptor, _)| descriptor)
        .collect()
}

fn open_sockets(pid: Pid) -> Vec<(RawFd, u64)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let socket = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        let descriptor = entry.file_name().to_str()?.parse().ok()?;
        Some((descriptor, inode.parse().ok()?))
    };
    entries.flatten().filter_map(socket).collect()
}

fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    // The name stands in parentheses and may hold any character, parentheses included.
    // Counted from behind it, a field is three less than in proc_pid_stat(5).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        pid: Pid::from_raw(pid),
        state: fields.first()?.chars().next()?,
        group: Pid::from_raw(fields.get(2)?.parse().ok()?),
        children_ticks: number(13)? + number(14)?,
        threads: number(17)? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::getpgrp;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) Z 7 99 98 0 -1 4 0 0 0 0 1 2 30 40 20 0 3 0 5";
        let expected = Process {
            pid: Pid::from_raw(42),
            state: 'Z',
            group: Pid::from_raw(99),
            children_ticks: 70,
            threads: 3,
        };
        assert_eq!(parse_stat(stat), Some(expected));
    }

    #[test]
    fn a_child_is_family_and_a_zombie_until_it_is_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        assert_eq!(process(pid).unwrap().group, getpgrp());
        assert!(family(nix::unistd::getpid()).contains(&pid));
        drop(child.stdin.take());
        while process(pid).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(process(pid), None);
    }
}
