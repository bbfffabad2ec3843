//! CPU time that others use: programs that are neither the server nor the generator.
//!
//! The kernel counts the time of each processor in nanoseconds only for cgroups of version 1
//! (`cpuacct.usage_percpu`); `/proc/stat` has steps of 10 ms, too coarse for a slice. Where that
//! controller is not mounted, the time is not known.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Where version 1 of the controller is mounted: alone, or with another.
const MOUNTS: [&str; 3] = [
    "/sys/fs/cgroup/cpuacct",
    "/sys/fs/cgroup/cpu,cpuacct",
    "/sys/fs/cgroup/cpuacct,cpu",
];

/// Reads the CPU time that all programs have used on some processors.
#[derive(Debug)]
pub struct ForeignMeter {
    cpus: Vec<usize>,
    file: PathBuf,
}

/// What the processors and this program have used up to a moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    /// Of all programs, on the processors of the meter.
    busy: Duration,
    /// Of this program.
    own: Duration,
}

impl ForeignMeter {
    /// A meter of these processors; `None` if this host does not count the time finely enough.
    pub fn new(mut cpus: Vec<usize>) -> Option<Self> {
        cpus.sort_unstable();
        cpus.dedup();
        let file = MOUNTS
            .iter()
            .map(|mount| Path::new(mount).join("cpuacct.usage_percpu"));
        let mut meters = file.map(|file| ForeignMeter {
            cpus: cpus.clone(),
            file,
        });
        meters.find(|meter| meter.read().is_some())
    }

    /// Reads the time used so far.
    pub fn read(&self) -> Option<Reading> {
        // First, since to read it brings the time of this thread up to date, in both clocks.
        let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?.into();
        let text = fs::read_to_string(&self.file).ok()?;
        Some(Reading {
            at: Instant::now(),
            busy: busy(&text, &self.cpus)?,
            own,
        })
    }

    /// The share of the processors' time between two readings that others used, where the server used
    /// `server` of it.
    pub fn share(&self, before: Reading, after: Reading, server: Duration) -> f64 {
        let ours = server + after.own.saturating_sub(before.own);
        let foreign = after.busy.saturating_sub(before.busy).saturating_sub(ours);
        let all = (after.at - before.at).as_secs_f64() * self.cpus.len() as f64;
        match all > 0.0 {
            true => (foreign.as_secs_f64() / all).min(1.0),
            false => 0.0,
        }
    }
}

/// The sum over processors; the file has a number of nanoseconds for each.
fn busy(text: &str, cpus: &[usize]) -> Option<Duration> {
    let all: Option<Vec<u64>> = text
        .split_whitespace()
        .map(|number| number.parse().ok())
        .collect();
    let all = all?;
    let sum: Option<u64> = cpus.iter().map(|&cpu| all.get(cpu)).sum();
    sum.map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_time_of_the_chosen_processors_is_read() {
        let text = "100 20 3 \n";
        assert_eq!(busy(text, &[0, 2]), Some(Duration::from_nanos(103)));
        assert_eq!(busy(text, &[3]), None);
        assert_eq!(busy("100 x", &[0]), None);
        assert_eq!(busy("", &[0]), None);
    }

    #[test]
    fn what_server_and_harness_used_is_not_foreign() {
        let meter = ForeignMeter {
            cpus: vec![0, 1],
            file: PathBuf::new(),
        };
        let at = Instant::now();
        let reading = |milliseconds: [u64; 3]| {
            let [passed, busy, own] = milliseconds.map(Duration::from_millis);
            Reading {
                at: at + passed,
                busy,
                own,
            }
        };
        let (before, after) = (reading([0, 1000, 500]), reading([100, 1150, 530]));
        let share = |server| meter.share(before, after, Duration::from_millis(server));
        assert!((share(70) - 0.25).abs() < 1e-9);
        assert_eq!(
            share(200),
            0.0,
            "clocks that are read one after the other never give less"
        );
        assert_eq!(meter.share(before, before, Duration::ZERO), 0.0);
    }

    #[test]
    fn another_program_is_seen() {
        let Ok(cpus) = crate::host::affinity::allowed() else {
            return;
        };
        let Some(meter) = ForeignMeter::new(cpus) else {
            return eprintln!("this host has no cpuacct controller of version 1");
        };
        let before = meter.read().unwrap();
        let mut busy = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        // However little of a processor it gets.
        while meter.share(before, meter.read().unwrap(), Duration::ZERO) == 0.0 {}
        busy.kill().unwrap();
        busy.wait().unwrap();
    }
}
