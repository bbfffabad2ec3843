//! The load of a scenario in words, and which loads can share a line in a figure.

use record::numbers::micros;
use record::units::show_rate;
use record::words::counted;
use record::{LoopKind, Plan, Setup};

use crate::format::message_size;

/// The load in words: `100 connections, messages of 64 B, a handler that waits for 1ms`.
pub fn describe(plan: &Plan, setup: &Setup) -> String {
    let connections = match plan.loop_kind() {
        LoopKind::PartlyOpen => format!("new connections at {}", rate(plan)),
        LoopKind::Closed | LoopKind::Open => counted(plan.connections(), "connection"),
    };
    format!("{connections}, {}", messages(plan, setup))
}

/// The load without its connections: `messages of 64 B`.
pub fn messages(plan: &Plan, setup: &Setup) -> String {
    let what = if plan.lines { "lines" } else { "messages" };
    let mut text = format!("{what} of {}", message_size(&plan.size));
    if plan.loop_kind() == LoopKind::Open {
        text += &format!(" at {}", rate(plan));
    }
    if plan.depth > 1 {
        text += &format!(", {} in flight per connection", plan.depth);
    }
    if !plan.think.0.is_zero() {
        text += &format!(", think time {}", micros(plan.think.0.as_secs_f64() * 1e6));
    }
    if let Some(number) = plan.messages_per_connection() {
        text += &format!(", {} per connection", counted(number as usize, "message"));
    }
    if plan.reconnect {
        text += ", lost connections are opened again";
    }
    if plan.idle > 0 {
        text += &format!(", {}", counted(plan.idle, "idle connection"));
    }
    if let Some(work) = &setup.work {
        text += &match work.split_once(':') {
            Some(("sleep", time)) => format!(", a handler that waits for {time}"),
            Some(("cpu", time)) => format!(", a handler that computes for {time}"),
            _ => format!(", a handler with {work}"),
        };
    }
    if !setup.options.is_empty() {
        text += &format!(", servers with {}", setup.options.join(" "));
    }
    text
}

/// The rate of a schedule, or its lowest and its highest.
fn rate(plan: &Plan) -> String {
    let schedule = plan.schedule();
    let ends = schedule
        .iter()
        .flat_map(|stage| [stage.from.per_second(), stage.to.per_second()]);
    let (lowest, highest) = (
        ends.clone().fold(f64::INFINITY, f64::min),
        ends.fold(0.0, f64::max),
    );
    match lowest < highest {
        true => format!("{} to {}", show_rate(lowest), show_rate(highest)),
        false => show_rate(highest),
    }
}

/// Whether two scenarios differ only in the number of connections.
pub fn differ_in_connections(one: (&Plan, &Setup), other: (&Plan, &Setup)) -> bool {
    one.0.loop_kind() == other.0.loop_kind()
        && one.0.connections() != other.0.connections()
        && messages(one.0, one.1) == messages(other.0, other.1)
}

/// Whether the load has a fixed number of connections.
pub fn has_connections(plan: &Plan) -> bool {
    plan.loop_kind() != LoopKind::PartlyOpen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(plan: &Plan) -> String {
        super::describe(plan, &Setup::default())
    }

    fn messages(plan: &Plan) -> String {
        super::messages(plan, &Setup::default())
    }

    fn differ_in_connections(one: &Plan, other: &Plan) -> bool {
        let usual = &Setup::default();
        super::differ_in_connections((one, usual), (other, usual))
    }

    #[test]
    fn what_the_handler_does_is_part_of_the_load() {
        let set_up = |work: &str, options: &[&str]| Setup {
            work: Some(work.into()),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        let waits = set_up("sleep:1ms", &[]);
        let text = super::describe(&closed(), &waits);
        assert!(
            text.ends_with("64\u{a0}B, a handler that waits for 1ms"),
            "{text}"
        );
        let text = super::describe(&closed(), &set_up("cpu:50us", &["--workers", "8"]));
        assert!(
            text.ends_with(", a handler that computes for 50us, servers with --workers 8"),
            "{text}"
        );
        let fewer = Plan {
            connections: Some(10),
            ..closed()
        };
        let usual = Setup::default();
        assert!(super::differ_in_connections(
            (&closed(), &waits),
            (&fewer, &waits)
        ));
        assert!(!super::differ_in_connections(
            (&closed(), &waits),
            (&fewer, &usual)
        ));
    }

    fn closed() -> Plan {
        Plan {
            connections: Some(1000),
            ..Plan::default()
        }
    }

    fn open() -> Plan {
        Plan {
            rate: Some("50k/s".parse().unwrap()),
            ..closed()
        }
    }

    #[test]
    fn a_load_is_described_by_what_differs_from_a_plain_closed_loop() {
        assert_eq!(describe(&closed()), "1,000 connections, messages of 64\u{a0}B");
        let busy = Plan {
            depth: 4,
            think: "5ms".parse().unwrap(),
            messages_per_connection: Some(3),
            idle: 2000,
            size: "uniform:16B..4KiB".parse().unwrap(),
            ..closed()
        };
        assert_eq!(
            describe(&busy),
            "1,000 connections, messages of 16\u{a0}B to 4\u{a0}KiB, 4 in flight per connection, think time \
             5.00\u{a0}ms, 3 messages per connection, 2,000 idle connections"
        );
        let reopening = Plan {
            reconnect: true,
            ..closed()
        };
        assert!(describe(&reopening).ends_with(", lost connections are opened again"));
    }

    #[test]
    fn a_schedule_is_described_by_its_rates() {
        assert_eq!(
            describe(&open()),
            "1,000 connections, messages of 64\u{a0}B at 50.0k/s"
        );
        let ramp = Plan {
            stages: Some("10s@100/s..500/s".parse().unwrap()),
            ..closed()
        };
        assert_eq!(messages(&ramp), "messages of 64\u{a0}B at 100/s to 500/s");
        let arriving = Plan {
            connect_rate: Some("500/s".parse().unwrap()),
            ..Plan::default()
        };
        assert_eq!(
            describe(&arriving),
            "new connections at 500/s, messages of 64\u{a0}B, 1 message per connection"
        );
    }

    #[test]
    fn lines_are_another_load_than_messages() {
        let lines = Plan {
            lines: true,
            connections: Some(10),
            ..closed()
        };
        assert_eq!(messages(&lines), "lines of 64\u{a0}B");
        assert!(!differ_in_connections(&closed(), &lines));
    }

    #[test]
    fn only_loads_that_differ_in_connections_share_a_line() {
        let fewer = |plan: Plan| Plan {
            connections: Some(10),
            ..plan
        };
        assert!(differ_in_connections(&closed(), &fewer(closed())));
        assert!(differ_in_connections(&open(), &fewer(open())));
        assert!(!differ_in_connections(&closed(), &closed()));
        assert!(!differ_in_connections(&closed(), &fewer(open())));
        let deep = Plan { depth: 2, ..closed() };
        assert!(!differ_in_connections(&closed(), &fewer(deep)));
    }
}
