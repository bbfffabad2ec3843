//! The limits of a process: descriptors, locked memory.

use loadgen::limits::possible;
use record::words::{counted, list};

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// CAP_SYS_RESOURCE, which may raise a hard limit.
const SYS_RESOURCE: u32 = 24;

/// Descriptors that a server has beside those of its connections, with room to spare.
const OWN_DESCRIPTORS: usize = 64;

/// The descriptors that a process may open.
pub const DESCRIPTORS: Check = Check {
    name: "open descriptors",
    read_from: "/proc/self/limits: hard limit of open files",
    why: "each connection takes a descriptor of the generator and at least one of the server",
    affects: "large numbers of connections",
    in_a_run: |_| true,
    look: descriptors,
};

/// The memory that a process may lock.
pub const LOCKED_MEMORY: Check = Check {
    name: "locked memory",
    read_from: "/proc/self/limits: soft limit of locked memory",
    why: "some runtimes lock the memory of their rings",
    affects: "glommio; before Linux 5.12 all models on io_uring",
    in_a_run: |needs| !needs.models_that(|demands| demands.lockable_bytes > 0).is_empty(),
    look: locked_memory,
};

fn amount(limit: u64) -> String {
    match limit {
        u64::MAX => "no limit".into(),
        limit => format!("at most {}", counted(limit as usize, "descriptor")),
    }
}

fn descriptors(root: &Root, needs: &Needs) -> Finding {
    let Some(limit) = root.limit("Max open files") else {
        return Finding::unknown("the limits of this process cannot be read");
    };
    let limit = limit.hard;
    let connections = counted(needs.connections, "connection");
    let of = |each: usize| (needs.connections * each + OWN_DESCRIPTORS) as u64;
    let models = needs.models_that(|demands| of(demands.descriptors_per_connection) > limit);
    let needed = { needs.models.iter() }.map(|(model, _)| of(model.demands().descriptors_per_connection));
    let needed = needed.max().unwrap_or_default().max(of(1));
    let finding = match possible(needs.connections, needs.generator_threads, limit) {
        Err(_) => Finding::stops(format!("{}, too few for {connections}", amount(limit))),
        Ok(_) if !models.is_empty() => Finding::stops(format!(
            "{}, too few for {connections} to {}",
            amount(limit),
            list(&models)
        )),
        Ok(_) => return Finding::good(format!("{}, enough for {connections}", amount(limit))),
    };
    match root.has_capability(&[SYS_RESOURCE]) {
        Some(true) => finding.mend(format!("ulimit -n {needed}")),
        _ if root.is_container() => finding.mend_elsewhere(format!(
            "start the container with a higher limit: `docker run --ulimit nofile={needed}`"
        )),
        _ => finding.mend_elsewhere(format!(
            "a hard limit is raised by root: `nofile {needed}` in /etc/security/limits.conf and a new login, or \
             LimitNOFILE={needed} of a service"
        )),
    }
}

fn locked_memory(root: &Root, needs: &Needs) -> Finding {
    let Some(limits) = root.limit("Max locked memory") else {
        return Finding::unknown("the limits of this process cannot be read");
    };
    let limit = limits.soft;
    let found = match limit {
        u64::MAX => "no limit".into(),
        limit => format!("at most {} KiB", limit / 1024),
    };
    let models = needs.models_that(|demands| demands.lockable_bytes > limit);
    if models.is_empty() {
        return Finding::good(found);
    }
    let needed = { needs.models.iter() }.map(|(model, _)| model.demands().lockable_bytes.div_ceil(1024));
    let needed = needed.max().unwrap_or_default();
    let finding = Finding::stops(format!(
        "{found}, too little for {}, which needs {needed} KiB",
        list(&models)
    ));
    match limits.hard / 1024 >= needed || root.has_capability(&[SYS_RESOURCE]) == Some(true) {
        true => finding.mend(format!("ulimit -l {needed}")),
        false => finding.mend_elsewhere(format!(
            "a hard limit is raised by root: `memlock {needed}` in /etc/security/limits.conf and a new login, \
             LimitMEMLOCK={needed}K of a service, or `docker run --ulimit memlock={}`",
            needed * 1024
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, elsewhere, host, limits, needs};
    use super::*;
    use record::HostState::*;

    const LIMITS: &str = "/proc/self/limits";
    const ROOT: &str = "Name:\tx\nCapEff:\t000001ffffffffff\n";

    fn descriptors(soft: &str, hard: &str) -> Host {
        host(LIMITS, &limits((soft, hard), "unlimited", "8388608"))
    }

    #[test]
    fn too_few_descriptors_for_the_connections_stop_a_load() {
        let needs = needs(&["epoll"], 1000);
        assert_eq!(descriptors("1024", "524288").state(&DESCRIPTORS, &needs), Good);
        assert_eq!(descriptors("1024", "unlimited").state(&DESCRIPTORS, &needs), Good);
        let found = descriptors("1024", "1024").check(&DESCRIPTORS, &needs);
        assert_eq!(found.state, Stops);
        assert_eq!(
            found.found,
            "at most 1,024 descriptors, too few for 1,000 connections"
        );
        assert!(elsewhere(&found).contains("LimitNOFILE=1064"), "{found:?}");
    }

    #[test]
    fn a_model_with_several_descriptors_for_a_connection_is_named() {
        let needs = needs(&["epoll", "splice"], 1000);
        let host = descriptors("2000", "2000");
        let found = host.check(&DESCRIPTORS, &needs);
        assert_eq!(
            found.found,
            "at most 2,000 descriptors, too few for 1,000 connections to splice"
        );
        host.write("/proc/self/status", ROOT);
        assert_eq!(command(&host.check(&DESCRIPTORS, &needs)), "ulimit -n 3064");
    }

    #[test]
    fn limits_that_cannot_be_read_are_not_known() {
        let needs = needs(&["epoll"], 1000);
        for garbled in ["", "Limit\n", "Max open files  many\n", "\u{0}\u{1}"] {
            for check in [&DESCRIPTORS, &LOCKED_MEMORY] {
                assert_eq!(host(LIMITS, garbled).state(check, &needs), Unknown, "{garbled:?}");
            }
        }
    }

    #[test]
    fn locked_memory_is_good_where_no_server_needs_more() {
        let needs = needs(&["epoll"], 1);
        let found = host(LIMITS, &limits(("9", "9"), "9", "65536")).check(&LOCKED_MEMORY, &needs);
        assert_eq!((found.state, found.found.as_str()), (Good, "at most 64 KiB"));
        assert!(!(LOCKED_MEMORY.in_a_run)(&needs));
    }

    #[cfg(feature = "glommio")]
    #[test]
    fn too_little_locked_memory_stops_glommio() {
        let needs = needs(&["epoll", "glommio"], 1);
        let found = host(LIMITS, &limits(("9", "9"), "9", "65536")).check(&LOCKED_MEMORY, &needs);
        assert_eq!(found.state, Stops);
        assert!(found.found.contains("glommio, which needs 512 KiB"), "{found:?}");
        assert!(elsewhere(&found).contains("memlock=524288"));
        let enough = host(LIMITS, &limits(("9", "9"), "9", "524288"));
        assert_eq!(enough.state(&LOCKED_MEMORY, &needs), Good);
        assert!((LOCKED_MEMORY.in_a_run)(&needs));
    }
}
