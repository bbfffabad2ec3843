//! A process and all that came from it, as `/proc` shows them.
//!
//! Processes come and go while this looks: one that is gone meanwhile is passed over.

use std::fs;
use std::path::PathBuf;

use nix::unistd::Pid;

/// The process and its descendants that are there now, parents before children.
pub fn members(root: Pid) -> Vec<Pid> {
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

/// The folders of a process's threads.
pub fn tasks(pid: Pid) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The fields of `/proc/PID/stat` from the third (the state) on: the second, the name,
/// may hold anything but ends with the last parenthesis.
pub fn stat(pid: Pid) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
