//! What is demanded of a load, as people write it: `p99<1ms`, `errors<=0`, `rate>=50k/s`.
//!
//! A [`Condition`] reads the plain numbers of a [`Load`] and nothing else, so it can be put
//! to a load that was measured long ago.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use record::histogram::{self, Quantiles};
use record::units::{self, UnitError};
use record::words::show_micros;
use record::{ErrorKind, Load};

/// A metric, a comparison and a bound: `METRIC OP VALUE`.
///
/// Displayed it is the text that it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    metric: Metric,
    comparison: Comparison,
    bound: f64,
    text: String,
}

/// Why a text is not a condition; says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No comparison in it.
    #[error(
        "`{0}` is not a condition: write a metric, one of < <= > >=, and a value, such as p99<1ms, errors<=0 or \
         rate>=50k/s, in quotes where a shell reads it"
    )]
    Form(String),
    /// The metric does not exist.
    #[error(
        "`{0}` is not a metric: write p50, p90, p99, p99.9, max or mean, of a certain time as in service.p99 \
         (response, service, send_lag, connect, first_byte, close), or errors, errors.KIND, unanswered, starved, rate"
    )]
    Metric(String),
    /// The kind of error does not exist.
    #[error("`{0}` is not a kind of error, such as reset: {1}")]
    ErrorKind(String, String),
    /// The bound of a time or a rate.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The bound of a count.
    #[error("`{0}` is not a count: give a whole number, such as 0")]
    Count(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    Time(Option<Span>, Statistic),
    Errors(Option<ErrorKind>),
    Unanswered,
    Starved,
    Rate,
}

/// What was timed; where a condition names none, the response time, or the service time in a
/// closed loop, which has no other.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Span {
    Response,
    Service,
    SendLag,
    Connect,
    FirstByte,
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Statistic {
    P50,
    P90,
    P99,
    P999,
    Max,
    Mean,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// The number that the condition is about: times in microseconds, rates per second.
    ///
    /// `None` where the load did not measure it, or for a quantile has too few samples.
    pub fn value(&self, load: &Load) -> Option<f64> {
        let summary = &load.summary;
        match self.metric {
            Metric::Time(span, statistic) => statistic.of(quantiles(span, load)?),
            Metric::Errors(Some(kind)) => Some(summary.errors.get(&kind).copied().unwrap_or(0) as f64),
            Metric::Errors(None) => Some(summary.errors.values().sum::<u64>() as f64),
            Metric::Unanswered => Some(summary.unanswered as f64),
            Metric::Starved => Some(load.starved() as f64),
            Metric::Rate => Some(summary.echoes_per_s),
        }
    }

    /// Whether the load meets the condition; `None` where [`Condition::value`] is.
    pub fn holds(&self, load: &Load) -> Option<bool> {
        self.value(load).map(|value| match self.comparison {
            Comparison::Less => value < self.bound,
            Comparison::LessOrEqual => value <= self.bound,
            Comparison::Greater => value > self.bound,
            Comparison::GreaterOrEqual => value >= self.bound,
        })
    }

    /// What the load shows of it, for a person: `p99 is 7.10ms`.
    pub fn seen(&self, load: &Load) -> String {
        let name = self.metric_name();
        match (self.value(load), self.metric) {
            (Some(micros), Metric::Time(..)) => format!("{name} is {}", show_micros(micros)),
            (Some(rate), Metric::Rate) => format!("{name} is {}", units::show_rate(rate)),
            (Some(count), _) => format!("{name} is {count}"),
            (None, Metric::Time(span, _)) => match quantiles(span, load) {
                Some(quantiles) => format!("{name} is not known from {} samples", quantiles.count),
                None => format!("{name} was not measured"),
            },
            (None, _) => format!("{name} was not measured"),
        }
    }

    /// Whether a lighter load meets it more easily: an upper bound of what grows with the
    /// load, and is measured while connections stay open.
    pub fn is_objective(&self) -> bool {
        let upper = matches!(self.comparison, Comparison::Less | Comparison::LessOrEqual);
        let of_a_connection = matches!(
            self.metric,
            Metric::Time(Some(Span::Connect | Span::FirstByte | Span::Close), _)
        );
        upper && !of_a_connection && self.metric != Metric::Rate
    }

    /// How many messages a load must have before it can answer.
    pub fn samples_needed(&self) -> u64 {
        let beyond = match self.metric {
            Metric::Time(_, statistic) => statistic.share_beyond(),
            _ => None,
        };
        beyond.map_or(1, |share| (histogram::SAMPLES_BEYOND / share).round() as u64)
    }

    fn metric_name(&self) -> &str {
        let end = self.text.find(['<', '>']).unwrap_or(self.text.len());
        self.text[..end].trim()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let text = text.trim();
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| ConditionError::Form(text.into()))?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let comparisons = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let (comparison, bound) = comparisons
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?.trim())))
            .ok_or_else(|| ConditionError::Form(text.into()))?;
        let metric = Metric::from_name(name)?;
        Ok(Condition {
            metric,
            comparison,
            bound: metric.bound(bound)?,
            text: text.into(),
        })
    }
}

impl Metric {
    fn from_name(name: &str) -> Result<Self, ConditionError> {
        let wrong = || ConditionError::Metric(name.into());
        Ok(match name {
            "errors" => Metric::Errors(None),
            "unanswered" => Metric::Unanswered,
            "starved" => Metric::Starved,
            "rate" => Metric::Rate,
            _ => {
                if let Some(statistic) = Statistic::from_name(name) {
                    return Ok(Metric::Time(None, statistic));
                }
                match name.split_once('.').ok_or_else(wrong)? {
                    ("errors", kind) => Metric::Errors(Some(error_kind(kind)?)),
                    (span, statistic) => Metric::Time(
                        Some(Span::from_name(span).ok_or_else(wrong)?),
                        Statistic::from_name(statistic).ok_or_else(wrong)?,
                    ),
                }
            }
        })
    }

    /// Reads a bound in the metric's own unit.
    fn bound(self, text: &str) -> Result<f64, ConditionError> {
        Ok(match self {
            Metric::Time(..) => units::time(text)?.as_nanos() as f64 / 1e3,
            Metric::Rate => units::rate(text)?,
            Metric::Errors(_) | Metric::Unanswered | Metric::Starved => {
                text.parse::<u64>()
                    .map_err(|_| ConditionError::Count(text.into()))? as f64
            }
        })
    }
}

/// By the name under which the schema stores it; its message lists all of them.
fn error_kind(name: &str) -> Result<ErrorKind, ConditionError> {
    ErrorKind::deserialize(name.into_deserializer())
        .map_err(|error: serde::de::value::Error| ConditionError::ErrorKind(name.into(), error.to_string()))
}

impl Span {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "response" => Span::Response,
            "service" => Span::Service,
            "send_lag" => Span::SendLag,
            "connect" => Span::Connect,
            "first_byte" => Span::FirstByte,
            "close" => Span::Close,
            _ => return None,
        })
    }
}

impl Statistic {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "p50" => Statistic::P50,
            "p90" => Statistic::P90,
            "p99" => Statistic::P99,
            "p99.9" => Statistic::P999,
            "max" => Statistic::Max,
            "mean" => Statistic::Mean,
            _ => return None,
        })
    }

    /// The share of the samples that lie beyond it, for a quantile.
    fn share_beyond(self) -> Option<f64> {
        match self {
            Statistic::P50 => Some(0.5),
            Statistic::P90 => Some(0.1),
            Statistic::P99 => Some(0.01),
            Statistic::P999 => Some(0.001),
            Statistic::Max | Statistic::Mean => None,
        }
    }

    /// In microseconds.
    fn of(self, quantiles: &Quantiles) -> Option<f64> {
        match self {
            Statistic::P50 => quantiles.p50,
            Statistic::P90 => quantiles.p90,
            Statistic::P99 => quantiles.p99,
            Statistic::P999 => quantiles.p99_9,
            Statistic::Max => quantiles.max,
            Statistic::Mean => quantiles.mean,
        }
    }
}

fn quantiles(span: Option<Span>, load: &Load) -> Option<&Quantiles> {
    let summary = &load.summary;
    match span {
        None => summary.response_us.as_ref().or(Some(&summary.service_us)),
        Some(Span::Response) => summary.response_us.as_ref(),
        Some(Span::Service) => Some(&summary.service_us),
        Some(Span::SendLag) => summary.send_lag_us.as_ref(),
        Some(Span::Connect) => summary.connect_us.as_ref(),
        Some(Span::FirstByte) => summary.first_byte_us.as_ref(),
        Some(Span::Close) => summary.close_us.as_ref(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use record::histogram::Encoded;
    use record::{Connections, Generator, Histograms, SCHEMA_VERSION, Summary};
    use std::collections::BTreeMap;

    /// A thousand service times from 1 to 1000 us, and response times of the given number,
    /// each 10 ms.
    pub(crate) fn load(responses: Option<u64>) -> Load {
        let mut service = histogram::empty();
        (1..=1000).for_each(|micros| service.saturating_record(micros * 1000));
        let response_us = responses.map(|count| {
            let mut response = histogram::empty();
            response.saturating_record_n(10_000_000, count);
            Quantiles::of(&response)
        });
        Load {
            schema_version: SCHEMA_VERSION,
            target: "127.0.0.1:7007".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            plan: record::Plan::default().complete(),
            listed_mean_bytes: None,
            generator: Generator {
                version: "1.2.3".into(),
                engine: record::Engine::Epoll,
                wait: record::Wait::Sleep,
                cpus: Vec::new(),
                utilisation: 0.5,
                kept_waiting: 0.0,
                involuntary_switches: 0,
                steal: None,
            },
            window_s: 1.0,
            summary: Summary {
                echoes_per_s: 1500.0,
                offered_per_s: None,
                echoes: 1000,
                service_us: Quantiles::of(&service),
                response_us,
                send_lag_us: None,
                connect_us: None,
                first_byte_us: None,
                close_us: None,
                connections_per_s: None,
                unanswered: 4,
                latency_withheld: None,
                connections: Connections {
                    asked: 10,
                    open: 9,
                    answered: 7,
                    idle: 0,
                },
                errors: BTreeMap::from([(ErrorKind::Reset, 2), (ErrorKind::Lost, 3)]),
                cpu_us_per_echo: None,
                valid: true,
                reasons: Vec::new(),
            },
            error_examples: BTreeMap::new(),
            histograms: Histograms {
                service: Encoded::new(&service),
                response: None,
                send_lag: None,
                connect: None,
                first_byte: None,
                close: None,
            },
            intervals: Vec::new(),
        }
    }

    fn condition(text: &str) -> Condition {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_load_meets_a_condition_or_does_not() {
        let table = [
            ("p50<1ms", Some(true)),
            ("p50<400us", Some(false)),
            ("p90 <= 1s", Some(true)),
            ("p99>2ms", Some(false)),
            ("max >= 1ms", Some(true)),
            ("mean<1us", Some(false)),
            ("errors<=5", Some(true)),
            ("errors<5", Some(false)),
            ("errors.reset>2", Some(false)),
            ("errors.reset>=2", Some(true)),
            ("errors.refused<=0", Some(true)),
            ("errors.lost<=2", Some(false)),
            ("unanswered<4", Some(false)),
            ("unanswered <= 4", Some(true)),
            ("starved<=1", Some(false)),
            ("starved<3", Some(true)),
            ("rate>1k/s", Some(true)),
            ("rate >= 1.6k/s", Some(false)),
            ("p99.9<1s", None),
            ("connect.p50<1s", None),
            ("response.p50<1s", None),
        ];
        for (text, expected) in table {
            assert_eq!(condition(text).holds(&load(None)), expected, "{text}");
        }
    }

    #[test]
    fn a_time_is_the_response_time_where_there_is_one() {
        let open = load(Some(100));
        assert_eq!(condition("p50<5ms").holds(&open), Some(false));
        assert_eq!(condition("response.p50<5ms").holds(&open), Some(false));
        assert_eq!(condition("service.p50<5ms").holds(&open), Some(true));
        assert_eq!(condition("p99<5ms").holds(&open), None, "a hundred are too few");
    }

    #[test]
    fn the_samples_that_are_needed_are_enough_and_one_less_is_not() {
        for text in ["p50<1s", "p90<1s", "p99<1s", "p99.9<1s", "max<1s", "mean<1s"] {
            let needed = condition(text).samples_needed();
            assert!(condition(text).holds(&load(Some(needed))).is_some(), "{text}");
            assert!(condition(text).holds(&load(Some(needed - 1))).is_none(), "{text}");
        }
    }

    #[test]
    fn an_objective_bounds_from_above_what_grows_with_the_load() {
        for text in [
            "p99<1ms",
            "send_lag.max<=1ms",
            "errors<=0",
            "unanswered<1",
            "starved<=0",
        ] {
            assert!(condition(text).is_objective(), "{text}");
        }
        for text in [
            "p99>1ms",
            "errors>=0",
            "rate<1k/s",
            "rate>1k/s",
            "connect.p99<1ms",
            "close.p50<1ms",
        ] {
            assert!(!condition(text).is_objective(), "{text}");
        }
    }

    #[test]
    fn what_was_seen_is_said_in_units() {
        let table = [
            ("p50 < 1ms", "p50 is 10.0ms"),
            ("service.max<1ms", "service.max is 1.00ms"),
            ("p99<1ms", "p99 is not known from 100 samples"),
            ("close.p99<1ms", "close.p99 was not measured"),
            ("errors<1", "errors is 5"),
            ("rate>1/s", "rate is 1.50k/s"),
        ];
        for (text, expected) in table {
            assert_eq!(condition(text).seen(&load(Some(100))), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_write() {
        let table = [
            ("p99", "is not a condition"),
            ("", "is not a condition"),
            ("p99=1ms", "is not a condition"),
            ("p98<1ms", "`p98` is not a metric"),
            ("p99.99<1ms", "`p99.99` is not a metric"),
            ("idle.p99<1ms", "`idle.p99` is not a metric"),
            ("errors.none<1", "refused"),
            ("p99<1", "is not a time"),
            ("p99<<1ms", "is not a time"),
            ("rate>50", "is not a rate"),
            ("errors<0.5", "whole number"),
            ("starved<-1", "whole number"),
        ];
        for (text, hint) in table {
            let error = text.parse::<Condition>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Condition>();
        }

        #[test]
        fn the_text_comes_back_and_means_the_same(
            metric in prop::sample::select(vec!["p50", "p99.9", "send_lag.p99.9", "first_byte.mean", "close.max"]),
            sign in prop::sample::select(vec!["<", "<=", ">", ">="]),
            micros in 0..u32::MAX,
            space in " {0,3}",
        ) {
            let text = format!("{metric}{space}{sign}{space}{micros}us");
            let read = condition(&text);
            prop_assert_eq!(read.to_string(), &text[..]);
            prop_assert_eq!(condition(&read.to_string()), read);
        }

        #[test]
        fn opposite_comparisons_never_agree(bound in 0..20u32) {
            for (one, other) in [("<", ">="), ("<=", ">")] {
                let holds = |sign| condition(&format!("errors{sign}{bound}")).holds(&load(None)).unwrap();
                prop_assert_ne!(holds(one), holds(other));
            }
        }
    }
}
