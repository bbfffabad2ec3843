//! A load as a person reads it.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::histogram::Quantiles;
use crate::record::{Load, PlanRecord, Transport};
use crate::units::show_rate;

/// Prints a result on standard output; a reader that has seen enough is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// The load in a few lines.
pub fn describe(load: &Load) -> String {
    let summary = &load.summary;
    let mut lines = vec![
        format!("{}: {}", load.target, plan(&load.plan)),
        String::new(),
        row(
            "echoes",
            &format!(
                "{} ({} in {:.2} s)",
                show_rate(summary.echoes_per_s),
                summary.echoes,
                load.window_s
            ),
        ),
        row("service time", &quantiles(&summary.service_us)),
        row("connections", &connections(load)),
        row("errors", &errors(load)),
        row("generator", &generator(load)),
    ];
    lines.extend(summary.reasons.iter().map(|reason| row("not valid", reason)));
    lines.join("\n") + "\n"
}

fn row(name: &str, text: &str) -> String {
    format!("  {name:14}{text}")
}

fn plan(plan: &PlanRecord) -> String {
    let over = match plan.transport {
        Transport::Tcp => "",
        Transport::Udp => " over UDP",
    };
    format!(
        "{}{over} in a closed loop, messages of {}, {}, {} s after {} s of warm-up",
        count(plan.connections as u64, "connection"),
        bytesize::ByteSize(plan.message_bytes),
        count(plan.threads as u64, "thread"),
        plan.duration_s,
        plan.warmup_s,
    )
}

/// `1 connection`, `2 connections`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn quantiles(quantiles: &Quantiles) -> String {
    let numbers = [
        ("p50", quantiles.p50),
        ("p90", quantiles.p90),
        ("p99", quantiles.p99),
        ("p99.9", quantiles.p99_9),
        ("max", quantiles.max),
        ("mean", quantiles.mean),
    ];
    let shown = numbers.map(|(name, value)| match value {
        Some(micros) => format!("{name} {}", show_micros(micros)),
        None => format!("{name} -"),
    });
    shown.join("  ")
}

/// A time for a person: `192us`, `2.63ms`, `1.20s`.
pub fn show_micros(micros: f64) -> String {
    match micros {
        micros if micros >= 999_500.0 => format!("{:.2}s", micros / 1e6),
        micros if micros >= 99_950.0 => format!("{:.0}ms", micros / 1e3),
        micros if micros >= 9_995.0 => format!("{:.1}ms", micros / 1e3),
        micros if micros >= 999.5 => format!("{:.2}ms", micros / 1e3),
        micros if micros >= 99.95 => format!("{micros:.0}us"),
        micros => format!("{micros:.1}us"),
    }
}

fn connections(load: &Load) -> String {
    let connections = load.summary.connections;
    let mut text = format!(
        "{} asked, {} open, {} answered",
        connections.asked, connections.open, connections.answered
    );
    let starved = connections.open.saturating_sub(connections.answered);
    if starved > 0 && load.window_s > 0.0 {
        let _ = write!(text, ": {starved} of {} were never answered", connections.open);
    }
    text
}

fn errors(load: &Load) -> String {
    if load.summary.errors.is_empty() {
        return "none".into();
    }
    let shown = load.summary.errors.iter().map(|(kind, count)| {
        let example = load.error_examples.get(kind).map_or("", String::as_str);
        format!("{count} {} ({example})", kind.name())
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn generator(load: &Load) -> String {
    let utilisation = load.generator.utilisation;
    let cost = match load.summary.cpu_us_per_echo {
        Some(micros) => format!("{micros:.2} us of CPU per echo, "),
        None => String::new(),
    };
    let share = format!(
        "{:.0}% of {}",
        utilisation * 100.0,
        count(load.plan.threads as u64, "thread")
    );
    let side = if load.generator.is_saturated() {
        "saturated: the server may be faster than this; try more --threads"
    } else {
        "not saturated: the server, or the path to it, set the pace"
    };
    format!("{cost}{share}; {side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_three_digits() {
        let table = [
            (1.23, "1.2us"),
            (192.4, "192us"),
            (2_629.4, "2.63ms"),
            (26_294.0, "26.3ms"),
            (262_940.0, "263ms"),
            (1_200_000.0, "1.20s"),
        ];
        for (micros, shown) in table {
            assert_eq!(show_micros(micros), shown);
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "thread"), "1 thread");
        assert_eq!(count(2, "thread"), "2 threads");
    }
}
