//! Processes: one, a family, or all that a guard has to end.
//!
//! Processes start and end during a read. A process that ends meanwhile is left out.

use std::collections::BTreeSet;
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
    /// Its parent; that of an orphan is the nearest subreaper, or init.
    pub parent: Pid,
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
            parent: Pid::from_raw(stat.ppid),
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
pub fn family(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    found.extend(descendants(root));
    found
}

/// The descendants of a process, parents before children.
///
/// Read by hand: the meter calls this at both ends of a window, and with 1,000 processes
/// `procfs` takes 24 ms where this takes 16 ms.
pub fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = children(root);
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

/// The processes that a guard has to end, zombies included: its descendants, whatever group and
/// session they are in, and the group that it leads. The guard is none of them.
///
/// Needs no CONFIG_PROC_CHILDREN, and finds the members of the group also while their parents end.
pub fn guarded_by(guard: Pid) -> io::Result<Vec<Process>> {
    let all = process::all_processes().map_err(io::Error::other)?;
    let stats = all.flatten().flat_map(|process| process.stat());
    let all: Vec<Process> = stats.map(Process::from).collect();
    let mut known: BTreeSet<Pid> = { all.iter() }
        .filter(|process| process.group == guard)
        .map(|process| process.pid)
        .chain([guard])
        .collect();
    loop {
        let is_found = |process: &&Process| known.contains(&process.parent) && !known.contains(&process.pid);
        let children: Vec<Pid> = all.iter().filter(is_found).map(|process| process.pid).collect();
        if children.is_empty() {
            break;
        }
        known.extend(children);
    }
    known.remove(&guard);
    Ok(all
        .into_iter()
        .filter(|process| known.contains(&process.pid))
        .collect())
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
    tasks.retain(|task| super::read(task.join("comm")).is_ok_and(|name| !name.starts_with("iou-wrk")));
    tasks
}

/// Whether every thread of a process is stopped, as after SIGSTOP: one that waits for a processor
/// when the signal comes runs on for a moment. True of a process that has ended.
pub fn is_stopped(pid: Pid) -> bool {
    let state = |task: &PathBuf| -> Option<char> {
        let stat = super::read(task.join("stat")).ok()?;
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
    use crate::proc::usage::Switches;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpgrp;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_whose_name_is_not_utf_8_is_found_like_any_other() {
        let mut child = Command::new("sh")
            .args(["-c", r"printf '\377' > /proc/$$/comm; echo; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        assert_eq!(fs::read(format!("/proc/{pid}/comm")).unwrap(), b"\xff\n");
        let found = guarded_by(Pid::this()).unwrap();
        assert!(found.iter().any(|process| process.pid == pid));
        let tasks = own_tasks(pid);
        assert_eq!(tasks.len(), 1);
        assert!(!is_stopped(pid));
        // It waits for a line at last.
        while Switches::of(&tasks[0]).voluntary == 0 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

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
        assert_eq!(process(pid).unwrap().parent, Pid::this());
        assert_eq!(descendants(pid), []);
        drop(child.stdin.take());
        while process(pid).unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(process(pid), None);
    }

    #[test]
    fn descendants_are_guarded_in_any_group_and_members_of_the_group_also_as_orphans() {
        let mut leader = Command::new("cat")
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let guard = Pid::from_raw(leader.id() as i32);
        // A child of this test that is a member, with a child that leads its own session.
        let mut member = Command::new("sh")
            .args(["-c", "setsid sleep 60 & echo $!; wait"])
            .process_group(guard.as_raw())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(member.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let session = Pid::from_raw(line.trim().parse().unwrap());
        while process(session).is_none_or(|process| process.group == guard) {
            std::thread::yield_now();
        }
        let pids = |processes: Vec<Process>| {
            processes
                .iter()
                .map(|process| process.pid)
                .collect::<BTreeSet<_>>()
        };
        let expected = BTreeSet::from([Pid::from_raw(member.id() as i32), session]);
        assert_eq!(pids(guarded_by(guard).unwrap()), expected);
        kill(session, Signal::SIGKILL).unwrap();
        for child in [&mut member, &mut leader] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
