//! What was asked for, in words.

use std::time::Duration;

use bytesize::ByteSize;

use super::layout::{Row, row, rows};
use record::units::show_rate;
use record::words::count;
use record::{Arrivals, Discipline, Load, PlanRecord, StageRecord, Transport};

/// More stages than this are not listed: their number and bounds say as much.
const LISTED_STAGES: usize = 3;

pub(super) fn describe(load: &Load) -> Vec<Row> {
    let plan = &load.plan;
    let mut all = rows("load", discipline(plan));
    all.push(row("messages", sizes(plan)));
    if let (Some(first), Some(last)) = (plan.sources.first(), plan.sources.last()) {
        all.push(match plan.sources.len() {
            1 => row("from", first),
            number => row("from", format!("{number} addresses in turn, {first} to {last}")),
        });
    }
    let (duration, warmup) = (show_seconds(plan.duration_s), show_seconds(plan.warmup_s));
    all.push(row("time", format!("{duration} after {warmup} of warm-up")));
    all.extend(rows("engine", engine(load)));
    all
}

fn discipline(plan: &PlanRecord) -> Vec<String> {
    let over = match plan.transport {
        Transport::Tcp => "",
        Transport::Udp => " over UDP",
    };
    let connections = format!("{}{over}", count(plan.connections as u64, "connection"));
    let messages = plan
        .messages_per_connection
        .map(|messages| count(messages, "message"));
    let mut lines = Vec::new();
    match plan.discipline {
        Discipline::Closed => {
            let depth = count(plan.depth.into(), "message");
            lines.push(format!(
                "closed loop of {connections}, {depth} in flight per connection"
            ));
            lines.extend(
                messages.map(|messages| {
                    format!("each is closed after {messages}, and another opened in its place")
                }),
            );
        }
        Discipline::Open => {
            lines.push(format!("open loop on {connections}, {} messages", arrivals(plan)));
            lines.push(stages(&plan.stages));
        }
        Discipline::PartlyOpen => {
            lines.push(format!("partly open, {} connections", arrivals(plan)));
            lines.push(stages(&plan.stages));
            lines.extend(
                messages.map(|messages| format!("each sends {messages}, one after the other, and is closed")),
            );
        }
    }
    if plan.think_s > 0.0 {
        let think = show_seconds(plan.think_s);
        lines.push(format!(
            "think time of {think} between an answer and the next message"
        ));
    }
    if plan.idle > 0 {
        lines.push(format!(
            "{} beside them",
            count(plan.idle as u64, "idle connection")
        ));
    }
    lines
}

fn arrivals(plan: &PlanRecord) -> &'static str {
    match plan.arrivals {
        Some(Arrivals::Poisson) => "a Poisson process of",
        Some(Arrivals::Constant) | None => "evenly spaced",
    }
}

fn stages(stages: &[StageRecord]) -> String {
    let shown = |stage: &StageRecord| {
        let (from, to) = (show_rate(stage.from_per_s), show_rate(stage.to_per_s));
        match (from == to, stages.len()) {
            (true, 1) => format!("at {to}"),
            (true, _) => format!("{} at {to}", show_seconds(stage.duration_s)),
            (false, _) => format!("{} from {from} to {to}", show_seconds(stage.duration_s)),
        }
    };
    if stages.len() <= LISTED_STAGES {
        return stages.iter().map(shown).collect::<Vec<_>>().join(", then ");
    }
    let rates = stages.iter().flat_map(|stage| [stage.from_per_s, stage.to_per_s]);
    let (lowest, highest) = (
        { rates.clone() }.fold(f64::INFINITY, f64::min),
        rates.fold(0.0, f64::max),
    );
    format!(
        "{} stages at {} to {}",
        stages.len(),
        show_rate(lowest),
        show_rate(highest)
    )
}

fn sizes(plan: &PlanRecord) -> String {
    let mean = ByteSize(plan.message_bytes);
    match &plan.sizes {
        Some(sizes) => format!("{sizes}; {mean} on average"),
        None => mean.to_string(),
    }
}

fn engine(load: &Load) -> Vec<String> {
    let generator = &load.generator;
    let threads = count(load.plan.threads as u64, "thread");
    let pinned = match &generator.cpus[..] {
        [] => "not pinned".into(),
        [cpu] => format!("pinned to processor {cpu}"),
        cpus => {
            let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
            format!("pinned to processors {}", cpus.join(", "))
        }
    };
    let wait = match generator.wait.as_str() {
        "spin" => "spins between events: no wake-up is in the latencies",
        _ => "sleeps between events: its wake-up is in every latency",
    };
    vec![
        format!("{threads} on {}, {pinned}", generator.engine),
        wait.into(),
    ]
}

/// A time as it is typed: `10s`, `250ms`.
fn show_seconds(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) => humantime::format_duration(time).to_string(),
        Err(_) => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacer::{Pace, stages};
    use crate::plan::Loop;
    use crate::sample::busy as load;

    fn words(load: &Load) -> String {
        let rows = describe(load).into_iter().map(|(_, text)| text);
        rows.collect::<Vec<_>>().join("\n")
    }

    fn says(load: &Load, expected: &[&str]) {
        let words = words(load);
        for text in expected {
            assert!(words.contains(text), "{text} is missing:\n{words}");
        }
    }

    #[test]
    fn a_closed_loop() {
        let plain = load(Loop::closed());
        says(
            &plain,
            &[
                "closed loop of 64 connections, 1 message in flight per connection",
                "64 B",
                "10s after 1s of warm-up",
                "1 thread on epoll, not pinned",
                "sleeps between events: its wake-up is in every latency",
            ],
        );
        let words = words(&plain);
        for absent in ["think", "idle", "closed after", "addresses"] {
            assert!(!words.contains(absent), "{absent}: {words}");
        }
    }

    #[test]
    fn a_closed_loop_with_everything() {
        let mut load = load(Loop::Closed {
            depth: 8,
            think: Duration::from_millis(20),
            messages_per_connection: Some(1),
        });
        load.plan.idle = 1000;
        load.plan.sizes = Some("16 B to 4.0 KiB, each size as likely".into());
        load.plan.message_bytes = 2056;
        load.plan.sources = ["127.0.0.2", "127.0.0.3"]
            .map(|text| text.parse().unwrap())
            .into();
        load.generator.cpus = vec![2, 3];
        load.generator.wait = "spin".into();
        says(
            &load,
            &[
                "8 messages in flight per connection",
                "each is closed after 1 message, and another opened in its place",
                "think time of 20ms",
                "1000 idle connections beside them",
                "16 B to 4.0 KiB, each size as likely; 2.0 KiB on average",
                "2 addresses in turn, 127.0.0.2 to 127.0.0.3",
                "pinned to processors 2, 3",
                "spins between events",
            ],
        );
    }

    #[test]
    fn an_open_loop() {
        let at = |text, arrivals| {
            load(Loop::Open(Pace {
                stages: stages(text).unwrap(),
                arrivals,
            }))
        };
        says(
            &at("10s@50k/s", Arrivals::Constant),
            &["open loop on 64 connections, evenly spaced messages\nat 50.0k/s"],
        );
        says(
            &at("10s@1k/s..50k/s,30s@50k/s", Arrivals::Poisson),
            &["a Poisson process of messages\n10s from 1.00k/s to 50.0k/s, then 30s at 50.0k/s"],
        );
        says(
            &at("1s@1k/s,1s@2k/s,1s@3k/s,1s@2k/s", Arrivals::Constant),
            &["4 stages at 1.00k/s to 3.00k/s", "4s after"],
        );
    }

    #[test]
    fn datagrams() {
        let mut load = load(Loop::closed());
        load.plan.transport = Transport::Udp;
        says(&load, &["closed loop of 64 connections over UDP, 1 message"]);
    }

    #[test]
    fn a_partly_open_loop() {
        let load = load(Loop::PartlyOpen {
            pace: Pace {
                stages: stages("10s@500/s").unwrap(),
                arrivals: Arrivals::Poisson,
            },
            think: Duration::from_secs(1),
            messages_per_connection: 3,
        });
        says(
            &load,
            &[
                "partly open, a Poisson process of connections\nat 500/s",
                "each sends 3 messages, one after the other, and is closed",
                "think time of 1s",
            ],
        );
    }
}
