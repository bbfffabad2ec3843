//! Models that this host cannot run, and why.

use record::words::{counted, list};
use servers::models::NOT_BUILT;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// Whether io_uring can be used.
pub const IO_URING: Check = Check {
    name: "io_uring",
    read_from: "io_uring_setup(2), /proc/sys/kernel/io_uring_disabled, /proc/self/status (Seccomp)",
    why: "old kernels have no io_uring, and administrators and containers often forbid it",
    affects: "models on io_uring, and the generator with --engine uring",
    in_a_run: |needs| !users(needs).is_empty(),
    look: io_uring,
};

/// Whether the other models can run.
pub const OTHERS: Check = Check {
    name: "models",
    read_from: "the probe of each model (`echobench list`)",
    why: "a model that cannot run is left out of every comparison",
    affects: "the models that are named",
    in_a_run: |needs| !unexplained(needs).is_empty(),
    look: others,
};

fn users(needs: &Needs) -> Vec<&'static str> {
    needs.models_that(|demands| demands.io_uring)
}

fn io_uring(root: &Root, needs: &Needs) -> Finding {
    let disabled = root.sysctl("kernel.io_uring_disabled").unwrap_or(0);
    let reason = match (&needs.io_uring, disabled) {
        (Err(reason), _) => reason,
        (Ok(()), _) if users(needs).is_empty() => return Finding::good("it can be used, and no server does"),
        (Ok(()), _) => return Finding::good(format!("it can be used by {}", list(&users(needs)))),
    };
    let finding = Finding::stops(match users(needs).as_slice() {
        [] => reason.clone(),
        models => format!("{} cannot run: {reason}", list(models)),
    });
    match () {
        () if disabled > 0 => finding.mend_kernel(root, "sysctl -w kernel.io_uring_disabled=0"),
        () if root.has_seccomp_filter() == Some(true) => finding.mend_elsewhere(
            "a seccomp filter forbids it: start the container with `--security-opt seccomp=unconfined`, or with a \
             profile that allows io_uring_setup, io_uring_enter and io_uring_register",
        ),
        () => finding.mend_elsewhere("use Linux 6.1 or later with CONFIG_IO_URING"),
    }
}

/// The models that cannot run for a reason that no other check gives, with that reason.
fn unexplained(needs: &Needs) -> Vec<(&'static str, &str)> {
    let models = needs.models.iter().filter_map(|(model, reason)| {
        let demands = model.demands();
        let is_explained = demands.lockable_bytes > 0 || (demands.io_uring && needs.io_uring.is_err());
        reason
            .as_deref()
            .filter(|_| !is_explained)
            .map(|reason| (model.name(), reason))
    });
    models.collect()
}

fn others(_: &Root, needs: &Needs) -> Finding {
    let unexplained = unexplained(needs);
    if !unexplained.is_empty() {
        let each: Vec<String> = { unexplained.iter() }
            .map(|(name, reason)| format!("{name} cannot run: {reason}"))
            .collect();
        return Finding::stops(each.join("; "));
    }
    let able = needs.models.iter().filter(|(_, reason)| reason.is_none()).count();
    let able = format!("{} can run here", counted(able, "model"));
    Finding::good(match NOT_BUILT {
        [] => able,
        missing => format!("{able}; this build has no {}", list(missing)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, elsewhere, host, needs};
    use super::*;
    use record::HostState::*;

    /// Needs of a host that refuses io_uring.
    fn refused(names: &[&str]) -> Needs {
        let mut needs = needs(names, 1);
        needs.io_uring = Err("io_uring is disabled".into());
        for (model, reason) in &mut needs.models {
            *reason = model
                .demands()
                .io_uring
                .then(|| "io_uring is disabled".to_owned());
        }
        needs
    }

    #[test]
    fn models_on_io_uring_are_named_where_it_is_disabled() {
        let needs = refused(&["epoll", "uring", "uring-multi"]);
        let host = host("/proc/sys/kernel/io_uring_disabled", "2\n");
        let found = host.check(&IO_URING, &needs);
        assert_eq!(found.state, Stops);
        assert_eq!(
            found.found,
            "uring and uring-multi cannot run: io_uring is disabled"
        );
        assert_eq!(command(&found), "sysctl -w kernel.io_uring_disabled=0");
        host.enclose();
        assert!(elsewhere(&host.check(&IO_URING, &needs)).contains("on its host"));
        assert_eq!(host.state(&OTHERS, &needs), Good, "the reason is given once");
    }

    #[test]
    fn a_seccomp_filter_or_an_old_kernel_is_told_otherwise() {
        let needs = refused(&["uring"]);
        let filtered = host(
            "/proc/self/status",
            "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n",
        );
        assert!(elsewhere(&filtered.check(&IO_URING, &needs)).contains("seccomp=unconfined"));
        assert!(elsewhere(&Host::with(&[]).check(&IO_URING, &needs)).contains("Linux 6.1"));
    }

    #[test]
    fn where_it_works_the_setting_alone_claims_nothing() {
        // A member of the group that the setting 1 allows.
        let host = host("/proc/sys/kernel/io_uring_disabled", "1\n");
        assert_eq!(host.state(&IO_URING, &needs(&["uring"], 1)), Good);
        assert!((IO_URING.in_a_run)(&needs(&["uring"], 1)));
        assert!(!(IO_URING.in_a_run)(&refused(&["epoll"])));
    }

    #[test]
    fn any_other_model_that_cannot_run_is_named_with_its_reason() {
        let mut needs = needs(&["aio", "epoll", "uring"], 1);
        let host = Host::with(&[]);
        assert!(
            host.check(&OTHERS, &needs)
                .found
                .starts_with("3 models can run here")
        );
        assert!(!(OTHERS.in_a_run)(&needs));
        needs.models[0].1 = Some("no threads".into());
        needs.models[2].1 = Some("this model needs the io_uring of Linux 6.1 or later".into());
        let found = host.check(&OTHERS, &needs);
        assert_eq!(found.state, Stops);
        assert!(
            found
                .found
                .starts_with("aio cannot run: no threads; uring cannot run: this model needs")
        );
        assert!((OTHERS.in_a_run)(&needs));
    }
}
