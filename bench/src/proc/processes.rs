//! Processes: one, a family, or a group.
//!
//! Processes start and end during a read. A process that ends meanwhile is left out.

use std::fs;
use std::io;
use std::path::PathBuf;

use nix::unistd::Pid;
use procfs::process::{self, Stat};

/// One process, from `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: Pid,
    /// `R` runs, `S` sleeps, `T` is stopped, `Z` is a zombie (proc_pid_stat(5)).
    pub state: char,
    /// Process group.
    pub group: Pid,
    /// CPU time of its children that have been waited for, and of their children, in clock
    /// ticks.
    pub children_ticks: u64,
}

impl From<Stat> for Process {
    fn from(stat: Stat) -> Self {
        let ticks = stat.cutime + stat.cstime;
        Process {
            pid: Pid::from_raw(stat.pid),
            state: stat.state,
            group: Pid::from_raw(stat.pgrp),
            children_ticks: u64::try_from(ticks).unwrap_or(0),
        }
    }
}

/// Reads a process; `None` if it does not exist.
pub fn process(pid: Pid) -> Option<Process> {
    let process = process::Process::new(pid.as_raw()).ok()?;
    process.stat().ok().map(Process::from)
}

/// Whether this kernel lists the children of a process (CONFIG_PROC_CHILDREN), which
/// [`family`] needs.
pub fn lists_children() -> bool {
    let this = Pid::this();
    fs::exists(format!("/proc/{this}/task/{this}/children")).unwrap_or(false)
}

/// A process and its descendants, parents before children.
///
/// Read by hand: the meter calls this at both ends of a window, and with 1,000 processes
/// `procfs` takes 24 ms where this takes 16 ms.
pub fn family(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

/// The children of all threads of a process; empty if it does not exist.
pub fn children(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for task in tasks(pid) {
        let children = fs::read_to_string(task.join("children")).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        found.extend(pids.map(Pid::from_raw));
    }
    found
}

/// The processes of a group except its leader, zombies included.
pub fn group_members(group: Pid) -> io::Result<Vec<Process>> {
    let all = process::all_processes().map_err(io::Error::other)?;
    let stats = all.flatten().flat_map(|process| process.stat());
    let mut members: Vec<Process> = stats.map(Process::from).collect();
    members.retain(|process| process.group == group && process.pid != group);
    Ok(members)
}

/// The folders of a process's threads; empty if the process does not exist.
pub fn tasks(pid: Pid) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The same without kernel threads: the kernel keeps io_uring workers (`iou-wrk-N`) in the
/// process long after their last use.
pub fn own_tasks(pid: Pid) -> Vec<PathBuf> {
    let mut tasks = tasks(pid);
    tasks.retain(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| !name.starts_with("iou-wrk")));
    tasks
}

/// Whether every thread of a process is stopped, as after SIGSTOP: one that waits for a processor
/// when the signal comes runs on for a moment. True of a process that has ended.
pub fn is_stopped(pid: Pid) -> bool {
    let state = |task: &PathBuf| -> Option<char> {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        // After the name, which may contain anything.
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    let states = own_tasks(pid);
    states
        .iter()
        .filter_map(state)
        .all(|state| matches!(state, 'T' | 't' | 'Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpgrp;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_stopped_from_sigstop_to_sigcont() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        assert!(!is_stopped(pid));
        for (signal, stopped) in [(Signal::SIGSTOP, true), (Signal::SIGCONT, false)] {
            kill(pid, signal).unwrap();
            while is_stopped(pid) != stopped {
                std::thread::yield_now();
            }
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(is_stopped(pid), "it has ended");
    }

    #[test]
    fn a_child_belongs_to_the_family_and_is_a_zombie_until_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        assert_eq!(process(pid).unwrap().group, getpgrp());
        assert!(family(Pid::this()).contains(&pid));
        let is_member = |process: &Process| process.pid == pid;
        let is_leader = getpgrp() == pid;
        assert_eq!(
            group_members(getpgrp()).unwrap().iter().any(is_member),
            !is_leader
        );
        drop(child.stdin.take());
        while process(pid).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(process(pid), None);
    }
}
