//! What is measured of a trial and shown: one list, from which the tables, the text,
//! the JSON and the check of a report follow.

use record::{Cost, Load, Span};

/// One number of a trial.
pub struct Measure {
    /// Its name in JSON and in the attributes of the HTML, with the base unit.
    pub key: &'static str,
    /// The head of its column.
    pub title: &'static str,
    /// The unit in which it is shown.
    pub unit: &'static str,
    /// How many base units make one that is shown.
    pub scale: f64,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// Reads it off a trial; `None` where the trial does not have it.
    pub read: fn(&Load, &Cost) -> Option<f64>,
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// As for throughput.
    Higher,
    /// As for latency.
    Lower,
}

/// Throughput, by which servers are compared.
pub const ECHOES: &str = "echoes_per_s";
/// The quantile of latency by which servers are compared.
pub const P99: &str = "p99_us";
/// What an echo costs the server.
pub const CPU: &str = "cpu_us_per_echo";
/// How busy the generator was.
pub const UTILISATION: &str = "generator_utilisation";

/// Every measure, in the order of the columns.
pub static MEASURES: [Measure; 10] = [
    Measure {
        key: ECHOES,
        title: "Echoes",
        unit: "1/s",
        scale: 1.0,
        help: "Messages that came back whole and right, per second.",
        read: |load, _| Some(load.summary.echoes_per_s),
    },
    Measure {
        key: "p50_us",
        title: "p50",
        unit: "µs",
        scale: 1.0,
        help: "Median time from sending a message to the end of its answer.",
        read: |load, _| load.summary.latencies[Span::Service].as_ref()?.p50,
    },
    Measure {
        key: P99,
        title: "p99",
        unit: "µs",
        scale: 1.0,
        help: "The time that 99% of the answers did not exceed.",
        read: |load, _| load.summary.latencies[Span::Service].as_ref()?.p99,
    },
    Measure {
        key: "p99_9_us",
        title: "p99.9",
        unit: "µs",
        scale: 1.0,
        help: "The time that 99.9% of the answers did not exceed.",
        read: |load, _| load.summary.latencies[Span::Service].as_ref()?.p99_9,
    },
    Measure {
        key: "max_us",
        title: "Largest",
        unit: "µs",
        scale: 1.0,
        help: "The largest time of a trial, averaged over trials like the rest.",
        read: |load, _| load.summary.latencies[Span::Service].as_ref()?.max,
    },
    Measure {
        key: CPU,
        title: "CPU per echo",
        unit: "µs",
        scale: 1.0,
        help: "CPU time of the server's whole process tree, divided by echoes.",
        read: |_, cost| cost.cpu_us_per_echo,
    },
    Measure {
        key: "switches_per_echo",
        title: "Switches per echo",
        unit: "",
        scale: 1.0,
        help: "Context switches of the server, voluntary and forced, divided by echoes.",
        read: |load, cost| {
            let switches = cost.voluntary_switches.saturating_add(cost.involuntary_switches);
            (load.summary.echoes > 0).then(|| switches as f64 / load.summary.echoes as f64)
        },
    },
    Measure {
        key: "pss_bytes",
        title: "Memory",
        unit: "MiB",
        scale: 1_048_576.0,
        help: "Proportional set size of the process tree: shared pages are counted once.",
        read: |_, cost| cost.pss_bytes.map(|bytes| bytes as f64),
    },
    Measure {
        key: "pss_bytes_per_connection",
        title: "Memory per connection",
        unit: "KiB",
        scale: 1024.0,
        help: "The memory divided by the open connections; what the server needs without any is in it.",
        read: |load, cost| {
            let open = load.summary.connections.open;
            let bytes = cost.pss_bytes.filter(|_| open > 0)?;
            Some(bytes as f64 / open as f64)
        },
    },
    Measure {
        key: UTILISATION,
        title: "Generator busy",
        unit: "%",
        scale: 0.01,
        help: "CPU time of the load generator's threads: near 100% it limits what is measured.",
        read: |load, _| Some(load.generator.utilisation),
    },
];

/// The measures by which the servers of a scenario are compared.
pub const COMPARED: [(&str, Better); 2] = [(ECHOES, Better::Higher), (P99, Better::Lower)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_every_compared_one_exists() {
        let keys: std::collections::BTreeSet<_> = MEASURES.iter().map(|measure| measure.key).collect();
        assert_eq!(keys.len(), MEASURES.len());
        assert!(COMPARED.iter().all(|(key, _)| keys.contains(key)));
        assert!([CPU, UTILISATION].iter().all(|key| keys.contains(key)));
    }
}
