//! The plan of a load in words.

use bytesize::ByteSize;

use super::layout::{Row, row, rows};
use record::units::show_rate;
use record::words::count;
use record::{Arrivals, Load, LoopKind, MessageSize, Plan, Stage, Transport, Wait};

/// More stages than this are summarized.
const LISTED_STAGES: usize = 3;

pub(super) fn describe(load: &Load) -> Vec<Row> {
    let plan = &load.plan;
    let mut all = rows("load", traffic(load));
    let lines = if plan.lines { ", each a line" } else { "" };
    all.push(row("messages", sizes(load) + lines));
    all.extend(sources(plan));
    let time = format!("{} after {} of warm-up", plan.duration(), plan.warmup);
    all.push(row("time", time));
    all.extend(rows("engine", engine(load)));
    all
}

fn traffic(load: &Load) -> Vec<String> {
    let plan = &load.plan;
    let over = match plan.transport() {
        Transport::Tcp if load.is_over_unix_socket() => " over a Unix socket",
        Transport::Tcp => "",
        Transport::Udp => " over UDP",
    };
    let connections = format!("{}{over}", count(plan.connections() as u64, "connection"));
    let messages = plan
        .messages_per_connection()
        .map(|messages| count(messages, "message"));
    let mut lines = Vec::new();
    match plan.loop_kind() {
        LoopKind::Closed => {
            let depth = count(plan.depth.into(), "message");
            lines.push(format!(
                "closed loop of {connections}, {depth} in flight per connection"
            ));
            lines.extend(
                messages.map(|messages| {
                    format!("each connection is closed after {messages}, and another opened")
                }),
            );
        }
        LoopKind::Open => {
            lines.push(format!("open loop on {connections}, {} messages", arrivals(plan)));
            lines.push(stages(&plan.schedule()));
        }
        LoopKind::PartlyOpen => {
            lines.push(format!("partly open loop, {} connections{over}", arrivals(plan)));
            lines.push(stages(&plan.schedule()));
            lines.extend(
                messages.map(|messages| format!("{messages} on each connection, one after the other")),
            );
        }
    }
    if !plan.think.0.is_zero() {
        lines.push(format!(
            "think time of {} between an answer and the next message",
            plan.think
        ));
    }
    if plan.reconnect {
        lines.push("connections that are lost are opened again".into());
    }
    if plan.idle > 0 {
        lines.push(format!(
            "{} in addition",
            count(plan.idle as u64, "idle connection")
        ));
    }
    lines
}

fn arrivals(plan: &Plan) -> &'static str {
    match plan.arrivals() {
        Some(Arrivals::Poisson) => "a Poisson process of",
        Some(Arrivals::Constant) | None => "evenly spaced",
    }
}

fn stages(stages: &[Stage]) -> String {
    let shown = |stage: &Stage| {
        let (from, to) = (
            show_rate(stage.from.per_second()),
            show_rate(stage.to.per_second()),
        );
        match (from == to, stages.len()) {
            (true, 1) => format!("at {to}"),
            (true, _) => format!("{} at {to}", stage.duration),
            (false, _) => format!("{} from {from} to {to}", stage.duration),
        }
    };
    if stages.len() <= LISTED_STAGES {
        return stages.iter().map(shown).collect::<Vec<_>>().join(", then ");
    }
    let rates = || {
        stages
            .iter()
            .flat_map(|stage| [stage.from, stage.to])
            .map(|rate| rate.per_second())
    };
    format!(
        "{} stages at {} to {}",
        stages.len(),
        show_rate(rates().fold(f64::INFINITY, f64::min)),
        show_rate(rates().fold(0.0, f64::max))
    )
}

fn sizes(load: &Load) -> String {
    let mean = |mean: f64| format!("{} on average", ByteSize(mean.round() as u64));
    let size = &load.plan.size;
    match size {
        MessageSize::Fixed(size) => ByteSize(size.0).to_string(),
        MessageSize::Uniform(first, last) => format!(
            "{} to {}, uniformly distributed; {}",
            ByteSize(first.0),
            ByteSize(last.0),
            mean((first.0 as f64 + last.0 as f64) / 2.0)
        ),
        MessageSize::Listed(path) => match load.listed_mean_bytes {
            Some(bytes) => format!("the sizes in {}, in turn; {}", path.display(), mean(bytes)),
            None => format!("the sizes in {}, in turn", path.display()),
        },
    }
}

fn sources(plan: &Plan) -> Option<Row> {
    let number = { plan.sources.iter() }
        .flat_map(|range| range.addresses())
        .count();
    let ranges: Vec<_> = plan.sources.iter().map(|range| range.to_string()).collect();
    match number {
        0 => None,
        1 => Some(row("from", &ranges[0])),
        _ => Some(row(
            "from",
            format!("{number} addresses in turn, {}", ranges.join(", ")),
        )),
    }
}

fn engine(load: &Load) -> Vec<String> {
    let generator = &load.generator;
    let threads = count(load.plan.threads() as u64, "thread");
    let pinned = match &generator.cpus[..] {
        [] => "not pinned".into(),
        [cpu] => format!("pinned to processor {cpu}"),
        cpus => {
            let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
            format!("pinned to processors {}", cpus.join(", "))
        }
    };
    let wait = match generator.wait {
        Wait::Sleep => "sleeps between events: every latency includes the wake-up",
        Wait::Spin => "busy-polls: no latency includes a wake-up",
        Wait::Mixed => "some generators sleep between events: their latencies include the wake-up",
    };
    vec![
        format!("{threads} on {}, {pinned}", generator.engine),
        wait.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::sample::busy as load_of;

    fn words(load: &Load) -> String {
        let rows = describe(load).into_iter().map(|(_, text)| text);
        rows.collect::<Vec<_>>().join("\n")
    }

    fn shows(load: &Load, expected: &[&str]) {
        let words = words(load);
        for text in expected {
            assert!(words.contains(text), "{text} is missing:\n{words}");
        }
    }

    #[test]
    fn a_closed_loop() {
        let plain = load_of(&Plan::default());
        shows(
            &plain,
            &[
                "closed loop of 64 connections, 1 message in flight per connection",
                "64 B",
                "10s after 1s of warm-up",
                "1 thread on epoll, not pinned",
                "sleeps between events: every latency includes the wake-up",
            ],
        );
        let words = words(&plain);
        for absent in ["think", "idle", "is closed", "addresses"] {
            assert!(!words.contains(absent), "{absent}: {words}");
        }
    }

    #[test]
    fn a_closed_loop_with_everything() {
        let mut load = load_of(&Plan {
            depth: 8,
            think: "20ms".parse().unwrap(),
            messages_per_connection: Some(1),
            idle: 1000,
            size: "uniform:16B..4KiB".parse().unwrap(),
            sources: vec!["127.0.0.2-127.0.0.3".parse().unwrap()],
            ..Plan::default()
        });
        load.generator.cpus = vec![2, 3];
        load.generator.wait = Wait::Spin;
        shows(
            &load,
            &[
                "8 messages in flight per connection",
                "each connection is closed after 1 message, and another opened",
                "think time of 20ms",
                "1000 idle connections in addition",
                "16 B to 4.0 KiB, uniformly distributed; 2.0 KiB on average",
                "2 addresses in turn, 127.0.0.2-127.0.0.3",
                "pinned to processors 2, 3",
                "busy-polls",
            ],
        );
    }

    #[test]
    fn connections_that_are_opened_again() {
        let load = load_of(&Plan {
            reconnect: true,
            ..Plan::default()
        });
        shows(&load, &["connections that are lost are opened again"]);
    }

    #[test]
    fn an_open_loop() {
        let at = |stages: &str, arrivals| {
            load_of(&Plan {
                stages: Some(stages.parse().unwrap()),
                arrivals,
                ..Plan::default()
            })
        };
        let steady = Plan {
            rate: Some("50k/s".parse().unwrap()),
            ..Plan::default()
        };
        shows(
            &load_of(&steady),
            &["open loop on 64 connections, evenly spaced messages\nat 50.0k/s"],
        );
        shows(
            &at("10s@1k/s..50k/s,30s@50k/s", Some(Arrivals::Poisson)),
            &["a Poisson process of messages\n10s from 1.00k/s to 50.0k/s, then 30s at 50.0k/s"],
        );
        shows(
            &at("1s@1k/s,1s@2k/s,1s@3k/s,1s@2k/s", None),
            &["4 stages at 1.00k/s to 3.00k/s", "4s after"],
        );
    }

    #[test]
    fn sizes_from_a_file_have_their_mean_in_the_load() {
        let mut load = load_of(&Plan::default());
        load.plan.size = "file:/nowhere/sizes".parse().unwrap();
        shows(&load, &["the sizes in /nowhere/sizes, in turn"]);
        load.listed_mean_bytes = Some(2080.0);
        shows(
            &load,
            &["the sizes in /nowhere/sizes, in turn; 2.0 KiB on average"],
        );
    }

    #[test]
    fn lines() {
        let plan = Plan {
            lines: true,
            ..Plan::default()
        };
        shows(&load_of(&plan), &["64 B, each a line"]);
    }

    #[test]
    fn datagrams() {
        let plan = Plan {
            udp: true,
            ..Plan::default()
        };
        shows(
            &load_of(&plan),
            &["closed loop of 64 connections over UDP, 1 message"],
        );
    }

    #[test]
    fn a_unix_socket() {
        let mut load = load_of(&Plan::default());
        load.target = "unix:/tmp/echo.sock".into();
        shows(
            &load,
            &["closed loop of 64 connections over a Unix socket, 1 message"],
        );
        load.plan.connect_rate = Some("500/s".parse().unwrap());
        shows(
            &load,
            &["partly open loop, a Poisson process of connections over a Unix socket\nat 500/s"],
        );
    }

    #[test]
    fn a_partly_open_loop() {
        let plan = Plan {
            connect_rate: Some("500/s".parse().unwrap()),
            think: "1s".parse().unwrap(),
            messages_per_connection: Some(3),
            ..Plan::default()
        };
        shows(
            &load_of(&plan),
            &[
                "partly open loop, a Poisson process of connections\nat 500/s",
                "3 messages on each connection, one after the other",
                "think time of 1s",
            ],
        );
    }
}
