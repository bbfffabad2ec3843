//! The load of a scenario in words, and which loads can share a line in a figure.

use record::numbers::{bytes, micros};
use record::units::show_rate;
use record::words::counted;
use record::{Discipline, PlanRecord};

/// The load in words: `100 connections, messages of 64 B`.
pub fn describe(plan: &PlanRecord) -> String {
    let connections = match plan.discipline {
        Discipline::PartlyOpen => format!("new connections at {}", rate(plan)),
        Discipline::Closed | Discipline::Open => counted(plan.connections, "connection"),
    };
    format!("{connections}, {}", messages(plan))
}

/// The load without its connections: `messages of 64 B`.
pub fn messages(plan: &PlanRecord) -> String {
    let size = plan.sizes.clone().unwrap_or_else(|| bytes(plan.message_bytes));
    let mut text = format!("messages of {size}");
    if plan.discipline == Discipline::Open {
        text += &format!(" at {}", rate(plan));
    }
    if plan.depth > 1 {
        text += &format!(", {} in flight per connection", plan.depth);
    }
    if plan.think_s > 0.0 {
        text += &format!(", think time {}", micros(plan.think_s * 1e6));
    }
    if let Some(number) = plan.messages_per_connection {
        text += &format!(", {} per connection", counted(number as usize, "message"));
    }
    if plan.idle > 0 {
        text += &format!(", {}", counted(plan.idle, "idle connection"));
    }
    text
}

/// The rate of a schedule, or its lowest and its highest.
fn rate(plan: &PlanRecord) -> String {
    let ends = plan
        .stages
        .iter()
        .flat_map(|stage| [stage.from_per_s, stage.to_per_s]);
    let (lowest, highest) = (
        ends.clone().fold(f64::INFINITY, f64::min),
        ends.fold(0.0, f64::max),
    );
    match lowest < highest {
        true => format!("{} to {}", show_rate(lowest), show_rate(highest)),
        false => show_rate(highest),
    }
}

/// Whether two loads differ only in the number of connections.
pub fn differ_in_connections(one: &PlanRecord, other: &PlanRecord) -> bool {
    one.discipline == other.discipline
        && one.connections != other.connections
        && one.message_bytes == other.message_bytes
        && messages(one) == messages(other)
}

/// Whether the load has a fixed number of connections.
pub fn has_connections(plan: &PlanRecord) -> bool {
    plan.discipline != Discipline::PartlyOpen
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::{StageRecord, Transport};

    fn closed() -> PlanRecord {
        PlanRecord {
            discipline: Discipline::Closed,
            connections: 1000,
            threads: 1,
            message_bytes: 64,
            sizes: None,
            warmup_s: 1.0,
            duration_s: 10.0,
            transport: Transport::Tcp,
            depth: 1,
            think_s: 0.0,
            messages_per_connection: None,
            stages: Vec::new(),
            arrivals: None,
            idle: 0,
            sources: Vec::new(),
            seed: 1,
        }
    }

    fn at_rates(discipline: Discipline, from_per_s: f64, to_per_s: f64) -> PlanRecord {
        PlanRecord {
            discipline,
            stages: vec![StageRecord {
                duration_s: 10.0,
                from_per_s,
                to_per_s,
            }],
            ..closed()
        }
    }

    #[test]
    fn a_load_is_described_by_what_differs_from_a_plain_closed_loop() {
        assert_eq!(describe(&closed()), "1,000 connections, messages of 64\u{a0}B");
        let busy = PlanRecord {
            depth: 4,
            think_s: 0.005,
            messages_per_connection: Some(3),
            idle: 2000,
            sizes: Some("uniform:16B..4KiB".into()),
            ..closed()
        };
        assert_eq!(
            describe(&busy),
            "1,000 connections, messages of uniform:16B..4KiB, 4 in flight per connection, think time \
             5.00\u{a0}ms, 3 messages per connection, 2,000 idle connections"
        );
    }

    #[test]
    fn a_schedule_is_described_by_its_rates() {
        assert_eq!(
            describe(&at_rates(Discipline::Open, 50e3, 50e3)),
            "1,000 connections, messages of 64\u{a0}B at 50.0k/s"
        );
        assert_eq!(
            describe(&at_rates(Discipline::PartlyOpen, 100.0, 500.0)),
            "new connections at 100/s to 500/s, messages of 64\u{a0}B"
        );
    }

    #[test]
    fn only_loads_that_differ_in_connections_share_a_line() {
        let fewer = |plan: PlanRecord| PlanRecord {
            connections: 10,
            ..plan
        };
        let open = || at_rates(Discipline::Open, 50e3, 50e3);
        assert!(differ_in_connections(&closed(), &fewer(closed())));
        assert!(differ_in_connections(&open(), &fewer(open())));
        assert!(!differ_in_connections(&closed(), &closed()));
        assert!(!differ_in_connections(&closed(), &fewer(open())));
        let deep = PlanRecord { depth: 2, ..closed() };
        assert!(!differ_in_connections(&closed(), &fewer(deep)));
    }
}
