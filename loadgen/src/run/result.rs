//! From the counts of the workers to the record of a load.

use std::time::SystemTime;

use super::intervals::{self, Interval};
use super::tally::Tally;
use crate::gates::{self, Evidence};
use crate::plan::{Engine, Loop, Plan, Wait};
use record::histogram::{self, Encoded, Histogram, Quantiles};
use record::{self, Connections, Generator, Histograms, Load, SCHEMA_VERSION, Summary};

/// The window as the watching thread saw it.
#[derive(Debug)]
pub struct Window {
    /// How long it was.
    pub duration_ns: u64,
    /// Share of it that the hypervisor took.
    pub steal: Option<f64>,
    /// Whether the run was told to end.
    pub interrupted: bool,
    /// How many messages were on their way when it gave up; 0 if it did not.
    pub overran: usize,
    /// What was counted, piece by piece.
    pub intervals: Vec<Interval>,
    /// When the run began.
    pub started_at: SystemTime,
}

/// The record of a load, with what the gates say of it.
pub fn load(plan: &Plan, tally: Tally, window: Window) -> Load {
    let request = plan.request();
    let window_s = window.duration_ns as f64 / 1e9;
    let per_second = |count: f64| {
        if window.duration_ns == 0 {
            0.0
        } else {
            count / window_s
        }
    };
    let echoes: u64 = window.intervals.iter().map(|interval| interval.echoes).sum();
    let mut latency = histogram::empty();
    for interval in &window.intervals {
        latency += &interval.latency;
    }
    let closed = matches!(request.discipline, Loop::Closed { .. });
    let coming_and_going = !request.is_lasting();
    let (service, response) = match closed {
        true => (&latency, None),
        false => (&tally.service, Some(&latency)),
    };
    let where_paced = |histogram| (!closed).then_some(histogram);
    let where_closed = |histogram| coming_and_going.then_some(histogram);
    let send_lag = where_paced(&tally.send_lag);
    let connections = match coming_and_going {
        true => tally.asked,
        false => request.connections as u64,
    };
    let mut load = Load {
        schema_version: SCHEMA_VERSION,
        target: request.target.to_string(),
        started_at: humantime::format_rfc3339_millis(window.started_at).to_string(),
        plan: plan.record(),
        generator: Generator {
            version: env!("CARGO_PKG_VERSION").into(),
            engine: match request.engine {
                Engine::Epoll => "epoll",
                Engine::Uring => "uring",
            }
            .into(),
            wait: match request.wait {
                Wait::Sleep => "sleep",
                Wait::Spin => "spin",
            }
            .into(),
            cpus: request.cpus.clone(),
            utilisation: tally.usage.share(tally.usage.cpu),
            kept_waiting: tally.usage.share(tally.usage.kept_waiting),
            involuntary_switches: tally.usage.involuntary_switches,
            steal: window.steal,
        },
        window_s,
        summary: Summary {
            echoes_per_s: per_second(echoes as f64),
            offered_per_s: matches!(request.discipline, Loop::Open(_)).then(|| per_second(tally.due as f64)),
            echoes,
            service_us: Quantiles::of(service),
            response_us: response.map(Quantiles::of),
            send_lag_us: send_lag.map(Quantiles::of),
            connect_us: where_closed(&tally.connect).map(Quantiles::of),
            first_byte_us: where_closed(&tally.first_byte).map(Quantiles::of),
            close_us: where_closed(&tally.close).map(Quantiles::of),
            connections_per_s: coming_and_going.then(|| per_second(tally.closed as f64)),
            unanswered: tally.unanswered,
            latency_withheld: None,
            connections: Connections {
                asked: connections,
                open: tally.open,
                answered: tally.answered,
                idle: tally.idle,
            },
            errors: tally
                .errors
                .iter()
                .map(|(kind, (count, _))| (*kind, *count))
                .collect(),
            cpu_us_per_echo: (echoes > 0).then(|| tally.usage.cpu.as_secs_f64() * 1e6 / echoes as f64),
            valid: true,
            reasons: Vec::new(),
        },
        error_examples: tally
            .errors
            .iter()
            .map(|(kind, (_, example))| (*kind, example.clone()))
            .collect(),
        histograms: Histograms {
            service: Encoded::new(service),
            response: response.map(Encoded::new),
            send_lag: send_lag.map(Encoded::new),
            connect: where_closed(&tally.connect).map(Encoded::new),
            first_byte: where_closed(&tally.first_byte).map(Encoded::new),
            close: where_closed(&tally.close).map(Encoded::new),
        },
        intervals: pieces(plan, &window),
    };
    let evidence = evidence(plan, tally, &window, &latency, &load);
    load.summary.latency_withheld = gates::withheld(&load, &evidence);
    load.summary.reasons = gates::reasons(&load, &evidence);
    load.summary.valid = load.summary.reasons.is_empty();
    load
}

fn pieces(plan: &Plan, window: &Window) -> Vec<record::Interval> {
    let length_s = intervals::length(plan.request().duration).as_secs_f64();
    let window_s = window.duration_ns as f64 / 1e9;
    let pieces = window.intervals.iter().enumerate();
    pieces
        .map(|(number, interval)| {
            let start_s = number as f64 * length_s;
            record::Interval {
                start_s,
                duration_s: length_s.min(window_s - start_s).max(0.0),
                echoes: interval.echoes,
                latency: Encoded::new(&interval.latency),
            }
        })
        .collect()
}

fn evidence<'a>(
    plan: &'a Plan,
    tally: Tally,
    window: &Window,
    latency: &Histogram,
    load: &Load,
) -> Evidence<'a> {
    Evidence {
        plan,
        interrupted: window.interrupted,
        overran: window.overran,
        due: tally.due,
        done: match plan.request().discipline {
            Loop::PartlyOpen { .. } => tally.first_byte.len(),
            _ => load.summary.echoes,
        },
        outstanding: (tally.outstanding_at_start, tally.outstanding_at_end),
        waiting: (tally.waiting_at_start, tally.waiting_at_end),
        blocked: tally.blocked,
        intended_ns: tally.intended_ns,
        accounted_ns: tally.account.filter(|account| account.is_whole).map(|account| {
            let recorded_ns = latency.mean() * latency.len() as f64 - account.before_ns as f64;
            (
                recorded_ns + account.unrecorded_ns as f64,
                account.expected_ns as f64,
            )
        }),
        intervals: window
            .intervals
            .iter()
            .zip(&load.intervals)
            .map(|(interval, record)| {
                let median_ns = interval.latency.value_at_quantile(0.5);
                (
                    interval.echoes as f64 / record.duration_s.max(1e-9),
                    median_ns as f64,
                )
            })
            .collect(),
    }
}
