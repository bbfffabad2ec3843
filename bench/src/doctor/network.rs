//! The kernel's settings of TCP that limit how many connections there can be, and how fast they open.

use record::numbers::thousands;
use servers::cli::BACKLOG;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// The ports that connections of the generator get.
pub const PORTS: Check = Check {
    name: "ephemeral ports",
    read_from: "/proc/sys/net/ipv4/ip_local_port_range, /proc/sys/net/ipv4/tcp_tw_reuse",
    why: "each connection from one address to one server takes a port, and keeps it for a minute after it ends",
    affects: "large numbers of connections, and connections that come and go",
    in_a_run: |needs| needs.over_tcp,
    look: ports,
};

/// How many connections wait for `accept`.
pub const BACKLOG_LIMIT: Check = Check {
    name: "listen backlog",
    read_from: "/proc/sys/net/core/somaxconn",
    why: "connections beyond the backlog are dropped, and their clients try again only after a second",
    affects: "the time to open many connections, connect times under churn",
    in_a_run: |needs| needs.over_tcp,
    look: backlog,
};

fn ports(root: &Root, needs: &Needs) -> Finding {
    let range = root
        .text("/proc/sys/net/ipv4/ip_local_port_range")
        .and_then(|range| {
            let (first, last) = range.split_once(char::is_whitespace)?;
            let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then(|| usize::from(last - first) + 1)
        });
    let Some(ports) = range else {
        return Finding::unknown("this kernel does not tell");
    };
    let found = format!("{} ports", thousands(ports as f64));
    let connections = thousands(needs.connections as f64);
    if needs.connections > ports {
        return Finding::stops(format!("{found} for {connections} connections"))
            .mend("sysctl -w net.ipv4.ip_local_port_range='1024 65535'");
    }
    match root.sysctl("net.ipv4.tcp_tw_reuse") {
        Some(0) if needs.short_connections => Finding::spoils(format!(
            "{found}, which are not used again for a minute after a connection ends: no more than {} connections a \
             second",
            thousands((ports / 60) as f64)
        ))
        .mend("sysctl -w net.ipv4.tcp_tw_reuse=1"),
        _ => Finding::good(format!("{found} for at most {connections} connections")),
    }
}

fn backlog(root: &Root, needs: &Needs) -> Finding {
    let Some(most) = root.sysctl("net.core.somaxconn") else {
        return Finding::unknown("this kernel does not tell");
    };
    // No server asks for more.
    let needed = needs.connections.min(BACKLOG as usize) as u64;
    let found = format!("net.core.somaxconn is {most}");
    match most < needed {
        true => Finding::spoils(format!(
            "{found}, and {} connections are opened at once",
            thousands(needs.connections as f64)
        ))
        .mend(format!("sysctl -w net.core.somaxconn={BACKLOG}")),
        false => Finding::good(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, host, needs};
    use super::*;
    use record::HostState::*;

    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

    #[test]
    fn more_connections_than_ports_cannot_be_opened() {
        let host = host(RANGE, "32768\t60999\n");
        assert_eq!(host.state(&PORTS, &needs(&["epoll"], 28_232)), Good);
        let found = host.check(&PORTS, &needs(&["epoll"], 28_233));
        assert_eq!(found.state, Stops);
        assert_eq!(found.found, "28,232 ports for 28,233 connections");
        assert!(command(&found).contains("ip_local_port_range"));
    }

    #[test]
    fn ports_that_are_not_used_again_spoil_only_connections_that_come_and_go() {
        let reuse = |value| Host::with(&[(RANGE, "32768 60999"), ("/proc/sys/net/ipv4/tcp_tw_reuse", value)]);
        let mut needs = needs(&["epoll"], 10);
        assert_eq!(reuse("0\n").state(&PORTS, &needs), Good);
        needs.short_connections = true;
        let found = reuse("0\n").check(&PORTS, &needs);
        assert_eq!(found.state, Spoils);
        assert!(found.found.contains("470 connections a second"), "{found:?}");
        assert_eq!(reuse("2\n").state(&PORTS, &needs), Good);
    }

    #[test]
    fn a_backlog_below_the_connections_spoils_up_to_what_servers_ask_for() {
        let somaxconn = |value| host("/proc/sys/net/core/somaxconn", value);
        assert_eq!(
            somaxconn("128\n").state(&BACKLOG_LIMIT, &needs(&["epoll"], 128)),
            Good
        );
        let found = somaxconn("128\n").check(&BACKLOG_LIMIT, &needs(&["epoll"], 129));
        assert_eq!(found.state, Spoils);
        assert_eq!(command(&found), "sysctl -w net.core.somaxconn=4096");
        let many = needs(&["epoll"], 10_000);
        assert_eq!(somaxconn("4096\n").state(&BACKLOG_LIMIT, &many), Good);
    }

    #[test]
    fn garbled_settings_are_not_known() {
        let needs = needs(&["epoll"], 1000);
        for garbled in ["", "x", "1 2 3", "60999 32768", "0 70000"] {
            assert_eq!(host(RANGE, garbled).state(&PORTS, &needs), Unknown, "{garbled:?}");
        }
        assert_eq!(Host::with(&[]).state(&BACKLOG_LIMIT, &needs), Unknown);
        assert_eq!(
            host("/proc/sys/net/core/somaxconn", "-1").state(&BACKLOG_LIMIT, &needs),
            Unknown
        );
    }

    #[test]
    fn loads_over_other_transports_hear_nothing_of_them() {
        let mut needs = needs(&["udp"], 1);
        for check in [&PORTS, &BACKLOG_LIMIT] {
            assert!((check.in_a_run)(&needs));
        }
        needs.over_tcp = false;
        for check in [&PORTS, &BACKLOG_LIMIT] {
            assert!(!(check.in_a_run)(&needs));
        }
    }
}
