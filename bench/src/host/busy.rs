//! CPU time that all programs together have used on some processors.
//!
//! A slice is short, so nanoseconds are needed; `/proc/stat` has steps of 10 ms. Cgroups of version 1
//! count them (`cpuacct.usage_percpu`), and the scheduler does, whatever the version, in kernels with
//! CONFIG_SCHEDSTATS (`/proc/schedstat`; up to the last switch of tasks). In a container the files of
//! cgroups may be those of the container, so that others do not show; `/proc/schedstat` is the host's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where version 1 of the controller is mounted: alone, or with another.
const MOUNTS: [&str; 3] = [
    "/sys/fs/cgroup/cpuacct",
    "/sys/fs/cgroup/cpu,cpuacct",
    "/sys/fs/cgroup/cpuacct,cpu",
];

const SCHEDSTAT: &str = "/proc/schedstat";

/// Reads the CPU time that all programs have used on some processors.
#[derive(Debug)]
pub struct BusyClock {
    cpus: Vec<usize>,
    file: PathBuf,
    parse: fn(&str, &[usize]) -> Option<Duration>,
    /// `schedstat` of the threads that carry packets when much arrives: on loopback, work of the load.
    softirq: Vec<PathBuf>,
}

impl BusyClock {
    /// A clock of these processors; `None` if this host does not count the time finely enough.
    pub fn new(mut cpus: Vec<usize>) -> Option<Self> {
        cpus.sort_unstable();
        cpus.dedup();
        let softirq = softirq_threads(&cpus);
        let accounts = MOUNTS
            .iter()
            .map(|mount| Path::new(mount).join("cpuacct.usage_percpu"));
        let accounts = accounts.map(|file| (file, of_accounts as fn(&str, &[usize]) -> _));
        let mut clocks = accounts
            .chain([(SCHEDSTAT.into(), of_scheduler as _)])
            .map(|(file, parse)| BusyClock {
                cpus: cpus.clone(),
                file,
                parse,
                softirq: softirq.clone(),
            });
        clocks.find(|clock| clock.read().is_some())
    }

    /// How many processors it is of.
    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// The time so far, without that of the kernel's packet threads.
    pub fn read(&self) -> Option<Duration> {
        // These first: what they use in between counts as that of others, and never the other way.
        let softirq: Duration = self.softirq.iter().filter_map(|file| of_task(file)).sum();
        let all = (self.parse)(&fs::read_to_string(&self.file).ok()?, &self.cpus)?;
        Some(all.saturating_sub(softirq))
    }
}

/// The file has a number of nanoseconds for each processor.
fn of_accounts(text: &str, cpus: &[usize]) -> Option<Duration> {
    let all: Option<Vec<u64>> = text
        .split_whitespace()
        .map(|number| number.parse().ok())
        .collect();
    let all = all?;
    let sum: Option<u64> = cpus.iter().map(|&cpu| all.get(cpu)).sum();
    sum.map(Duration::from_nanos)
}

/// The seventh number of a processor: nanoseconds that tasks ran on it.
fn of_scheduler(text: &str, cpus: &[usize]) -> Option<Duration> {
    let of_cpu = |cpu: &usize| -> Option<u64> {
        let name = format!("cpu{cpu}");
        let mut lines = text.lines().map(str::split_whitespace);
        let mut line = lines.find_map(|mut line| (line.next() == Some(&name)).then_some(line))?;
        line.nth(6)?.parse().ok()
    };
    let sum: Option<u64> = cpus.iter().map(of_cpu).sum();
    sum.map(Duration::from_nanos)
}

fn of_task(schedstat: &Path) -> Option<Duration> {
    let text = fs::read_to_string(schedstat).ok()?;
    let ran = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(ran))
}

/// None in a container, which does not see the threads of the kernel.
fn softirq_threads(cpus: &[usize]) -> Vec<PathBuf> {
    let Ok(all) = procfs::process::all_processes() else {
        return Vec::new();
    };
    let names: Vec<String> = cpus.iter().map(|cpu| format!("ksoftirqd/{cpu}")).collect();
    all.flatten()
        .filter(|process| process.stat().is_ok_and(|stat| names.contains(&stat.comm)))
        .map(|process| PathBuf::from(format!("/proc/{}/schedstat", process.pid)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_chosen_processors_is_read() {
        let text = "100 20 3 \n";
        assert_eq!(of_accounts(text, &[0, 2]), Some(Duration::from_nanos(103)));
        assert_eq!(of_accounts(text, &[3]), None);
        assert_eq!(of_accounts("100 x", &[0]), None);
        assert_eq!(of_accounts("", &[0]), None);
        let text = "version 17\ntimestamp 4295\ncpu0 0 0 5 6 7 8 900 11 12\ndomain0 MC 3 0 0\ncpu1 0 0 5 6 7 8 70 11 12\n\
                    cpu10 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(of_scheduler(text, &[0, 1]), Some(Duration::from_nanos(970)));
        assert_eq!(of_scheduler(text, &[2]), None);
    }

    #[test]
    fn packet_threads_of_the_chosen_processors_are_found_where_they_can_be_seen() {
        let visible = procfs::process::Process::new(2)
            .is_ok_and(|kernel| kernel.stat().is_ok_and(|stat| stat.comm == "kthreadd"));
        let found = softirq_threads(&[0]);
        assert_eq!(found.len(), usize::from(visible), "{found:?}");
        assert!(found.iter().all(|file| of_task(file).is_some()));
        assert!(softirq_threads(&[]).is_empty());
    }
}
