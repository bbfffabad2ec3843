//! What the clock rate of the processors follows.

use record::words::list;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

const HIDDEN: &str = "this kernel does not set the clock rate";

/// What decides about the clock rate of each processor.
pub const GOVERNOR: Check = Check {
    name: "frequency governor",
    read_from: "/sys/devices/system/cpu/cpuN/cpufreq/scaling_governor",
    why: "the clock rate follows the load: a server that waits more runs slower when it has work",
    affects: "all times and rates, most at low load",
    in_a_run: |_| true,
    look: governor,
};

/// Whether the clock rate may exceed the nominal one.
pub const TURBO: Check = Check {
    name: "turbo",
    read_from: "/sys/devices/system/cpu/intel_pstate/no_turbo, /sys/devices/system/cpu/cpufreq/boost",
    why: "the clock rate follows heat and the load of other cores, so it differs between two runs",
    affects: "times and rates that are compared between runs",
    in_a_run: |_| true,
    look: turbo,
};

/// What sets the clock rate.
pub const DRIVER: Check = Check {
    name: "frequency driver",
    read_from: "/sys/devices/system/cpu/cpuN/cpufreq: scaling_driver, energy_performance_preference",
    why: "some drivers leave the clock rate to the processor, which weighs speed against energy",
    affects: "all times and rates, most at low load",
    in_a_run: |_| true,
    look: driver,
};

/// The values of a file of all processors that have it.
fn values(root: &Root, needs: &Needs, file: &str) -> Vec<String> {
    let cpus = [&needs.placement.server_cpus[..], &needs.placement.generator_cpus].concat();
    let mut values: Vec<String> = { cpus.iter() }
        .filter_map(|cpu| root.text(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/{file}")))
        .collect();
    values.sort();
    values.dedup();
    values
}

fn governor(root: &Root, needs: &Needs) -> Finding {
    let governors = values(root, needs, "scaling_governor");
    // The second leaves it where a program has set it.
    let is_steady = |governor: &String| ["performance", "userspace"].contains(&governor.as_str());
    let found = list(&governors);
    match () {
        () if governors.is_empty() => Finding::unknown(HIDDEN).mend_beneath(root),
        () if governors.iter().all(is_steady) => Finding::good(found),
        () => Finding::spoils(found).mend_kernel(
            root,
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
    }
}

fn turbo(root: &Root, _: &Needs) -> Finding {
    const INTEL: &str = "/sys/devices/system/cpu/intel_pstate/no_turbo";
    const OTHERS: &str = "/sys/devices/system/cpu/cpufreq/boost";
    let on = || Finding::note("on");
    match (root.number(INTEL), root.number(OTHERS)) {
        (Some(0), _) => on().mend_kernel(root, &format!("echo 1 | sudo tee {INTEL}")),
        (None, Some(1)) => on().mend_kernel(root, &format!("echo 0 | sudo tee {OTHERS}")),
        (Some(1), _) | (None, Some(0)) => Finding::good("off"),
        _ => Finding::unknown(HIDDEN).mend_beneath(root),
    }
}

fn driver(root: &Root, needs: &Needs) -> Finding {
    let drivers = values(root, needs, "scaling_driver");
    if drivers.is_empty() {
        return Finding::unknown(HIDDEN).mend_beneath(root);
    }
    let preferences = values(root, needs, "energy_performance_preference");
    // Under the first governor the processor is told to prefer performance, whatever it says here.
    let told = values(root, needs, "scaling_governor") == ["performance"];
    match preferences.iter().any(|preference| preference != "performance") && !told {
        true => Finding::note(format!(
            "{}, which prefers {}",
            list(&drivers),
            list(&preferences)
        ))
        .mend_kernel(
            root,
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference",
        ),
        false => Finding::good(list(&drivers)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, elsewhere, host, needs};
    use super::*;
    use record::HostState::*;

    fn governors(first: &str, second: &str) -> Host {
        let file = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        Host::with(&[(&file(0), first), (&file(1), second)])
    }

    #[test]
    fn a_governor_that_follows_the_load_spoils_whichever_processor_has_it() {
        let needs = needs(&["epoll"], 1);
        let state = |first, second| governors(first, second).state(&GOVERNOR, &needs);
        assert_eq!(state("performance\n", "performance\n"), Good);
        assert_eq!(state("performance\n", "powersave\n"), Spoils);
        assert_eq!(state("schedutil\n", "performance\n"), Spoils);
        let found = governors("performance\n", "ondemand\n").check(&GOVERNOR, &needs);
        assert_eq!(found.found, "ondemand and performance");
        assert!(command(&found).contains("echo performance"), "{found:?}");
    }

    #[test]
    fn without_files_nothing_is_claimed() {
        let needs = needs(&["epoll"], 1);
        for check in [&GOVERNOR, &TURBO, &DRIVER] {
            let found = Host::with(&[]).check(check, &needs);
            assert_eq!((found.state, found.remedy), (Unknown, None));
        }
        assert_eq!(governors("", "").state(&GOVERNOR, &needs), Unknown);
        let garbled = host("/sys/devices/system/cpu/intel_pstate/no_turbo", "maybe\n");
        assert_eq!(garbled.state(&TURBO, &needs), Unknown);
    }

    #[test]
    fn a_virtual_machine_is_sent_to_the_host_beneath() {
        let guest = host("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor lm\n");
        let found = guest.check(&GOVERNOR, &needs(&["epoll"], 1));
        assert_eq!(found.state, Unknown);
        assert!(elsewhere(&found).contains("host beneath"), "{found:?}");
    }

    #[test]
    fn a_container_is_told_what_to_run_on_its_host() {
        let container = governors("powersave", "powersave");
        container.enclose();
        let found = container.check(&GOVERNOR, &needs(&["epoll"], 1));
        assert!(elsewhere(&found).contains("on its host"), "{found:?}");
    }

    #[test]
    fn turbo_is_a_note_in_the_words_of_either_driver() {
        let needs = needs(&["epoll"], 1);
        let intel = "/sys/devices/system/cpu/intel_pstate/no_turbo";
        let others = "/sys/devices/system/cpu/cpufreq/boost";
        for (file, on, off) in [(intel, "0\n", "1\n"), (others, "1\n", "0\n")] {
            assert_eq!(host(file, off).state(&TURBO, &needs), Good);
            let found = host(file, on).check(&TURBO, &needs);
            assert_eq!(found.state, Note);
            assert_eq!(command(&found), format!("echo {} | sudo tee {file}", off.trim()));
        }
    }

    #[test]
    fn a_processor_that_saves_energy_is_a_note_unless_its_governor_forbids_it() {
        let needs = needs(&["epoll"], 1);
        let with = |governor, preference| {
            let folder = "/sys/devices/system/cpu/cpu0/cpufreq";
            Host::with(&[
                (&format!("{folder}/scaling_driver"), "intel_pstate\n"),
                (&format!("{folder}/scaling_governor"), governor),
                (&format!("{folder}/energy_performance_preference"), preference),
            ])
        };
        let found = with("powersave", "balance_power\n").check(&DRIVER, &needs);
        assert_eq!(found.state, Note);
        assert_eq!(found.found, "intel_pstate, which prefers balance_power");
        assert_eq!(with("performance", "balance_power").state(&DRIVER, &needs), Good);
        assert_eq!(with("powersave", "performance\n").state(&DRIVER, &needs), Good);
    }
}
