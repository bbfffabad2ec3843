//! What processes use: CPU time, memory and context switches.
//!
//! The CPU clock of a live process counts nanoseconds and includes its ended threads. For
//! children that have been waited for, `/proc/PID/stat` of their parent counts steps of 10 ms.

use std::path::Path;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process;
use procfs::ticks_per_second;

use super::processes;

/// CPU time that a process tree has used since it started; `pids` are its live members.
pub fn cpu_time(pids: &[Pid]) -> Duration {
    pids.iter()
        .map(|&pid| own_cpu_time(pid).unwrap_or_default() + children_cpu_time(pid))
        .sum()
}

/// CPU time of a process, with its ended threads; `None` if it does not exist.
pub fn own_cpu_time(pid: Pid) -> Option<Duration> {
    let time = clock_getcpuclockid(pid).and_then(clock_gettime);
    time.ok().map(Duration::from)
}

/// CPU time of the children that have been waited for, and of their children.
pub fn children_cpu_time(pid: Pid) -> Duration {
    let ticks = processes::process(pid).map_or(0, |process| process.children_ticks);
    Duration::from_secs_f64(ticks as f64 / ticks_per_second() as f64)
}

/// User-space memory of processes (PSS: a page that several share is split between them).
///
/// `None` without the permission to trace.
pub fn pss_bytes(pids: &[Pid]) -> Option<u64> {
    rollup_bytes(pids, &["Pss"])
}

/// PSS without mapped files. The share of a file's pages depends on how many other processes
/// map it, such as this executable.
pub fn anonymous_pss_bytes(pids: &[Pid]) -> Option<u64> {
    rollup_bytes(pids, &["Pss_Anon", "Pss_Shmem"])
}

/// Sums fields of `smaps_rollup` over processes.
fn rollup_bytes(pids: &[Pid], fields: &[&str]) -> Option<u64> {
    let bytes = |pid: &Pid| -> Option<u64> {
        let rollup = process::Process::new(pid.as_raw()).ok()?.smaps_rollup().ok()?;
        let total = &rollup.memory_map_rollup.0.first()?.extension.map;
        fields.iter().map(|&field| total.get(field).copied()).sum()
    };
    pids.iter().map(bytes).sum()
}

/// The context switches of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches {
    /// The thread waited.
    pub voluntary: u64,
    /// The kernel ran another thread.
    pub involuntary: u64,
}

impl Switches {
    /// Reads those of a thread from its folder in `/proc`; zero if it has ended.
    pub fn of(task: &Path) -> Self {
        Switches::parse(&super::read(task.join("status")).unwrap_or_default())
    }

    /// Parsed by hand: the meter reads every thread at both ends of a window, and with 1,000
    /// threads `procfs`, which parses all 50 fields, takes 82 ms where this takes 34 ms.
    fn parse(status: &str) -> Self {
        let number = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Switches {
            voluntary: number("voluntary_ctxt_switches:"),
            involuntary: number("nonvoluntary_ctxt_switches:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_told_apart_by_the_whole_field_name() {
        let status = "Name:\tx\nnonvoluntary_ctxt_switches:\t545\nvoluntary_ctxt_switches:\t150\n";
        let expected = Switches {
            voluntary: 150,
            involuntary: 545,
        };
        assert_eq!(Switches::parse(status), expected);
        assert_eq!(Switches::parse("Name:\tx\n"), Switches::default());
    }

    #[test]
    fn this_thread_has_switches() {
        std::thread::sleep(Duration::from_millis(1));
        let this = Path::new("/proc/thread-self");
        assert!(Switches::of(this).voluntary > 0);
    }

    #[test]
    fn work_uses_cpu_time() {
        let this = [Pid::this()];
        let before = cpu_time(&this);
        while cpu_time(&this) == before {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn allocated_memory_is_anonymous() {
        const SIZE: u64 = 32 << 20;
        let this = [Pid::this()];
        let Some(before) = anonymous_pss_bytes(&this) else {
            return eprintln!("memory cannot be read without the permission to trace");
        };
        let memory = std::hint::black_box(vec![1_u8; SIZE as usize]);
        // Other tests of this process allocate, free and fork meanwhile.
        let has_grown = |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes > before + SIZE / 2);
        assert!((0..1000).any(|_| has_grown(anonymous_pss_bytes(&this))));
        assert!((0..1000).any(|_| has_grown(pss_bytes(&this))));
        drop(memory);
    }
}
