//! A load as a person reads it.

mod hints;
mod plan;

use std::fmt::Display;

use record::histogram::Quantiles;
use record::units::show_rate;
use record::words::{count, show_micros};
use record::{Load, LoopKind, Wait};

/// An open loop that echoes less than this share of what was due was not kept up with; what
/// arrives at random differs from its rate by less than that in any window of some seconds.
const KEPT_UP: f64 = 0.99;

/// Below this share of the window what took the generator's processors is no news.
const WORTH_TELLING: f64 = 0.01;

/// A line: its name, or nothing where it goes on, and its text.
type Row = (&'static str, String);

/// The load on a screen: what was asked for, what was seen, whether to believe it, and what
/// to try next.
pub fn describe(load: &Load) -> String {
    let mut parts = vec![plan::describe(load), numbers(load), verdict(load)];
    parts.push(rows("try next", hints::hints(load)));
    let shown = parts.into_iter().filter(|rows| !rows.is_empty()).map(|rows| {
        let lines = rows
            .into_iter()
            .map(|(name, text)| format!("  {name:14}{text}\n"));
        lines.collect::<String>()
    });
    format!("{}\n\n{}", load.target, shown.collect::<Vec<_>>().join("\n"))
}

fn row(name: &'static str, text: impl Display) -> Row {
    (name, text.to_string())
}

/// The name stands before the first line only.
fn rows(name: &'static str, lines: impl IntoIterator<Item = String>) -> Vec<Row> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.zip(lines).collect()
}

fn numbers(load: &Load) -> Vec<Row> {
    let mut all = vec![row("echoes", echoes(load))];
    all.extend(times(load));
    all.extend(rows("connections", connections(load)));
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

/// The latencies that there are, as a table.
fn times(load: &Load) -> Vec<Row> {
    let summary = &load.summary;
    let measured = [
        ("response time", summary.response_us.as_ref()),
        ("service time", Some(&summary.service_us)),
        ("send lag", summary.send_lag_us.as_ref()),
        ("connect", summary.connect_us.as_ref()),
        ("first byte", summary.first_byte_us.as_ref()),
        ("close", summary.close_us.as_ref()),
    ];
    let header = ["p50", "p90", "p99", "p99.9", "max", "mean"].map(String::from);
    let mut all = vec![row("", columns(header))];
    let measured = { measured }.into_iter();
    all.extend(measured.filter_map(|(name, times)| Some(row(name, columns(cells(times?))))));
    let reason = summary.latency_withheld.as_ref();
    all.extend(reason.map(|reason| {
        row(
            "withheld",
            format!("these times are not to be compared: {reason}"),
        )
    }));
    all
}

fn cells(times: &Quantiles) -> [String; 6] {
    let values = [
        times.p50,
        times.p90,
        times.p99,
        times.p99_9,
        times.max,
        times.mean,
    ];
    values.map(|micros| micros.map_or("-".into(), show_micros))
}

fn columns(cells: [String; 6]) -> String {
    let [first, others @ ..] = cells;
    let others = others.map(|cell| format!("{cell:>9}"));
    format!("{first:>6}{}", others.concat())
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
            "{starved} of {} connections were never answered",
            connections.open
        ));
    }
    if connections.idle > 0 {
        lines.push(format!(
            "{} beside them",
            count(connections.idle, "idle connection")
        ));
    }
    lines
}

fn unanswered(load: &Load) -> Vec<String> {
    match load.summary.unanswered {
        0 => Vec::new(),
        number => vec![
            format!(
                "{} that had been due, when the run ended",
                count(number, "message")
            ),
            "they are missing in the times above, at the upper end".into(),
        ],
    }
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
        pace(load).into(),
    ];
    if generator.kept_waiting > WORTH_TELLING {
        let share = percent(generator.kept_waiting);
        lines.push(format!(
            "kept waiting for {share} of the time: something else ran on its processors"
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

/// Which side set the pace.
fn pace(load: &Load) -> &'static str {
    let generator = &load.generator;
    match load.plan.loop_kind() {
        _ if generator.is_saturated() => "saturated: the server may be faster than this",
        _ if generator.never_slept() => "held up by what else ran there: the server may be faster than this",
        LoopKind::Closed if load.generator.wait == Wait::Spin => {
            "it spins, so this does not tell which side set the pace"
        }
        LoopKind::Closed if !load.plan.think.0.is_zero() => {
            "not saturated: the think time, the server and the path to it set the pace"
        }
        LoopKind::Closed => "not saturated: the server, or the path to it, set the pace",
        _ if fell_behind(load) && load.generator.wait == Wait::Spin => {
            "it spins, so this does not tell which side fell behind"
        }
        _ if fell_behind(load) => "not saturated: the server, or the path to it, fell behind",
        _ => "not saturated: the schedule set the pace",
    }
}

/// Whether to believe the numbers.
fn verdict(load: &Load) -> Vec<Row> {
    match load.summary.valid {
        true => vec![row("valid", "yes: every check was passed")],
        false => rows("not valid", load.summary.reasons.clone()),
    }
}

/// Whether less came back than was due.
fn fell_behind(load: &Load) -> bool {
    let summary = &load.summary;
    let due = summary.offered_per_s.unwrap_or(0.0);
    summary.unanswered > 0 || (summary.echoes_per_s < due * KEPT_UP && !summary.valid)
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition;
    use crate::plan::{Loop, Request};
    use record::histogram::{self, Encoded, Histogram};
    use record::{Arrivals, Connections, ErrorKind, Summary};
    use std::time::Duration;

    /// Ten thousand times from 10 us to 100 ms, evenly spaced.
    fn histogram() -> Histogram {
        let mut histogram = histogram::empty();
        (1..=10_000).for_each(|k| histogram.saturating_record(k * 10_000));
        histogram
    }

    /// A load of 100,000 echoes a second in which all went well.
    pub(super) fn load(discipline: Loop) -> Load {
        let request = Request {
            discipline,
            ..Request::new("127.0.0.1:7007".parse().unwrap())
        };
        load_of(request.validate().unwrap().words().clone())
    }

    /// The same under another plan.
    pub(super) fn load_of(plan: record::Plan) -> Load {
        let service = histogram();
        let mut load = condition::tests::load(None);
        load.plan = plan;
        load.window_s = 10.0;
        load.histograms.service = Encoded::new(&service);
        load.summary = Summary {
            echoes_per_s: 100e3,
            echoes: 1_000_000,
            service_us: Quantiles::of(&service),
            unanswered: 0,
            connections: Connections {
                asked: 64,
                open: 64,
                answered: 64,
                idle: 0,
            },
            errors: Default::default(),
            cpu_us_per_echo: Some(4.308),
            ..load.summary
        };
        load
    }

    /// The same with messages due at a rate, and a median response of 192.4 us.
    pub(super) fn open(rate: f64) -> Load {
        let mut load = load(Loop::open(rate, Duration::from_secs(10), Arrivals::Constant));
        let times = Quantiles {
            p50: Some(192.4),
            p99_9: None,
            ..Quantiles::of(&histogram())
        };
        load.summary.offered_per_s = Some(rate);
        load.summary.response_us = Some(times.clone());
        load.summary.send_lag_us = Some(times);
        load
    }

    /// The line that begins with a name, without it.
    fn line(load: &Load, name: &str) -> String {
        let text = describe(load);
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("  {name:14}")));
        found
            .unwrap_or_else(|| panic!("{name} is missing:\n{text}"))
            .into()
    }

    fn says(load: &Load, expected: &str) {
        let text = describe(load);
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }

    #[test]
    fn a_closed_loop_has_service_times_and_no_others() {
        let load = load(Loop::closed());
        assert_eq!(line(&load, "echoes"), "100k/s (1000000 in 10.00 s)");
        assert_eq!(line(&load, "connections"), "64 asked, 64 open, 64 answered");
        assert_eq!(line(&load, "errors"), "none");
        assert_eq!(
            line(&load, "generator"),
            "4.31 us of CPU per echo, 50% of 1 thread"
        );
        says(
            &load,
            "not saturated: the server, or the path to it, set the pace",
        );
        assert!(line(&load, "valid").starts_with("yes"));
        let text = describe(&load);
        for absent in [
            "response",
            "send lag",
            "connect ",
            "due",
            "unanswered",
            "withheld",
            "steal",
        ] {
            assert!(!text.contains(absent), "{absent}:\n{text}");
        }
    }

    #[test]
    fn an_open_loop_says_what_was_due_and_what_came_of_it() {
        let mut load = open(102e3);
        assert_eq!(
            line(&load, "echoes"),
            "100k/s of 102k/s that were due (1000000 in 10.00 s)"
        );
        says(&load, "the schedule set the pace");
        load.summary.unanswered = 3;
        assert!(line(&load, "unanswered").starts_with("3 messages"));
        says(&load, "the server, or the path to it, fell behind");
    }

    #[test]
    fn connections_that_come_and_go_have_times_of_their_own() {
        let mut load = load(Loop::Closed {
            depth: 1,
            think: Duration::ZERO,
            messages_per_connection: Some(1),
        });
        load.summary.connections_per_s = Some(4980.0);
        load.summary.connections.answered = 60;
        for times in [
            &mut load.summary.connect_us,
            &mut load.summary.first_byte_us,
            &mut load.summary.close_us,
        ] {
            *times = Some(Quantiles::of(&histogram()));
        }
        for name in ["connect", "first byte", "close"] {
            assert!(line(&load, name).contains("50.0ms"), "{name}");
        }
        says(&load, "4.98k/s opened, used and closed");
        assert!(
            !describe(&load).contains("never answered"),
            "some are on their way"
        );
    }

    #[test]
    fn the_numbers_of_a_table_stand_below_their_names() {
        let text = describe(&open(100e3));
        let ends = |line: &str| -> Vec<usize> {
            let cells = line.char_indices().filter(|(at, cell)| {
                *at >= 16
                    && *cell != ' '
                    && line[*at + cell.len_utf8()..]
                        .chars()
                        .next()
                        .is_none_or(|next| next == ' ')
            });
            cells.map(|(at, _)| at).collect()
        };
        let table: Vec<_> = text
            .lines()
            .skip_while(|line| !line.contains("p99.9"))
            .take(4)
            .map(ends)
            .collect();
        assert_eq!(table[0].len(), 6, "{text}");
        assert!(table.iter().all(|ends| *ends == table[0]), "{text}");
    }

    #[test]
    fn connections_without_an_answer_are_counted_in_a_line_of_their_own() {
        let mut load = load(Loop::closed());
        load.summary.connections = Connections {
            asked: 1000,
            open: 1000,
            answered: 488,
            idle: 7,
        };
        says(
            &load,
            "\n                512 of 1000 connections were never answered\n",
        );
        says(&load, "7 idle connections beside them");
        load.window_s = 0.0;
        assert!(
            !describe(&load).contains("never answered"),
            "nothing was measured"
        );
    }

    #[test]
    fn each_kind_of_error_has_a_line_and_an_example() {
        let mut load = load(Loop::closed());
        load.summary.errors = [(ErrorKind::Refused, 2), (ErrorKind::Reset, 3)].into();
        load.error_examples = [(ErrorKind::Reset, "reset by peer".into())].into();
        assert!(line(&load, "errors").starts_with("2 refused"));
        says(&load, "\n                3 reset (reset by peer)\n");
    }

    #[test]
    fn the_generator_says_what_held_it_back() {
        let mut load = load(Loop::closed());
        load.generator.utilisation = 0.97;
        says(&load, "saturated: the server may be faster");
        load.generator.kept_waiting = 0.032;
        load.generator.steal = Some(0.051);
        says(&load, "kept waiting for 3% of the time");
        says(&load, "the hypervisor took 5% of the time");
        load.generator.kept_waiting = 0.005;
        load.generator.steal = Some(0.005);
        let text = describe(&load);
        assert!(
            !text.contains("kept waiting") && !text.contains("steal"),
            "{text}"
        );
        load.generator.wait = Wait::Spin;
        says(&load, "it spins, so this does not tell");
    }

    #[test]
    fn what_is_not_to_be_believed_or_compared_has_its_reason() {
        let mut load = load(Loop::closed());
        load.summary.latency_withheld = Some("the generator was saturated".into());
        load.summary.valid = false;
        load.summary.reasons = vec!["one".into(), "another".into()];
        assert!(line(&load, "withheld").ends_with("the generator was saturated"));
        assert_eq!(line(&load, "not valid"), "one");
        says(&load, "\n                another\n");
    }

    #[test]
    fn no_line_is_longer_than_a_hundred_columns() {
        let mut loads = vec![load(Loop::closed()), open(100e3), open(300e3)];
        let mut churn = load(Loop::Closed {
            depth: 65_536,
            think: Duration::from_millis(12_345),
            messages_per_connection: Some(100_000),
        });
        churn.summary.connections_per_s = Some(123e3);
        churn.summary.connections = Connections {
            asked: 1_234_567,
            open: 1_234_567,
            answered: 1_234_567,
            idle: 12_345,
        };
        loads.push(churn);
        for load in loads {
            let text = describe(&load);
            for line in text.lines() {
                assert!(line.len() <= 100, "{}: {line}", line.len());
            }
        }
    }
}
