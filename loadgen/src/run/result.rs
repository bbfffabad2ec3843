//! Makes the record of a load from the counts of the workers.

use std::time::SystemTime;

use super::intervals::IntervalCounts;
use super::taken::Taken;
use super::tally::Tally;
use super::unfinished::Unfinished;
use crate::gates::{self, Evidence};
use crate::plan::CheckedPlan;
use record::histogram::{self, Encoded, Histogram, Quantiles};
use record::{
    self, BySpan, Connections, Findings, Generator, Histograms, Load, LoopKind, Reconnects, SCHEMA_VERSION,
    Scope, Span, Summary,
};

/// The window as the watching thread saw it.
#[derive(Debug)]
pub struct MeasuredWindow {
    /// How long it was.
    pub duration_ns: u64,
    /// What was taken from the generator in it.
    pub taken: Taken,
    /// Whether the caller ended the run early.
    pub interrupted: bool,
    /// How many messages were outstanding when the run gave up; 0 if it did not.
    pub overran: usize,
    /// Whether no connection was left at its end.
    pub deserted: bool,
    /// The counts of its intervals.
    pub intervals: Vec<IntervalCounts>,
    /// When the run began.
    pub started_at: SystemTime,
}

/// The record of a load, with the findings of the gates.
pub fn load(plan: &CheckedPlan, mut tally: Tally, window: MeasuredWindow) -> Load {
    let unfinished = tally.take_unfinished();
    let window_s = window.duration_ns as f64 / 1e9;
    let per_second = |count: f64| {
        if window.duration_ns == 0 {
            0.0
        } else {
            count / window_s
        }
    };
    let echoes: u64 = window.intervals.iter().map(|interval| interval.echoes).sum();
    let latency = whole(&window.intervals);
    let latencies = latencies(plan, &tally, &latency);
    let short_connections = !plan.keeps_connections();
    let connections = match short_connections {
        true => tally.asked,
        false => plan.connections as u64,
    };
    let errors = || tally.errors.iter();
    let mut load = Load {
        schema_version: SCHEMA_VERSION,
        target: plan.target.to_string(),
        started_at: humantime::format_rfc3339_millis(window.started_at).to_string(),
        parts: Vec::new(),
        plan: plan.words().clone(),
        listed_mean_bytes: plan.listed_mean_bytes(),
        generator: generator(plan, &tally, &window),
        window_s,
        summary: Summary {
            echoes_per_s: per_second(echoes as f64),
            offered_per_s: (plan.loop_kind == LoopKind::Open).then(|| per_second(tally.due as f64)),
            echoes,
            latencies: BySpan::from_fn(|span| {
                Some(Quantiles::with_unfinished(latencies[span]?, unfinished.of(span)))
            }),
            connections_per_s: short_connections.then(|| per_second(tally.closed as f64)),
            unanswered: tally.unanswered(),
            reconnects: plan.reconnect.then(|| reconnects(&tally)),
            connections: Connections {
                asked: connections,
                open: tally.open,
                answered: tally.answered,
                idle: tally.idle,
                never_served: match (plan.loop_kind, plan.messages_per_connection) {
                    (LoopKind::Closed, Some(_)) => tally.never_served,
                    _ => 0,
                },
            },
            errors: errors().map(|(kind, (count, _))| (*kind, *count)).collect(),
            cpu_us_per_echo: (echoes > 0).then(|| tally.usage.cpu.as_secs_f64() * 1e6 / echoes as f64),
            findings: Findings::default(),
        },
        error_examples: { errors() }
            .map(|(kind, (_, example))| (*kind, example.clone()))
            .collect(),
        histograms: latencies.map_measured(|histogram| Encoded::new(histogram)),
        unfinished: encoded(&unfinished, &latencies),
        intervals: pieces(&window),
    };
    let evidence = evidence(plan, tally, &window, &latency, &load);
    load.summary.findings = gates::findings(&load, &evidence);
    load
}

/// The main latency of the whole window: response time, or in a closed loop service time.
fn whole(intervals: &[IntervalCounts]) -> Histogram {
    let mut latency = histogram::empty();
    for interval in intervals {
        latency += &interval.latency;
    }
    latency
}

/// The latencies that this load measures. The workers count the main one by intervals, and the
/// others over the whole window.
fn latencies<'a>(plan: &CheckedPlan, tally: &'a Tally, main: &'a Histogram) -> BySpan<Option<&'a Histogram>> {
    let scheduled = plan.pace.is_some();
    let main_span = match scheduled {
        true => Span::Response,
        false => Span::Service,
    };
    BySpan::from_fn(|span| {
        let is_measured = match span.scope() {
            Scope::Every => true,
            Scope::Scheduled => scheduled,
            Scope::ShortConnections => !plan.keeps_connections(),
        };
        is_measured.then_some(match span == main_span {
            true => main,
            false => &tally.latencies[span],
        })
    })
}

fn reconnects(tally: &Tally) -> Reconnects {
    let seen = tally.reconnects;
    Reconnects {
        lost: seen.lost,
        reopened: seen.reopened,
        failed_attempts: seen.failed_attempts,
        messages_lost: seen.messages_lost,
        longest_s: seen.longest_ns as f64 / 1e9,
    }
}

/// The latencies that had not ended, of the spans that this load measures; `None` if there are none.
fn encoded(unfinished: &Unfinished, measured: &BySpan<Option<&Histogram>>) -> Option<Histograms> {
    let nothing = histogram::empty();
    let of = |span| Encoded::new(unfinished.of(span).unwrap_or(&nothing));
    let any = measured.measured().any(|(span, _)| unfinished.of(span).is_some());
    any.then(|| BySpan::from_fn(|span| measured[span].is_some().then(|| of(span))))
}

fn generator(plan: &CheckedPlan, tally: &Tally, window: &MeasuredWindow) -> Generator {
    Generator {
        version: env!("CARGO_PKG_VERSION").into(),
        engine: plan.engine,
        wait: plan.wait,
        cpus: plan.cpus.clone(),
        utilisation: tally.usage.share(tally.usage.cpu),
        kept_waiting: tally.usage.share(tally.usage.kept_waiting),
        involuntary_switches: tally.usage.involuntary_switches,
        steal: window.taken.steal,
        throttling: window.taken.throttling,
    }
}

fn pieces(window: &MeasuredWindow) -> Vec<record::Interval> {
    let pieces = window.intervals.iter();
    pieces
        .map(|interval| record::Interval {
            start_s: interval.start_ns as f64 / 1e9,
            duration_s: interval.duration_ns as f64 / 1e9,
            echoes: interval.echoes,
            latency: Encoded::new(&interval.latency),
            reconnects: interval.reconnects,
        })
        .collect()
}

fn evidence<'a>(
    plan: &'a CheckedPlan,
    tally: Tally,
    window: &MeasuredWindow,
    latency: &Histogram,
    load: &Load,
) -> Evidence<'a> {
    Evidence {
        plan,
        interrupted: window.interrupted,
        overran: window.overran,
        deserted: window.deserted,
        served: tally.served,
        due: tally.due,
        done: match plan.loop_kind {
            LoopKind::PartlyOpen => tally.latencies[Span::FirstByte].len(),
            _ => load.summary.echoes,
        },
        outstanding: (tally.outstanding_at_start, tally.outstanding_at_end),
        waiting: (tally.waiting_at_start, tally.waiting_at_end),
        withheld: (tally.withheld_at_start, tally.withheld_at_end),
        lost_ns: tally.lost_ns,
        blocked: tally.blocked,
        intended_ns: tally.intended_ns,
        waits_ns: tally.waits_ns,
        longest_ns: tally.longest_ns,
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
