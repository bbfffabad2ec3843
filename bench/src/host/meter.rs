//! Who else was there: what a slice could not use of its processors, and what it saw of the host.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use loadgen::Steal;
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use record::Slice;

use super::busy::BusyClock;

/// Reads the counters of the host before and after a slice. Those that it does not have are absent.
#[derive(Debug)]
pub struct HostMeter {
    cpus: Vec<usize>,
    busy: Option<BusyClock>,
    frequency: Option<PathBuf>,
}

/// The counters at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    /// CPU time of this program.
    own: Duration,
    /// CPU time of all programs on the processors of the meter.
    busy: Option<Duration>,
    steal: Option<Steal>,
    /// Time in which some task of the host waited for a processor.
    pressure: Option<Duration>,
    /// Switches of this program that the scheduler forced.
    forced_switches: u64,
}

impl HostMeter {
    /// A meter of the processors of server and generator.
    pub fn new(server_cpus: &[usize], generator_cpus: &[usize]) -> Self {
        let cpus = [server_cpus, generator_cpus].concat();
        let frequency = server_cpus.first().map(|cpu| {
            PathBuf::from(format!(
                "/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"
            ))
        });
        HostMeter {
            busy: BusyClock::new(cpus.clone()),
            cpus,
            frequency: frequency.filter(|file| file.exists()),
        }
    }

    /// Reads the counters.
    pub fn read(&self) -> Reading {
        // First, since to read it brings the time of this thread up to date, in both clocks.
        let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        Reading {
            own: own.map_or(Duration::ZERO, Into::into),
            busy: self.busy.as_ref().and_then(BusyClock::read),
            at: Instant::now(),
            steal: Steal::of(&self.cpus),
            pressure: pressure(),
            forced_switches: getrusage(UsageWho::RUSAGE_SELF)
                .map_or(0, |usage| usage.involuntary_context_switches() as u64),
        }
    }

    /// Completes a slice: what happened between two readings, of which the server used `server`.
    pub fn complete(
        &self,
        slice: Slice,
        before: &Reading,
        after: &Reading,
        server: Option<Duration>,
    ) -> Slice {
        let passed = (after.at - before.at).as_secs_f64();
        let share = |time: Duration, of: f64| match of > 0.0 {
            true => (time.as_secs_f64() / of).min(1.0),
            false => 0.0,
        };
        // The time of a server that runs elsewhere is not foreign, and not known.
        let foreign = |server: Duration| {
            let cpus = self.busy.as_ref()?.cpus() as f64;
            let ours = server + after.own.saturating_sub(before.own);
            let foreign = after.busy?.saturating_sub(before.busy?).saturating_sub(ours);
            Some(share(foreign, passed * cpus))
        };
        Slice {
            foreign_cpu: server.and_then(foreign),
            steal: { after.steal }
                .zip(before.steal)
                .map(|(after, before)| after.since(before)),
            cpu_pressure: { after.pressure }
                .zip(before.pressure)
                .map(|(after, before)| share(after.saturating_sub(before), passed)),
            forced_switches: Some(after.forced_switches.saturating_sub(before.forced_switches)),
            cpu_mhz: self.mhz(),
            ..slice
        }
    }

    fn mhz(&self) -> Option<f64> {
        let text = fs::read_to_string(self.frequency.as_ref()?).ok()?;
        Some(text.trim().parse::<f64>().ok()? / 1000.0)
    }
}

/// Absent without CONFIG_PSI, or if it is off.
fn pressure() -> Option<Duration> {
    parse_pressure(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// Microseconds in the line `some`.
fn parse_pressure(text: &str) -> Option<Duration> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some
        .split_whitespace()
        .find_map(|field| field.strip_prefix("total="))?;
    Some(Duration::from_micros(total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn meter() -> HostMeter {
        HostMeter::new(&crate::host::affinity::allowed().unwrap(), &[])
    }

    #[test]
    fn what_server_and_harness_used_is_not_foreign() {
        let meter = meter();
        let Some(cpus) = meter.busy.as_ref().map(BusyClock::cpus) else {
            return eprintln!("this host does not count CPU time finely enough");
        };
        let first = meter.read();
        let reading = |milliseconds: [u64; 3]| {
            let [passed, busy, own] = milliseconds.map(Duration::from_millis);
            Reading {
                at: first.at + passed,
                busy: Some(busy * cpus as u32 / 2),
                own: own * cpus as u32 / 2,
                ..first
            }
        };
        let (before, after) = (reading([0, 1000, 500]), reading([100, 1150, 530]));
        let share = |server| {
            let server = Duration::from_millis(server) * cpus as u32 / 2;
            meter
                .complete(Slice::default(), &before, &after, Some(server))
                .foreign_cpu
                .unwrap()
        };
        assert!((share(70) - 0.25).abs() < 1e-9);
        assert_eq!(
            share(200),
            0.0,
            "clocks that are read one after the other never give less"
        );
        let at_once = meter.complete(Slice::default(), &before, &before, Some(Duration::ZERO));
        assert_eq!(at_once.foreign_cpu, Some(0.0));
        let elsewhere = meter.complete(Slice::default(), &before, &after, None);
        assert_eq!(elsewhere.foreign_cpu, None);
    }

    #[test]
    fn another_program_is_seen() {
        let meter = meter();
        if meter.busy.is_none() {
            return eprintln!("this host does not count CPU time finely enough");
        }
        let before = meter.read();
        let mut busy = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let foreign = || {
            let slice = meter.complete(Slice::default(), &before, &meter.read(), Some(Duration::ZERO));
            slice.foreign_cpu.unwrap()
        };
        // However little of a processor it gets.
        while foreign() == 0.0 {}
        busy.kill().unwrap();
        busy.wait().unwrap();
    }

    #[test]
    fn the_time_under_pressure_is_read() {
        let text = "some avg10=0.43 avg60=1.08 avg300=1.27 total=15618209\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse_pressure(text), Some(Duration::from_micros(15_618_209)));
        assert_eq!(parse_pressure("full avg10=0.00 total=7\n"), None);
    }
}
