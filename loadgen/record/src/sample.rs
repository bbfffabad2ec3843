//! Loads that no run made, for tests.

use std::collections::BTreeMap;

use crate::histogram::{self, Encoded, Histogram, Quantiles};
use crate::units::Rate;
use crate::{
    Connections, Engine, ErrorKind, Findings, Generator, Load, Plan, SCHEMA_VERSION, Span, Summary, Wait,
};

/// The histogram of some samples in nanoseconds.
pub fn histogram(samples_ns: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram = histogram::empty();
    samples_ns
        .into_iter()
        .for_each(|ns| histogram.saturating_record(ns));
    histogram
}

/// Equal times, that many, in microseconds.
pub fn equal(micros: u64, count: u64) -> Quantiles {
    let mut histogram = histogram::empty();
    histogram.saturating_record_n(micros * 1000, count);
    Quantiles::of(&histogram)
}

/// A load with a thousand service times from 1 to 1000 us, that many response times of 10 ms
/// each, and some errors.
pub fn load(responses: Option<u64>) -> Load {
    let service = histogram((1..=1000).map(|micros| micros * 1000));
    let response = responses.map(|count| (Span::Response, equal(10_000, count)));
    let latencies = [(Span::Service, Quantiles::of(&service))].into_iter();
    Load {
        schema_version: SCHEMA_VERSION,
        target: "127.0.0.1:7007".into(),
        started_at: "2026-01-01T00:00:00Z".into(),
        parts: Vec::new(),
        plan: Plan::default().complete(),
        listed_mean_bytes: None,
        generator: Generator {
            version: "1.2.3".into(),
            engine: Engine::Epoll,
            wait: Wait::Sleep,
            cpus: Vec::new(),
            utilisation: 0.5,
            kept_waiting: 0.0,
            involuntary_switches: 0,
            steal: None,
            throttling: None,
        },
        window_s: 1.0,
        summary: Summary {
            echoes_per_s: 1500.0,
            offered_per_s: None,
            echoes: 1000,
            latencies: latencies.chain(response).collect(),
            connections_per_s: None,
            unanswered: 4,
            reconnects: None,
            connections: Connections {
                asked: 10,
                open: 9,
                answered: 7,
                idle: 0,
                never_served: 0,
            },
            errors: BTreeMap::from([(ErrorKind::Reset, 2), (ErrorKind::Lost, 3)]),
            cpu_us_per_echo: None,
            findings: Findings::default(),
        },
        error_examples: BTreeMap::new(),
        histograms: [(Span::Service, Encoded::new(&service))].into(),
        unfinished: None,
        intervals: Vec::new(),
    }
}

/// Ten thousand times from 10 us to 100 ms, evenly spaced.
fn evenly_spaced() -> Histogram {
    histogram((1..=10_000).map(|k| k * 10_000))
}

/// A load of 100,000 echoes a second without errors or findings.
pub fn busy(plan: &Plan) -> Load {
    let service = evenly_spaced();
    let mut load = load(None);
    load.plan = plan.complete();
    load.window_s = 10.0;
    load.histograms[Span::Service] = Some(Encoded::new(&service));
    load.summary = Summary {
        echoes_per_s: 100e3,
        echoes: 1_000_000,
        latencies: [(Span::Service, Quantiles::of(&service))].into(),
        unanswered: 0,
        connections: Connections {
            asked: 64,
            open: 64,
            answered: 64,
            idle: 0,
            never_served: 0,
        },
        errors: BTreeMap::new(),
        cpu_us_per_echo: Some(4.308),
        ..load.summary
    };
    load
}

/// The same with messages due at a rate, and a median response of 192.4 us.
pub fn busy_open(rate: f64) -> Load {
    let mut load = busy(&Plan {
        rate: Rate::new(rate),
        ..Plan::default()
    });
    let times = Quantiles {
        p50: Some(192.4),
        p99_9: None,
        ..Quantiles::of(&evenly_spaced())
    };
    load.summary.offered_per_s = Some(rate);
    for span in [Span::Response, Span::SendLag] {
        load.summary.latencies[span] = Some(times.clone());
    }
    load
}
