//! The resources that the generator used: `getrusage(2)`, `/proc/thread-self/schedstat`, `/proc/stat`.

use std::fs;
use std::ops::{AddAssign, Sub};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Resources that one or several threads have used, up to a moment or between two.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time that passed.
    pub passed: Duration,
    /// CPU time, in the program and in the kernel.
    pub cpu: Duration,
    /// Time in the run queue: ready to run, while others had the processor.
    pub kept_waiting: Duration,
    /// Context switches that the scheduler forced.
    pub involuntary_switches: u64,
}

impl Usage {
    /// Of the calling thread since it began; `now` is the time of any clock.
    pub fn of_this_thread(now: Duration) -> Self {
        let time = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
        let usage = getrusage(UsageWho::RUSAGE_THREAD);
        Usage {
            passed: now,
            cpu: usage.map_or(Duration::ZERO, |usage| {
                time(usage.user_time()) + time(usage.system_time())
            }),
            kept_waiting: run_delay().unwrap_or_default(),
            involuntary_switches: usage.map_or(0, |usage| usage.involuntary_context_switches() as u64),
        }
    }

    /// A time as a share of the time that passed.
    pub fn share(&self, time: Duration) -> f64 {
        match self.passed.is_zero() {
            true => 0.0,
            false => time.as_secs_f64() / self.passed.as_secs_f64(),
        }
    }
}

/// The second number: time in the run queue. Absent in kernels without CONFIG_SCHED_INFO.
fn run_delay() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(
        text.split_whitespace().nth(1)?.parse().ok()?,
    ))
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, before: Usage) -> Usage {
        Usage {
            passed: self.passed.saturating_sub(before.passed),
            cpu: self.cpu.saturating_sub(before.cpu),
            kept_waiting: self.kept_waiting.saturating_sub(before.kept_waiting),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(before.involuntary_switches),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.passed += other.passed;
        self.cpu += other.cpu;
        self.kept_waiting += other.kept_waiting;
        self.involuntary_switches += other.involuntary_switches;
    }
}

/// Ticks that the hypervisor took from processors, and all of their ticks.
#[derive(Debug, Clone, Copy)]
pub struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// Of these processors since the start of the system.
    pub fn of(cpus: &[usize]) -> Option<Self> {
        Steal::parse(&fs::read_to_string("/proc/stat").ok()?, cpus)
    }

    /// The share taken since `before`.
    pub fn since(self, before: Steal) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }

    fn parse(text: &str, cpus: &[usize]) -> Option<Self> {
        let mut total = Steal { stolen: 0, all: 0 };
        for cpu in cpus {
            let name = format!("cpu{cpu}");
            let line = text.lines().find(|line| line.split(' ').next() == Some(&name))?;
            // user nice system idle iowait irq softirq steal; guest time is in user.
            let ticks: Vec<u64> = line
                .split_whitespace()
                .skip(1)
                .take(8)
                .map_while(|field| field.parse().ok())
                .collect();
            total.stolen += ticks.get(7)?;
            total.all += ticks.iter().sum::<u64>();
        }
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_read_for_the_given_processors() {
        let before = "cpu  9 9 9 9 9 9 9 99 0 0\ncpu0 10 0 10 60 0 0 0 20 0 0\ncpu1 1 0 1 8 0 0 0 0 0 0\ncpu10 1 1 1 1 1 1 1 1 0 0\n";
        let after = "cpu0 20 0 20 100 0 0 0 60 0 0\ncpu1 2 0 2 16 0 0 0 0 0 0\n";
        let share = |cpus: &[usize]| Some(Steal::parse(after, cpus)?.since(Steal::parse(before, cpus)?));
        assert_eq!(share(&[0]), Some(0.4));
        assert_eq!(share(&[1]), Some(0.0));
        assert_eq!(share(&[7]), None, "there is no such processor");
    }

    #[test]
    fn work_shows_in_the_usage_of_its_thread() {
        let usage = || Usage::of_this_thread(Duration::ZERO);
        let before = usage();
        while (usage() - before).cpu < Duration::from_millis(5) {}
        let idle = std::thread::spawn(usage).join().unwrap();
        assert!(idle.cpu < Duration::from_millis(5), "{idle:?}");
    }

    #[test]
    fn shares_are_those_of_the_time_that_passed_for_all_threads() {
        let used = |passed, cpu| Usage {
            passed: Duration::from_secs(passed),
            cpu: Duration::from_secs(cpu),
            ..Usage::default()
        };
        let mut all = used(9, 3) - used(5, 1);
        all += used(16, 8);
        assert_eq!(all.share(all.cpu), 0.5);
        assert_eq!(used(0, 0).share(Duration::ZERO), 0.0);
    }
}
