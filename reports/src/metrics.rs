//! The metrics of a trial: the one list behind the tables, the text, the JSON and the check of
//! a report.

use record::histogram::{Known, Statistic};
use record::units::Percent;
use record::{Cost, Interval, Load, LoopKind, Margins, Slice, Span};

/// One number of a trial.
pub struct Metric {
    /// Its name in JSON and in the attributes of the HTML, with the base unit.
    pub key: &'static str,
    /// The head of its column.
    pub title: &'static str,
    /// The unit in which it is shown.
    pub unit: &'static str,
    /// Base units in one shown unit.
    pub scale: f64,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// Reads it from a trial, as far as it is known; `None` where the trial does not have it.
    pub read: fn(&Load, Option<&Cost>) -> Option<Known>,
    /// What a slice of a trial has of it.
    pub of_slice: OfSlice,
}

/// What a slice has of a metric.
#[derive(Clone, Copy)]
pub enum OfSlice {
    /// Nothing: only a whole trial has it.
    None,
    /// A value.
    Value(fn(&Slice, &Interval) -> Option<f64>),
    /// A quantile of the latencies, if there are enough of them.
    Quantile(f64),
}

/// Which of two values is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// As for throughput.
    Higher,
    /// As for latency.
    Lower,
}

/// Throughput, one of the [`COMPARED`].
pub const ECHOES: &str = "echoes_per_s";
/// The median latency.
pub const P50: &str = "p50_us";
/// The latency quantile among the [`COMPARED`].
pub const P99: &str = "p99_us";
/// CPU time of the server per echo, one of the [`COMPARED`].
pub const CPU: &str = "cpu_us_per_echo";
/// The service time at p99, which only loops with a response time have of its own.
pub const SERVICE_P99: &str = "service_p99_us";
/// CPU utilisation of the generator.
pub const UTILISATION: &str = "generator_utilisation";

/// Every metric, in the order of the columns.
pub static METRICS: [Metric; 11] = [
    Metric {
        key: ECHOES,
        title: "Echoes",
        unit: "1/s",
        scale: 1.0,
        help: "Complete and correct echoes per second.",
        read: |load, _| Some(Known::Exactly(load.summary.echoes_per_s)),
        // Half an echo for none: a server that is held up for a slice still has a value.
        of_slice: OfSlice::Value(|_, interval| Some((interval.echoes as f64).max(0.5) / interval.duration_s)),
    },
    Metric {
        key: P50,
        title: "p50",
        unit: "µs",
        scale: 1.0,
        help: "Median latency: from sending a message, or in an open loop from the time at which it was due, to \
               receiving the last byte of its answer.",
        read: |load, _| latency(load, Statistic::P50),
        of_slice: OfSlice::Quantile(0.5),
    },
    Metric {
        key: P99,
        title: "p99",
        unit: "µs",
        scale: 1.0,
        help: "99% of the answers had at most this latency.",
        read: |load, _| latency(load, Statistic::P99),
        of_slice: OfSlice::Quantile(0.99),
    },
    Metric {
        key: "p99_9_us",
        title: "p99.9",
        unit: "µs",
        scale: 1.0,
        help: "99.9% of the answers had at most this latency.",
        read: |load, _| latency(load, Statistic::P999),
        of_slice: OfSlice::Quantile(0.999),
    },
    Metric {
        key: "max_us",
        title: "Max",
        unit: "µs",
        scale: 1.0,
        help: "The highest latency of each trial, averaged over trials like the other metrics.",
        read: |load, _| latency(load, Statistic::Max),
        of_slice: OfSlice::None,
    },
    Metric {
        key: SERVICE_P99,
        title: "Service p99",
        unit: "µs",
        scale: 1.0,
        help: "p99 of the service time: from sending a message, without the time for which it was due and not sent.",
        read: |load, _| {
            let latencies = &load.summary.latencies;
            latencies[Span::Response].as_ref()?;
            latencies[Span::Service].as_ref()?.known(Statistic::P99)
        },
        of_slice: OfSlice::None,
    },
    Metric {
        key: CPU,
        title: "CPU per echo",
        unit: "µs",
        scale: 1.0,
        help: "CPU time of the server's process tree divided by the number of echoes.",
        read: |_, cost| cost?.cpu_us_per_echo.map(Known::Exactly),
        of_slice: OfSlice::Value(|slice, _| {
            let used = slice.cpu_s.filter(|&used| used > 0.0 && slice.served > 0)?;
            Some(used * 1e6 / slice.served as f64)
        }),
    },
    Metric {
        key: "switches_per_echo",
        title: "Switches per echo",
        unit: "",
        scale: 1.0,
        help: "Context switches of the server, voluntary and involuntary, divided by the number of echoes.",
        read: |load, cost| {
            let cost = cost?;
            let switches = cost.voluntary_switches.saturating_add(cost.involuntary_switches);
            let served = cost.served.unwrap_or(load.summary.echoes);
            (served > 0).then(|| Known::Exactly(switches as f64 / served as f64))
        },
        of_slice: OfSlice::None,
    },
    Metric {
        key: "pss_bytes",
        title: "Memory",
        unit: "MiB",
        scale: 1_048_576.0,
        help: "Proportional set size of the process tree: shared pages count once.",
        read: |_, cost| cost?.pss_bytes.map(|bytes| Known::Exactly(bytes as f64)),
        of_slice: OfSlice::None,
    },
    Metric {
        key: "pss_bytes_per_connection",
        title: "Memory per connection",
        unit: "KiB",
        scale: 1024.0,
        help: "Memory divided by open connections; includes what the server uses without any connection.",
        read: |load, cost| {
            let open = load.summary.connections.open;
            let bytes = cost?.pss_bytes.filter(|_| open > 0)?;
            Some(Known::Exactly(bytes as f64 / open as f64))
        },
        of_slice: OfSlice::None,
    },
    Metric {
        key: UTILISATION,
        title: "Generator busy",
        unit: "%",
        scale: 0.01,
        help: "CPU utilisation of the load generator's threads; near 100% the generator is the limit.",
        read: |load, _| Some(Known::Exactly(load.generator.utilisation)),
        of_slice: OfSlice::None,
    },
];

/// A number of the latency that counts, in microseconds.
fn latency(load: &Load, statistic: Statistic) -> Option<Known> {
    load.summary.latencies.main()?.known(statistic)
}

/// The metrics of loads of a kind. In a closed loop every latency is a service time.
pub fn of_loop(kind: LoopKind) -> impl Iterator<Item = &'static Metric> {
    METRICS
        .iter()
        .filter(move |metric| kind != LoopKind::Closed || metric.key != SERVICE_P99)
}

/// A metric that decides a verdict.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// The key of the metric.
    pub key: &'static str,
    /// What the best server has.
    pub title: &'static str,
    /// Which of two values is better.
    pub better: Better,
    /// The margin within which servers are equivalent, of those of a run.
    pub margin: fn(&Margins) -> Percent,
}

/// The metrics that decide a verdict.
pub const COMPARED: [Compared; 3] = [
    Compared {
        key: ECHOES,
        title: "Most echoes per second",
        better: Better::Higher,
        margin: |margins| margins.rates,
    },
    Compared {
        key: P99,
        title: "Lowest p99 at that load",
        better: Better::Lower,
        margin: |margins| margins.percentiles,
    },
    Compared {
        key: CPU,
        title: "Least CPU time per echo",
        better: Better::Lower,
        margin: |margins| margins.rates,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_those_with_a_constant_exist() {
        let keys: std::collections::BTreeSet<_> = METRICS.iter().map(|metric| metric.key).collect();
        assert_eq!(keys.len(), METRICS.len());
        assert!(COMPARED.iter().all(|compared| keys.contains(compared.key)));
        assert!(keys.contains(UTILISATION) && keys.contains(SERVICE_P99));
    }
}
