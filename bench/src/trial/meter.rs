//! Meters the cost of a server from outside, over the window of a load.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use loadgen::Observer;
use loadgen::quota::QuotaClock;
use nix::unistd::Pid;
use record::Cost;

use crate::proc::processes::{descendants, lists_children, tasks};
use crate::proc::usage::{Switches, children_cpu_time, cpu_time, pss_bytes};

/// Meters the processes of one server over the window of a load.
#[derive(Debug)]
pub struct Meter {
    guard: Pid,
    /// How many processors the server has.
    processors: usize,
    opened: Option<Opened>,
    cost: Option<Cost>,
}

/// Readings at the start of the window.
#[derive(Debug)]
struct Opened {
    cpu: Duration,
    switches: HashMap<PathBuf, Switches>,
    quotas: Vec<QuotaClock>,
}

impl Meter {
    /// A meter of the server that has this guard and runs on that number of processors.
    pub fn new(guard: Pid, processors: usize) -> Self {
        Meter {
            guard,
            processors,
            opened: None,
            cost: None,
        }
    }

    /// CPU time of these processes, with that of orphans that have ended: the guard, which is none of
    /// them, waited for those.
    fn cpu_time(&self, processes: &[Pid]) -> Duration {
        cpu_time(processes) + children_cpu_time(self.guard)
    }

    /// The cost of the window, divided by `echoes`; `None` if there was no window.
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
    /// Reads the clocks last, so that the slow readings do not lie between them and the window.
    fn window_opened(&mut self) {
        if !lists_children() {
            return; // No cost is better than one without the children.
        }
        let pids = descendants(self.guard);
        let switches = pids
            .iter()
            .flat_map(|&pid| tasks(pid))
            .map(|task| (task.clone(), Switches::of(&task)))
            .collect();
        self.opened = Some(Opened {
            quotas: quotas(&pids),
            cpu: self.cpu_time(&pids),
            switches,
        });
    }

    /// Reads the clocks first, for the same reason. A window closes once.
    fn window_closed(&mut self) {
        let Some(opened) = self.opened.take() else { return };
        let pids = descendants(self.guard);
        let cpu = self.cpu_time(&pids).saturating_sub(opened.cpu);
        let mut cost = Cost {
            cpu_s: cpu.as_secs_f64(),
            processes: pids.len() as u32,
            throttling: { opened.quotas.iter() }
                .map(|quota| quota.read(self.processors))
                .max_by(|one, other| one.share.total_cmp(&other.share)),
            pss_bytes: pss_bytes(&pids),
            ..Cost::default()
        };
        for task in pids.iter().flat_map(|&pid| tasks(pid)) {
            let before = opened.switches.get(&task).copied().unwrap_or_default();
            let after = Switches::of(&task);
            cost.voluntary_switches += after.voluntary.saturating_sub(before.voluntary);
            cost.involuntary_switches += after.involuntary.saturating_sub(before.involuntary);
            cost.threads += 1;
        }
        self.cost = Some(cost);
    }
}

/// A clock for each cgroup that has a quota and some of these processes. Mostly all are in one.
fn quotas(pids: &[Pid]) -> Vec<QuotaClock> {
    let mut seen = HashSet::new();
    let folders = pids.iter().map(|pid| PathBuf::from(format!("/proc/{pid}")));
    folders
        .filter(|process| fs::read(process.join("cgroup")).is_ok_and(|member| seen.insert(member)))
        .filter_map(|process| QuotaClock::start(&process))
        .collect()
}
