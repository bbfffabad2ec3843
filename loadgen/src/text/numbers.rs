//! The numbers of a load, in words.

use std::iter;

use record::histogram::{Quantiles, Statistic};
use record::units::show_rate;
use record::words::{count, show_known_micros, show_micros};
use record::{Load, PaceSetter};

use super::layout::{Row, row, rows, table};

/// Smaller shares of the window are not worth a line.
const WORTH_TELLING: f64 = 0.01;

pub(super) fn describe(load: &Load) -> Vec<Row> {
    let mut all = vec![row("echoes", echoes(load))];
    all.extend(times(load));
    all.extend(rows("connections", connections(load)));
    all.extend(rows("reconnects", reconnects(load)));
    all.extend(rows("unanswered", unanswered(load)));
    all.extend(rows("errors", errors(load)));
    all.extend(rows("generator", generator(load)));
    all
}

fn echoes(load: &Load) -> String {
    let summary = &load.summary;
    let due = match summary.offered_per_s {
        Some(offered) => format!(" of {} that were due", show_rate(offered)),
        None => String::new(),
    };
    let rate = show_rate(summary.echoes_per_s);
    format!("{rate}{due} ({} in {:.2} s)", summary.echoes, load.window_s)
}

/// The latencies that were measured, as a table.
fn times(load: &Load) -> Vec<Row> {
    let latencies = &load.summary.latencies;
    let names = latencies.measured().map(|(span, _)| span.label());
    let cells = latencies.measured().map(|(_, times)| cells(times));
    let lines = table(Statistic::ALL.map(Statistic::name), cells);
    let mut all: Vec<Row> = iter::once("").chain(names).zip(lines).collect();
    let withheld = load.summary.findings.withheld();
    all.extend(withheld.map(|finding| {
        row(
            "withheld",
            format!("do not compare these times with others: {finding}"),
        )
    }));
    all
}

fn cells(times: &Quantiles) -> Vec<String> {
    let cells = Statistic::ALL.map(|statistic| {
        let micros = times.known(statistic);
        micros.map_or("-".into(), show_known_micros)
    });
    cells.into()
}

fn connections(load: &Load) -> Vec<String> {
    let connections = load.summary.connections;
    let numbers = format!(
        "{} asked, {} open, {} answered",
        connections.asked, connections.open, connections.answered
    );
    let mut lines = Vec::new();
    match load.summary.connections_per_s {
        Some(rate) => lines.push(format!("{} opened, used and closed; {numbers}", show_rate(rate))),
        None => lines.push(numbers),
    }
    let starved = load.starved();
    if starved > 0 && load.window_s > 0.0 {
        lines.push(format!(
            "{starved} of {} connections were not answered within the window",
            connections.open
        ));
    }
    if connections.idle > 0 {
        lines.push(count(connections.idle, "idle connection"));
    }
    lines
}

fn reconnects(load: &Load) -> Vec<String> {
    let Some(seen) = load.summary.reconnects.filter(|seen| seen.lost > 0) else {
        return Vec::new();
    };
    vec![
        format!(
            "{} lost, {} opened again, after {} that failed",
            count(seen.lost, "connection"),
            seen.reopened,
            count(seen.failed_attempts, "attempt")
        ),
        format!(
            "up to {} from a loss to the next answer; {} sent again",
            show_micros(seen.longest_s * 1e6),
            count(seen.messages_lost, "message")
        ),
    ]
}

fn unanswered(load: &Load) -> Vec<String> {
    let mut lines = Vec::new();
    if load.summary.unanswered > 0 {
        let messages = count(load.summary.unanswered, "message");
        let oldest = oldest(load).map_or(String::new(), |micros| {
            format!("; the oldest has waited {}", show_micros(micros))
        });
        lines.push(format!("{messages} had no answer when the run ended{oldest}"));
    }
    let mut latencies = load.summary.latencies.measured();
    if latencies.any(|(_, times)| times.at_least.is_some()) {
        lines.push(
            "times with >= are lower bounds: what had not ended counts with the time that it had lasted"
                .into(),
        );
    } else if !lines.is_empty() && load.unfinished.is_none() {
        lines.push("they are missing at the upper end of the times above".into());
    }
    lines
}

/// How long the oldest message without an answer has waited, in microseconds.
fn oldest(load: &Load) -> Option<f64> {
    let waited = load.unfinished.as_ref()?.main()?.decode().ok()?;
    (!waited.is_empty()).then(|| waited.max() as f64 / 1e3)
}

fn errors(load: &Load) -> Vec<String> {
    if load.summary.errors.is_empty() {
        return vec!["none".into()];
    }
    let shown = load.summary.errors.iter().map(|(kind, count)| {
        let example = load.error_examples.get(kind).map_or("", String::as_str);
        format!("{count} {} ({example})", kind.name())
    });
    shown.collect()
}

fn generator(load: &Load) -> Vec<String> {
    let generator = &load.generator;
    let cost = match load.summary.cpu_us_per_echo {
        Some(micros) => format!("{micros:.2} us of CPU per echo, "),
        None => String::new(),
    };
    let threads = count(load.plan.threads() as u64, "thread");
    let mut lines = vec![
        format!("{cost}{} of {threads}", percent(generator.utilisation)),
        PaceSetter::of(load).to_string(),
    ];
    if generator.kept_waiting_by_others() > WORTH_TELLING {
        let share = percent(generator.kept_waiting_by_others());
        lines.push(format!(
            "kept waiting for {share} of the time: other programs ran on its processors"
        ));
    }
    if let Some(steal) = generator.steal.filter(|&steal| steal > WORTH_TELLING) {
        let share = percent(steal);
        lines.push(format!(
            "steal: the hypervisor took {share} of the time of its processors"
        ));
    }
    lines
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}
