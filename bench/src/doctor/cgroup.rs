//! What the cgroups of this process allow: tasks, time of the processors.

use loadgen::cgroup::{Cgroup, Version};
use loadgen::quota::Quotas;
use record::numbers::thousands;
use record::processors;
use record::words::list;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;
use super::tasks::started;

const HIDDEN: &str = "no such cgroup can be seen";

/// How many processes and threads the cgroup may have.
pub const PIDS: Check = Check {
    name: "pids cgroup",
    read_from: "pids.max and pids.current of the cgroup (/proc/self/cgroup) and of those above it",
    why: "services and containers often have a limit far below that of the kernel, which binds root as well",
    affects: "fork, thread, thread-duplex, splice, and models that start their workers ahead",
    in_a_run: |needs| !started(needs).is_empty(),
    look: pids,
};

/// How much time of the processors the cgroup gets.
pub const QUOTA: Check = Check {
    name: "processor quota",
    read_from: "cpu.max, or cpu.cfs_quota_us in version 1, of the cgroup and of those above it",
    why: "a cgroup that has used its quota up stands still for the rest of a period, mostly of 100 ms",
    affects: "all times and rates, most the high percentiles",
    // The run says what it leaves, and measures what it throttles.
    in_a_run: |_| false,
    look: quota,
};

/// The tasks that a cgroup has room for.
struct Room {
    tasks: u64,
    most: u64,
    file: String,
}

fn pids(root: &Root, needs: &Needs) -> Finding {
    let cgroups = root.cgroups("pids");
    // Version 2 says nothing of a controller that has a hierarchy of version 1.
    let has_first = cgroups.iter().any(|cgroup| cgroup.version == Version::First);
    let all = cgroups
        .iter()
        .filter(|cgroup| !has_first || cgroup.version == Version::First);
    let mut levels = all.flat_map(Cgroup::levels).peekable();
    if levels.peek().is_none() {
        return Finding::unknown(HIDDEN);
    }
    let mut least: Option<Room> = None;
    // The outermost cgroup has no limit, and no file.
    for file in levels
        .map(|folder| folder.join("pids.max"))
        .filter(|file| file.exists())
    {
        let Some(most) = root.text_of(&file) else {
            return Finding::unknown(format!("{} cannot be read", file.display()));
        };
        let current = root.text_of(&file.with_file_name("pids.current"));
        let current = current.and_then(|text| text.parse::<u64>().ok());
        match (most.parse::<u64>(), current) {
            _ if most == "max" => {}
            (Ok(most), Some(current)) => {
                let tasks = most.saturating_sub(current);
                if least.as_ref().is_none_or(|least| tasks < least.tasks) {
                    let file = file.display().to_string();
                    least = Some(Room { tasks, most, file });
                }
            }
            _ => return Finding::unknown(format!("{} has no number", file.display())),
        }
    }
    let Some(Room { tasks, most, file }) = least else {
        return Finding::good("no limit");
    };
    let needed = needs.tasks() as u64;
    let (room, needs_of) = (thousands(tasks as f64), thousands(needed as f64));
    if tasks >= needed {
        return Finding::good(format!("room for {room}, and {needs_of} are needed"));
    }
    let finding = Finding::stops(format!(
        "room for {room} of {} by {file}, and servers start {needs_of}, most of them {}",
        thousands(most as f64),
        list(&started(needs))
    ));
    match root.is_container() {
        true => {
            finding.mend_elsewhere("start the container with a higher limit: `docker run --pids-limit -1`")
        }
        false => finding.mend(format!("echo max | sudo tee {file}")),
    }
}

fn quota(root: &Root, needs: &Needs) -> Finding {
    let cgroups = root.cgroups("cpu");
    if cgroups.is_empty() {
        return Finding::unknown(HIDDEN);
    }
    let Some(quotas) = Quotas::of_cgroups(&cgroups) else {
        return Finding::good("none");
    };
    let placement = &needs.placement;
    let mut cpus = [&placement.server_cpus[..], &placement.generator_cpus].concat();
    cpus.sort_unstable();
    cpus.dedup();
    let found = format!("{} for {} in use", processors(quotas.processors()), cpus.len());
    let finding = match quotas.processors() < cpus.len() as f64 {
        true => Finding::spoils(found),
        false => Finding::note(found),
    };
    match root.is_container() {
        true => finding.mend_elsewhere("start the container without a quota: no `--cpus`, no limit in its pod"),
        false => finding.mend_elsewhere(
            "the quota belongs to the service or slice of this process: `systemctl set-property UNIT CPUQuota=`, with \
             the unit in /proc/self/cgroup",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, elsewhere, needs};
    use super::*;
    use record::HostState::*;

    /// A host whose cgroups of either version have this process in `/a/b`, with these files in `/a` and
    /// `/a/b`.
    fn host(version: Version, outer: &[(&str, &str)], inner: &[(&str, &str)]) -> Host {
        let host = Host::with(&[]);
        let mount = host.root().path("/cg");
        let mount = mount.display();
        let (mounts, member) = match version {
            Version::First => (
                format!(
                    "39 31 0:36 / {mount} rw - cgroup cgroup rw,pids,cpu\n41 31 0:38 / {mount}/none rw - cgroup2 \
                     cgroup2 rw\n"
                ),
                "8:pids,cpu:/a/b\n0::/\n",
            ),
            Version::Second => (
                format!("41 31 0:38 / {mount} rw - cgroup2 cgroup2 rw\n"),
                "0::/a/b\n",
            ),
        };
        host.write("/proc/self/mountinfo", &mounts);
        host.write("/proc/self/cgroup", member);
        host.write("/cg/a/b/cgroup.procs", "");
        for (folder, files) in [("a", outer), ("a/b", inner)] {
            for (file, text) in files {
                host.write(&format!("/cg/{folder}/{file}"), text);
            }
        }
        host
    }

    fn limit<'a>(most: &'a str, current: &'a str) -> [(&'static str, &'a str); 2] {
        [("pids.max", most), ("pids.current", current)]
    }

    const VERSIONS: [Version; 2] = [Version::First, Version::Second];

    #[test]
    fn the_level_with_the_least_room_counts() {
        let needs = needs(&["fork"], 100);
        for version in VERSIONS {
            let check = |outer: [&str; 2], inner: [&str; 2]| {
                host(version, &limit(outer[0], outer[1]), &limit(inner[0], inner[1])).check(&PIDS, &needs)
            };
            assert_eq!(check(["max\n", "9\n"], ["max\n", "9\n"]).state, Good);
            assert_eq!(check(["5000\n", "9\n"], ["500\n", "9\n"]).state, Good);
            let inner = check(["5000\n", "9\n"], ["100\n", "9\n"]);
            let outer = check(["5000\n", "4950\n"], ["max\n", "9\n"]);
            for (found, room, folder) in [(inner, "91 of 100", "/cg/a/b/"), (outer, "50 of 5,000", "/cg/a/")]
            {
                assert_eq!(found.state, Stops);
                assert!(
                    found.found.starts_with(&format!("room for {room} by ")),
                    "{found:?}"
                );
                assert!(found.found.ends_with("most of them fork"), "{found:?}");
                assert!(
                    command(&found).ends_with(&format!("{folder}pids.max")),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn a_container_is_started_anew_for_more() {
        let host = host(Version::Second, &[], &limit("10", "9"));
        host.enclose();
        let found = host.check(&PIDS, &needs(&["thread"], 100));
        assert!(elsewhere(&found).contains("--pids-limit"), "{found:?}");
    }

    #[test]
    fn what_the_cgroups_do_not_tell_is_not_known() {
        let needs = needs(&["fork"], 1);
        for check in [&PIDS, &QUOTA] {
            assert_eq!(Host::with(&[]).state(check, &needs), Unknown);
            assert_eq!(
                Host::with(&[("/proc/self/mountinfo", "x"), ("/proc/self/cgroup", "y")]).state(check, &needs),
                Unknown
            );
        }
        for version in VERSIONS {
            for (most, current) in [("many", "1"), ("100", "x"), ("", "1")] {
                assert_eq!(
                    host(version, &[], &limit(most, current)).state(&PIDS, &needs),
                    Unknown
                );
            }
        }
    }

    #[test]
    fn a_quota_below_the_processors_in_use_spoils() {
        let needs = needs(&["epoll"], 1);
        for version in VERSIONS {
            let quota = |quota: &str| {
                let quota_and_period = format!("{quota} 100000\n");
                let second = [("cpu.max", quota_and_period.as_str())];
                let first = [("cpu.cfs_quota_us", quota), ("cpu.cfs_period_us", "100000\n")];
                let files: &[(&str, &str)] = match version {
                    Version::First => &first,
                    Version::Second => &second,
                };
                host(version, files, &[]).check(&QUOTA, &needs)
            };
            let none = if version == Version::First { "-1" } else { "max" };
            assert_eq!(quota(none).state, Good);
            assert_eq!(quota("200000").state, Note);
            let found = quota("150000");
            assert_eq!(
                (found.state, found.found.as_str()),
                (Spoils, "1.5 processors for 2 in use")
            );
            assert!(elsewhere(&found).contains("CPUQuota"));
        }
    }
}
