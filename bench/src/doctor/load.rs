//! Who else uses the processors: other programs at the moment, and other guests of the host beneath.

use procfs::{CpuPressure, LoadAverage, MemoryPressure};

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// Shares of the last ten seconds in which a task waited for a processor: beyond the first it is worth
/// knowing, beyond the second another program is busy all the time.
const SOME_PRESSURE: f32 = 1.0;
const MUCH_PRESSURE: f32 = 5.0;

/// The share of the last ten seconds in which a task waited for memory that means a lack of it.
const MEMORY_PRESSURE: f32 = 1.0;

/// Tasks that ran or waited over the last minute, for each processor, that leave no processor idle for long.
const BUSY: f32 = 0.5;

/// Shares of the used time that the hypervisor took.
const SOME_STEAL: f64 = 0.01;
const MUCH_STEAL: f64 = 0.05;

/// Busy time below which a share of it says little: 100 s in steps of 10 ms.
const ENOUGH_TICKS: u64 = 10_000;

/// Other programs at the moment.
pub const OTHER_LOAD: Check = Check {
    name: "other load",
    read_from: "/proc/pressure/cpu and /proc/pressure/memory (avg10), /proc/loadavg",
    why: "other programs take time from server and generator, and evict their caches",
    affects: "all times and rates; slices that they disturb are left out of comparisons",
    // A run looks at each slice, and what runs before it is often its own build.
    in_a_run: |_| false,
    look: other_load,
};

/// What the hypervisor takes.
pub const STEAL: Check = Check {
    name: "steal",
    read_from: "/proc/stat: steal as a share of the busy time since the start of the system",
    why: "the hypervisor runs other guests on the processor while server or generator believe that they run",
    affects: "all times, most the high percentiles",
    // Measured during the run.
    in_a_run: |_| false,
    look: steal,
};

fn other_load(root: &Root, needs: &Needs) -> Finding {
    let cpu: Option<CpuPressure> = root.parsed("/proc/pressure/cpu");
    let memory: Option<MemoryPressure> = root.parsed("/proc/pressure/memory");
    let load: Option<LoadAverage> = root.parsed("/proc/loadavg");
    if let Some(memory) = memory.filter(|memory| memory.some.avg10 > MEMORY_PRESSURE) {
        return Finding::spoils(format!(
            "some task waited for memory in {:.1}% of the last ten seconds",
            memory.some.avg10
        ))
        .mend("ps aux --sort=-rss | head, and end what is not needed");
    }
    let who = "top -b -n 1 | head -20, and end what is not needed";
    let average = load.as_ref().map_or(String::new(), |load| {
        format!("; the load average of the last minute is {:.2}", load.one)
    });
    if let Some(pressure) = cpu {
        let share = pressure.some.avg10;
        let found =
            format!("some task waited for a processor in {share:.1}% of the last ten seconds{average}");
        return match () {
            () if share > MUCH_PRESSURE => Finding::spoils(found).mend(who),
            () if share > SOME_PRESSURE => Finding::note(found).mend(who),
            () => Finding::good(found),
        };
    }
    let Some(load) = load else {
        return Finding::unknown("this kernel tells neither pressure nor the load average");
    };
    let cpus = needs.placement.server_cpus.len() + needs.placement.generator_cpus.len();
    let found = format!("the load average of the last minute is {:.2}", load.one);
    match load.one / cpus.max(1) as f32 > BUSY {
        true => Finding::spoils(found).mend(who),
        false => Finding::good(found),
    }
}

fn steal(root: &Root, _: &Needs) -> Finding {
    let Some(all) = root.times() else {
        return Finding::unknown("this kernel does not tell");
    };
    let Some(stolen) = all.steal else {
        return Finding::unknown("this kernel does not tell");
    };
    // Guest time is part of user time.
    let irq = all.irq.unwrap_or_default() + all.softirq.unwrap_or_default();
    let busy = all.user + all.nice + all.system + irq + stolen;
    if busy < ENOUGH_TICKS {
        return Finding::unknown("this system has not used its processors for long enough");
    }
    let share = stolen as f64 / busy as f64;
    let found = format!("{:.1}%", share * 100.0);
    let elsewhere = "only the host beneath can change it: use a machine with processors of its own";
    match () {
        () if share > MUCH_STEAL => Finding::spoils(found).mend_elsewhere(elsewhere),
        () if share > SOME_STEAL => Finding::note(found).mend_elsewhere(elsewhere),
        () => Finding::good(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, elsewhere, host, needs};
    use super::*;
    use record::HostState::*;

    fn pressure(avg10: &str) -> String {
        let line =
            |kind: &str, avg10: &str| format!("{kind} avg10={avg10} avg60=9.00 avg300=9.00 total=99999\n");
        line("some", avg10) + &line("full", "0.00")
    }

    #[test]
    fn pressure_of_the_last_seconds_tells_other_load() {
        let needs = needs(&["epoll"], 1);
        let state = |avg10| host("/proc/pressure/cpu", &pressure(avg10)).state(&OTHER_LOAD, &needs);
        assert_eq!(state("0.50"), Good);
        assert_eq!(state("3.00"), Note);
        assert_eq!(state("40.00"), Spoils);
    }

    #[test]
    fn a_lack_of_memory_is_told_as_well() {
        let needs = needs(&["epoll"], 1);
        let host = Host::with(&[
            ("/proc/pressure/cpu", &pressure("0.00")),
            ("/proc/pressure/memory", &pressure("12.00")),
        ]);
        let found = host.check(&OTHER_LOAD, &needs);
        assert_eq!(found.state, Spoils);
        assert!(found.found.contains("waited for memory in 12.0%"), "{found:?}");
    }

    #[test]
    fn without_pressure_the_load_average_of_the_processors_counts() {
        let mut needs = needs(&["epoll"], 1);
        let busy = host("/proc/loadavg", "1.50 0.10 0.10 1/500 4242\n");
        assert_eq!(busy.state(&OTHER_LOAD, &needs), Spoils);
        needs.placement.generator_cpus = (1..8).collect();
        assert_eq!(busy.state(&OTHER_LOAD, &needs), Good);
        busy.write("/proc/pressure/cpu", "some avg10=lots\n");
        assert_eq!(
            busy.state(&OTHER_LOAD, &needs),
            Good,
            "garbled pressure is no pressure"
        );
        for garbled in ["", "idle\n"] {
            assert_eq!(host("/proc/loadavg", garbled).state(&OTHER_LOAD, &needs), Unknown);
        }
    }

    fn stat(steal: &str) -> Host {
        let text = format!(
            "cpu  10000 0 10000 900000 0 0 0{steal}\nctxt 1\nbtime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
        );
        host("/proc/stat", &text)
    }

    #[test]
    fn steal_is_a_share_of_the_time_that_was_used() {
        let needs = needs(&["epoll"], 1);
        assert_eq!(stat(" 100 0 0").state(&STEAL, &needs), Good);
        assert_eq!(stat(" 500 0 0").state(&STEAL, &needs), Note);
        let found = stat(" 5000 0 0").check(&STEAL, &needs);
        assert_eq!((found.state, found.found.as_str()), (Spoils, "20.0%"));
        assert!(elsewhere(&found).contains("host beneath"));
    }

    #[test]
    fn a_kernel_without_steal_or_a_system_that_has_just_started_tells_nothing() {
        let needs = needs(&["epoll"], 1);
        assert_eq!(stat("").state(&STEAL, &needs), Unknown);
        assert_eq!(Host::with(&[]).state(&STEAL, &needs), Unknown);
        assert_eq!(host("/proc/stat", "cpu x\n").state(&STEAL, &needs), Unknown);
        let text =
            "cpu  10 0 10 900 0 0 0 10 0 0\nctxt 1\nbtime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n";
        assert_eq!(host("/proc/stat", text).state(&STEAL, &needs), Unknown);
    }
}
