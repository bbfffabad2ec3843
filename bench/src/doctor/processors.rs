//! What server and generator have of the processors, and what time they read.

use record::processors::parse_list;
use record::words::list;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// Whether server and generator have processors of their own.
pub const SHARED: Check = Check {
    name: "processors",
    read_from: "sched_getaffinity(2)",
    why: "server and generator take time from each other on one processor",
    affects: "all times and rates",
    // The placement says it.
    in_a_run: |_| false,
    look: |_, needs| {
        match needs.placement.shared() {
        true => Finding::spoils("one processor for server and generator").mend_elsewhere(
            "allow at least two processors: `taskset`, the cpuset of the container, the size of the virtual machine",
        ),
        false => Finding::good(format!(
            "{} for the server, {} for the generator",
            needs.placement.server_cpus.len(),
            needs.placement.generator_cpus.len()
        )),
    }
    },
};

/// Whether a core is shared.
pub const SIBLINGS: Check = Check {
    name: "hardware threads",
    read_from: "/sys/devices/system/cpu/cpuN/topology/thread_siblings_list",
    why: "two hardware threads of a core share its units and caches, so a busy generator slows the server down",
    affects: "all times and rates; models that use the processor more lose more",
    in_a_run: |_| true,
    look: siblings,
};

/// What clock the kernel reads.
pub const CLOCK: Check = Check {
    name: "clock source",
    read_from: "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    why: "with some clocks each reading is a system call of a microsecond or more, and a message needs two",
    affects: "all times, the rates that the generator reaches, models that work for a time (--work cpu)",
    in_a_run: |_| true,
    look: clock,
};

fn siblings(root: &Root, needs: &Needs) -> Finding {
    let placement = &needs.placement;
    let siblings = |cpu: &usize| {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        parse_list(&root.text(&file)?).ok()
    };
    let cores: Option<Vec<Vec<usize>>> = placement.server_cpus.iter().map(siblings).collect();
    let Some(cores) = cores else {
        return Finding::unknown("this kernel does not tell which processors share a core");
    };
    let is_shared = |core: &&Vec<usize>| core.iter().any(|cpu| placement.generator_cpus.contains(cpu));
    // A processor that both use is another matter.
    match cores.iter().find(is_shared).filter(|_| !placement.shared()) {
        Some(core) => {
            let names: Vec<String> = core.iter().map(ToString::to_string).collect();
            Finding::spoils(format!(
                "processors {} are one core, and server and generator share it",
                list(&names)
            ))
            .mend_kernel(root, "echo off | sudo tee /sys/devices/system/cpu/smt/control")
        }
        None if root.is_virtual_machine() => Finding::unknown(
            "a virtual machine sees no shared core; its processors may be hardware threads of one all the same",
        )
        .mend_beneath(root),
        None => Finding::good("server and generator share no core"),
    }
}

/// Read without a system call (vDSO).
const FAST: [&str; 4] = [
    "tsc",
    "kvm-clock",
    "arch_sys_counter",
    "hyperv_clocksource_tsc_page",
];

const SLOW: [&str; 6] = ["hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies", "xen"];

fn clock(root: &Root, _: &Needs) -> Finding {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let available = root
        .text(&format!("{FOLDER}/available_clocksource"))
        .unwrap_or_default();
    let fast = { FAST.iter() }.find(|fast| available.split(' ').any(|this| this == **fast));
    match root.text(&format!("{FOLDER}/current_clocksource")) {
        None => Finding::unknown("this kernel does not tell"),
        Some(current) if FAST.contains(&current.as_str()) => Finding::good(current),
        Some(current) if SLOW.contains(&current.as_str()) => {
            let finding = Finding::spoils(current);
            match fast {
                Some(fast) => {
                    finding.mend_kernel(root, &format!("echo {fast} | sudo tee {FOLDER}/current_clocksource"))
                }
                None => finding.mend_elsewhere(
                    "the kernel offers no faster one: `dmesg | grep -i tsc` has the reason, often the hypervisor",
                ),
            }
        }
        Some(current) => Finding::unknown(format!("whether {current} is fast to read")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, elsewhere, host, needs};
    use super::*;
    use record::HostState::*;

    fn cores(first: &str, second: &str) -> Host {
        let file = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        Host::with(&[(&file(0), first), (&file(1), second)])
    }

    #[test]
    fn a_core_that_server_and_generator_share_spoils() {
        let needs = needs(&["epoll"], 1);
        let found = cores("0-1\n", "0-1\n").check(&SIBLINGS, &needs);
        assert_eq!(found.state, Spoils);
        assert!(
            found.found.starts_with("processors 0 and 1 are one core"),
            "{found:?}"
        );
        assert!(command(&found).contains("smt/control"));
        assert_eq!(cores("0,2\n", "1,3\n").state(&SIBLINGS, &needs), Good);
    }

    #[test]
    fn nothing_is_claimed_of_cores_that_the_kernel_or_a_hypervisor_hides() {
        let needs = needs(&["epoll"], 1);
        assert_eq!(Host::with(&[]).state(&SIBLINGS, &needs), Unknown);
        assert_eq!(cores("x\n", "1\n").state(&SIBLINGS, &needs), Unknown);
        let guest = cores("0\n", "1\n");
        guest.write("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor lm\n");
        assert_eq!(guest.state(&SIBLINGS, &needs), Unknown);
    }

    #[test]
    fn a_single_processor_is_shared_and_not_by_hardware_threads() {
        let mut needs = needs(&["epoll"], 1);
        assert_eq!(Host::with(&[]).state(&SHARED, &needs), Good);
        needs.placement.generator_cpus = vec![0];
        let found = Host::with(&[]).check(&SHARED, &needs);
        assert_eq!(found.state, Spoils);
        assert!(elsewhere(&found).contains("two processors"));
        assert_eq!(cores("0\n", "1\n").state(&SIBLINGS, &needs), Good);
    }

    #[test]
    fn a_slow_clock_spoils_and_a_fast_one_that_is_there_mends_it() {
        let needs = needs(&["epoll"], 1);
        let folder = "/sys/devices/system/clocksource/clocksource0";
        let with = |current, available| {
            Host::with(&[
                (&format!("{folder}/current_clocksource"), current),
                (&format!("{folder}/available_clocksource"), available),
            ])
            .check(&CLOCK, &needs)
        };
        for fast in ["tsc\n", "kvm-clock\n", "arch_sys_counter\n"] {
            assert_eq!(with(fast, "tsc hpet\n").state, Good);
        }
        let found = with("hpet\n", "hpet tsc acpi_pm \n");
        assert_eq!(found.state, Spoils);
        assert_eq!(
            command(&found),
            format!("echo tsc | sudo tee {folder}/current_clocksource")
        );
        let found = with("acpi_pm\n", "hpet acpi_pm \n");
        assert_eq!(found.state, Spoils);
        assert!(elsewhere(&found).contains("dmesg"));
        assert_eq!(with("sundial\n", "sundial\n").state, Unknown);
        assert_eq!(host("/x", "").state(&CLOCK, &needs), Unknown);
    }
}
