//! How many processes and threads there may be.

use procfs::LoadAverage;
use record::numbers::thousands;
use record::words::list;
use servers::models::Demands;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// CAP_SYS_ADMIN and CAP_SYS_RESOURCE, which the limit of a user does not bind.
const EXEMPT: [u32; 2] = [21, 24];

/// Mappings of a thread: its stack and the guard beside it.
const MAPS_OF_A_THREAD: usize = 2;

/// Mappings of a server beside those of its threads, with room to spare.
const OWN_MAPS: usize = 1000;

/// How many processes and threads the kernel and the user may have.
pub const TASKS: Check = Check {
    name: "processes and threads",
    read_from: "/proc/self/limits (processes), /proc/sys/kernel/pid_max, /proc/sys/kernel/threads-max, /proc/loadavg",
    why: "some models start a process or a thread for each connection, and turn clients away when they cannot",
    affects: "fork, thread, thread-duplex, splice, and models that start their workers ahead",
    in_a_run: |needs| starts_any(needs),
    look: tasks,
};

/// How many mappings a process may have.
pub const MAPS: Check = Check {
    name: "memory mappings",
    read_from: "/proc/sys/vm/max_map_count",
    why: "the stack of a thread and its guard are up to two mappings of the process",
    affects: "models with a thread for each connection: thread, thread-duplex, splice",
    in_a_run: |needs| {
        !needs
            .models_that(|demands| demands.threads_per_connection > 0)
            .is_empty()
    },
    look: maps,
};

fn starts_any(needs: &Needs) -> bool {
    !started(needs).is_empty()
}

/// The models that start something for each connection.
pub fn started(needs: &Needs) -> Vec<&'static str> {
    needs.models_that(|demands| demands.processes_per_connection + demands.threads_per_connection > 0)
}

fn tasks(root: &Root, needs: &Needs) -> Finding {
    let needed = needs.tasks() as u64;
    let load: Option<LoadAverage> = root.parsed("/proc/loadavg");
    let present = load.map_or(0, |load| u64::from(load.max));
    // Whether the user is exempt is not known: the limit might bind, so nothing is claimed of it.
    let bound = root.has_capability(&EXEMPT) == Some(false);
    let of_user = root
        .limit("Max processes")
        .filter(|limit| bound && limit.soft < u64::MAX);
    let of_user = of_user.map(|limit| {
        let what = "of the user (ulimit -u)".to_owned();
        (limit.soft, what, format!("ulimit -u {}", 2 * needed))
    });
    let of_kernel = |name: &str| {
        let most = root.sysctl(name)?.saturating_sub(present);
        Some((
            most,
            name.to_owned(),
            format!("sysctl -w {name}={}", 2 * needed + present),
        ))
    };
    let limits = [
        of_user,
        of_kernel("kernel.pid_max"),
        of_kernel("kernel.threads-max"),
    ];
    let least = limits.into_iter().flatten().min_by_key(|(most, ..)| *most);
    let thousands = |number: u64| thousands(number as f64);
    match least {
        None => Finding::unknown("no limit can be read"),
        Some((most, what, command)) if most < needed => {
            let finding = Finding::stops(format!(
                "room for {} by {what}, and {} take {} with {} connections",
                thousands(most),
                list(&started(needs)),
                thousands(needed),
                thousands(needs.connections as u64)
            ));
            match command.starts_with("sysctl") {
                true => finding.mend_kernel(root, &command),
                false => finding.mend(command),
            }
        }
        Some((most, what, _)) => Finding::good(format!(
            "room for {} by {what}, and {} are needed",
            thousands(most),
            thousands(needed)
        )),
    }
}

fn maps(root: &Root, needs: &Needs) -> Finding {
    let Some(most) = root.sysctl("vm.max_map_count") else {
        return Finding::unknown("this kernel does not tell");
    };
    let of =
        |demands: &Demands| MAPS_OF_A_THREAD * demands.threads_per_connection * needs.connections + OWN_MAPS;
    let models = needs.models_that(|demands| of(demands) as u64 > most);
    let needed = { needs.models.iter() }
        .map(|(model, _)| of(&model.demands()))
        .max();
    let needed = needed.unwrap_or_default();
    let found = format!("at most {}", thousands(most as f64));
    match models.is_empty() {
        true => Finding::good(found),
        false => Finding::stops(format!(
            "{found}, and {} connections may take {} of {}",
            thousands(needs.connections as f64),
            thousands(needed as f64),
            list(&models)
        ))
        .mend_kernel(root, &format!("sysctl -w vm.max_map_count={needed}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, host, limits, needs};
    use super::*;
    use record::HostState::*;

    const USER: &str = "Name:\tx\nCapEff:\t0000000000000000\n";
    const ROOT: &str = "Name:\tx\nCapEff:\t000001ffffffffff\n";
    const LOADED: &str = "0.10 0.10 0.10 1/500 4242\n";

    fn kernel(pid_max: &str, threads_max: &str) -> Host {
        Host::with(&[
            ("/proc/loadavg", LOADED),
            ("/proc/sys/kernel/pid_max", pid_max),
            ("/proc/sys/kernel/threads-max", threads_max),
        ])
    }

    #[test]
    fn each_limit_of_the_kernel_stops_models_that_need_more() {
        let needs = needs(&["fork", "thread-duplex"], 1000);
        assert!((3000..3010).contains(&needs.tasks()));
        assert_eq!(kernel("32768", "30000").state(&TASKS, &needs), Good);
        for (pids, threads, name) in [
            ("3400", "30000", "kernel.pid_max"),
            ("32768", "3400", "kernel.threads-max"),
        ] {
            let found = kernel(pids, threads).check(&TASKS, &needs);
            assert_eq!(found.state, Stops);
            assert!(found.found.contains("room for 2,900"), "{found:?}");
            assert!(found.found.contains("fork and thread-duplex"), "{found:?}");
            assert!(
                command(&found).starts_with(&format!("sysctl -w {name}=")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn servers_that_run_one_after_the_other_need_room_for_one() {
        let mut needs = needs(&["fork", "thread"], 1000);
        assert_eq!(kernel("2000", "30000").state(&TASKS, &needs), Stops);
        needs.at_once = false;
        assert_eq!(kernel("2000", "30000").state(&TASKS, &needs), Good);
    }

    #[test]
    fn the_limit_of_a_user_binds_only_who_is_not_exempt() {
        let needs = needs(&["fork"], 1000);
        let with = |status: &str| {
            let host = kernel("32768", "30000");
            host.write("/proc/self/limits", &limits(("9", "9"), "500", "9"));
            host.write("/proc/self/status", status);
            host
        };
        let found = with(USER).check(&TASKS, &needs);
        assert_eq!(found.state, Stops);
        assert!(command(&found).starts_with("ulimit -u"));
        assert_eq!(with(ROOT).state(&TASKS, &needs), Good);
        assert_eq!(
            with("CapEff:\tzzz\n").state(&TASKS, &needs),
            Good,
            "it is not known to bind"
        );
    }

    #[test]
    fn limits_that_cannot_be_read_are_not_known() {
        let needs = needs(&["fork"], 1000);
        assert_eq!(Host::with(&[]).state(&TASKS, &needs), Unknown);
        assert_eq!(kernel("many", "").state(&TASKS, &needs), Unknown);
        assert_eq!(
            host("/proc/sys/vm/max_map_count", "x").state(&MAPS, &needs),
            Unknown
        );
    }

    #[test]
    fn a_run_without_such_models_hears_nothing_of_it() {
        for (name, concerned) in [("epoll", false), ("fork", true), ("splice", true)] {
            assert_eq!((TASKS.in_a_run)(&needs(&[name], 1)), concerned, "{name}");
        }
        for (name, concerned) in [("epoll", false), ("fork", false), ("thread", true)] {
            assert_eq!((MAPS.in_a_run)(&needs(&[name], 1)), concerned, "{name}");
        }
    }

    #[test]
    fn too_few_mappings_stop_models_with_threads() {
        let host = host("/proc/sys/vm/max_map_count", "65530\n");
        assert_eq!(host.state(&MAPS, &needs(&["fork", "thread"], 30_000)), Good);
        assert_eq!(host.state(&MAPS, &needs(&["fork", "epoll"], 50_000)), Good);
        let found = host.check(&MAPS, &needs(&["thread", "thread-duplex"], 30_000));
        assert_eq!(found.state, Stops);
        assert!(found.found.ends_with("of thread-duplex"), "{found:?}");
        assert_eq!(command(&found), "sysctl -w vm.max_map_count=121000");
    }
}
