//! Whether this process may look into others: tracing, performance counters.

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// CAP_SYS_PTRACE.
const SYS_PTRACE: [u32; 1] = [19];

/// CAP_SYS_ADMIN and CAP_PERFMON.
const PERFMON: [u32; 2] = [21, 38];

/// Whether strace may attach to a server.
pub const TRACING: Check = Check {
    name: "tracing",
    read_from: "/proc/sys/kernel/yama/ptrace_scope, /proc/self/status (CapEff), strace in /usr/bin",
    why: "strace makes system calls fail, and counts them by name",
    affects: "the conformance case C8, which is skipped without it",
    in_a_run: |_| false,
    look: tracing,
};

/// Whether the kernel counts events for this process.
pub const PERF: Check = Check {
    name: "performance counters",
    read_from: "/proc/sys/kernel/perf_event_paranoid, /proc/self/status (CapEff, Seccomp)",
    why: "perf explains what a server spends its time on",
    affects: "profiles of a server; no measure of a run",
    in_a_run: |_| false,
    look: perf,
};

fn tracing(root: &Root, _: &Needs) -> Finding {
    if !root.has_program("strace") {
        return Finding::note("strace is not installed")
            .mend("apt-get install strace, or as your system installs it");
    }
    // Absent without Yama, which is the only thing that narrows it.
    let scope = match root.has("/proc/sys/kernel/yama/ptrace_scope") {
        true => root.sysctl("kernel.yama.ptrace_scope"),
        false => Some(0),
    };
    let may = root.has_capability(&SYS_PTRACE);
    let mend = "sysctl -w kernel.yama.ptrace_scope=0";
    match (scope, may) {
        (Some(0), _) | (Some(1 | 2), Some(true)) => Finding::good("strace may attach to servers"),
        (Some(scope @ (1 | 2)), Some(false)) => Finding::note(format!(
            "kernel.yama.ptrace_scope is {scope}: strace may not attach to servers"
        ))
        .mend_kernel(root, mend),
        (Some(3..), _) => Finding::note("kernel.yama.ptrace_scope is 3: nobody may attach to a process")
            .mend_elsewhere(
                "this value stays until the next start of the system: change it in /etc/sysctl.d",
            ),
        _ => Finding::unknown("whether strace may attach to servers"),
    }
}

fn perf(root: &Root, _: &Needs) -> Finding {
    // Negative numbers allow more.
    let level = root.text("/proc/sys/kernel/perf_event_paranoid");
    let level = level.and_then(|text| text.parse::<i64>().ok());
    match (level, root.has_capability(&PERFMON), root.has_seccomp_filter()) {
        (None, ..) => Finding::unknown("this kernel has no performance events, or does not tell"),
        (_, _, Some(true)) => Finding::unknown("a seccomp filter may forbid perf_event_open(2)"),
        (Some(..=1), ..) | (_, Some(true), _) => Finding::good("the kernel and programs can be observed"),
        (Some(level), ..) => Finding::note(format!(
            "kernel.perf_event_paranoid is {level}: {}",
            if level == 2 {
                "only programs can be observed, not the kernel"
            } else {
                "nothing can be observed"
            }
        ))
        .mend_kernel(root, "sysctl -w kernel.perf_event_paranoid=1"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, elsewhere, needs};
    use super::*;
    use record::HostState::*;

    const USER: &str = "CapEff:\t0000000000000000\nSeccomp:\t0\n";
    const ROOT: &str = "CapEff:\t000001ffffffffff\nSeccomp:\t0\n";
    const SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";
    const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

    fn traceable(files: &[(&str, &str)]) -> Host {
        Host::with(&[files, &[("/usr/bin/strace", "")]].concat())
    }

    #[test]
    fn who_may_attach_depends_on_yama_and_on_capabilities() {
        let needs = needs(&["epoll"], 1);
        let state = |scope, status| {
            traceable(&[(SCOPE, scope), ("/proc/self/status", status)]).state(&TRACING, &needs)
        };
        assert_eq!((state("0\n", USER), state("1\n", ROOT)), (Good, Good));
        assert_eq!((state("1\n", USER), state("2\n", USER)), (Note, Note));
        assert_eq!(state("3\n", ROOT), Note);
        assert_eq!((state("x\n", ROOT), state("1\n", "")), (Unknown, Unknown));
        assert_eq!(traceable(&[]).state(&TRACING, &needs), Good, "without Yama");
        let missing = Host::with(&[]).check(&TRACING, &needs);
        assert_eq!(missing.state, Note);
        assert!(command(&missing).contains("strace"));
        let never = traceable(&[(SCOPE, "3\n")]).check(&TRACING, &needs);
        assert!(elsewhere(&never).contains("next start"));
    }

    #[test]
    fn what_perf_may_see_depends_on_its_level_and_on_capabilities() {
        let needs = needs(&["epoll"], 1);
        let state = |level, status| {
            Host::with(&[(PARANOID, level), ("/proc/self/status", status)]).state(&PERF, &needs)
        };
        assert_eq!(
            (state("-1\n", USER), state("1\n", USER), state("4\n", ROOT)),
            (Good, Good, Good)
        );
        assert_eq!((state("2\n", USER), state("4\n", USER)), (Note, Note));
        assert_eq!(state("1\n", "CapEff:\t0\nSeccomp:\t2\n"), Unknown);
        assert_eq!(state("low\n", ROOT), Unknown);
        assert_eq!(Host::with(&[]).state(&PERF, &needs), Unknown);
    }

    #[test]
    fn neither_concerns_a_run() {
        for check in [&TRACING, &PERF] {
            assert!(!(check.in_a_run)(&needs(&["epoll"], 1)));
        }
    }
}
