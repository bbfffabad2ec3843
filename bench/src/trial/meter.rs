//! What a server costs, read from outside while it runs.
//!
//! CPU time comes from the CPU clock of every live process of its tree, which counts
//! nanoseconds and its ended threads too; for children that have ended and been
//! collected from their parent's `/proc/PID/stat`, in steps of 10 ms.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadgen::Observer;
use loadgen::record::Cost;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::proc::processes::{family, process, shows_families, tasks};

/// Meters one process tree over the window of a load.
#[derive(Debug)]
pub struct Meter {
    root: Pid,
    opened: Option<Opened>,
    cost: Option<Cost>,
}

/// What has to be known from the start of the window.
#[derive(Debug)]
struct Opened {
    cpu: Duration,
    switches: HashMap<PathBuf, Switches>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

impl Meter {
    /// A meter of the tree that grows from `root`.
    pub fn new(root: Pid) -> Self {
        Meter {
            root,
            opened: None,
            cost: None,
        }
    }

    /// The cost of the window, spread over `echoes`; `None` when there was no window.
    pub fn cost(self, echoes: u64) -> Option<Cost> {
        let cost = self.cost?;
        let cpu_us_per_echo = (echoes > 0).then(|| cost.cpu_s * 1e6 / echoes as f64);
        Some(Cost {
            cpu_us_per_echo,
            ..cost
        })
    }
}

impl Observer for Meter {
    /// The clocks last: what takes long must not lie between them and the window.
    fn window_opened(&mut self) {
        if !shows_families() {
            return; // No cost is better than one that leaves the children out.
        }
        let pids = family(self.root);
        let switches = pids
            .iter()
            .flat_map(|&pid| tasks(pid))
            .map(|task| (task.clone(), switches(&task)))
            .collect();
        self.opened = Some(Opened {
            cpu: cpu_time(&pids),
            switches,
        });
    }

    /// The clocks first, for the same reason.
    fn window_closed(&mut self) {
        let Some(opened) = &self.opened else { return };
        let pids = family(self.root);
        let cpu = cpu_time(&pids).saturating_sub(opened.cpu);
        let mut cost = Cost {
            cpu_s: cpu.as_secs_f64(),
            processes: pids.len() as u32,
            pss_bytes: pss_bytes(&pids),
            ..Cost::default()
        };
        for task in pids.iter().flat_map(|&pid| tasks(pid)) {
            let before = opened.switches.get(&task).copied().unwrap_or_default();
            let after = switches(&task);
            cost.voluntary_switches += after.voluntary.saturating_sub(before.voluntary);
            cost.involuntary_switches += after.involuntary.saturating_sub(before.involuntary);
            cost.threads += 1;
        }
        self.cost = Some(cost);
    }
}

/// CPU time that a process tree has used since it began: `pids` are its live members.
pub fn cpu_time(pids: &[Pid]) -> Duration {
    pids.iter()
        .map(|&pid| own_cpu_time(pid) + children_cpu_time(pid))
        .sum()
}

fn own_cpu_time(pid: Pid) -> Duration {
    let time = clock_getcpuclockid(pid).and_then(clock_gettime);
    time.map_or(Duration::ZERO, Duration::from)
}

/// Of children that have ended and were collected, and of theirs.
fn children_cpu_time(pid: Pid) -> Duration {
    let ticks = process(pid).map_or(0, |process| process.children_ticks);
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

fn switches(task: &Path) -> Switches {
    let text = fs::read_to_string(task.join("status")).unwrap_or_default();
    Switches {
        voluntary: number_after(&text, "voluntary_ctxt_switches:").unwrap_or(0),
        involuntary: number_after(&text, "nonvoluntary_ctxt_switches:").unwrap_or(0),
    }
}

/// Memory of processes in user space, a page that several share split between them.
///
/// Needs the permission to trace; without it there is no number.
pub fn pss_bytes(pids: &[Pid]) -> Option<u64> {
    rollup_bytes(pids, "Pss:")
}

/// The same without files, whose pages count for the less the more others have them mapped,
/// such as this very program.
pub fn anonymous_pss_bytes(pids: &[Pid]) -> Option<u64> {
    Some(rollup_bytes(pids, "Pss_Anon:")? + rollup_bytes(pids, "Pss_Shmem:")?)
}

/// Sums a line of `smaps_rollup`, which counts in kibibytes, over processes.
fn rollup_bytes(pids: &[Pid], name: &str) -> Option<u64> {
    let bytes = |pid: &Pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        number_after(&text, name).map(|kibibytes| kibibytes * 1024)
    };
    pids.iter().map(bytes).sum()
}

/// The number in the line that begins with `name`.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_at_the_start_of_a_line_alone() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(number_after(status, "voluntary_ctxt_switches:"), Some(150));
        assert_eq!(number_after(status, "nonvoluntary_ctxt_switches:"), Some(545));
        assert_eq!(number_after(status, "Pss:"), None);
    }

    #[test]
    fn this_process_uses_processor_time_and_memory() {
        let this = nix::unistd::getpid();
        let before = own_cpu_time(this);
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert!(own_cpu_time(this) > before);
        assert!(pss_bytes(&[this]).is_none_or(|bytes| bytes > 4096));
    }
}
