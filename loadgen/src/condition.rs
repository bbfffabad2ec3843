//! Conditions on a load as people write them: `p99<1ms`, `errors<=0`, `rate>=50k/s`.
//!
//! A [`Condition`] reads only the plain numbers of a [`Load`], so it also applies to a load that
//! was measured long ago.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use record::histogram::{self, Quantiles};
use record::units::{self, UnitError};
use record::words::show_micros;
use record::{ErrorKind, Load, Scope, Span};

/// A metric, a comparison and a bound: `METRIC OP VALUE`.
///
/// Displayed, it is the text that it was parsed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    metric: Metric,
    comparison: Comparison,
    bound: f64,
    text: String,
}

/// Why a text is not a condition, and what to write instead.
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
        "`{0}` is not a metric: write p50, p90, p99, p99.9, max or mean, of one span of time as in service.p99 \
         ({spans}), or errors, errors.KIND, unanswered, starved, reconnects, rate",
        spans = spans()
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
    Reconnects,
    Rate,
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
    /// The value of the metric: times in microseconds, rates per second.
    ///
    /// `None` if the load did not measure it, or has too few samples for the quantile.
    pub fn value(&self, load: &Load) -> Option<f64> {
        let summary = &load.summary;
        match self.metric {
            Metric::Time(span, statistic) => statistic.of(quantiles(span, load)?),
            Metric::Errors(Some(kind)) => Some(summary.errors.get(&kind).copied().unwrap_or(0) as f64),
            Metric::Errors(None) => Some(summary.errors.values().sum::<u64>() as f64),
            Metric::Unanswered => Some(summary.unanswered as f64),
            Metric::Starved => Some(load.starved() as f64),
            // Without the option none is opened again.
            Metric::Reconnects => Some(summary.reconnects.map_or(0, |seen| seen.reopened) as f64),
            Metric::Rate => Some(summary.echoes_per_s),
        }
    }

    /// Whether the load meets the condition; `None` if [`Condition::value`] is.
    pub fn holds(&self, load: &Load) -> Option<bool> {
        self.value(load).map(|value| match self.comparison {
            Comparison::Less => value < self.bound,
            Comparison::LessOrEqual => value <= self.bound,
            Comparison::Greater => value > self.bound,
            Comparison::GreaterOrEqual => value >= self.bound,
        })
    }

    /// The value of the metric for a person: `p99 is 7.10ms`.
    pub fn describe_value(&self, load: &Load) -> String {
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

    /// Whether a lighter load meets it more easily: an upper bound of a metric that grows with
    /// the load, and that is measured while connections stay open.
    pub fn is_objective(&self) -> bool {
        let upper = matches!(self.comparison, Comparison::Less | Comparison::LessOrEqual);
        let of_short_connections = match self.metric {
            Metric::Time(Some(span), _) => span.scope() == Scope::ShortConnections,
            _ => false,
        };
        upper && !of_short_connections && self.metric != Metric::Rate
    }

    /// How many messages a load must have for the metric to have a value.
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
            "reconnects" => Metric::Reconnects,
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
            Metric::Errors(_) | Metric::Unanswered | Metric::Starved | Metric::Reconnects => {
                text.parse::<u64>()
                    .map_err(|_| ConditionError::Count(text.into()))? as f64
            }
        })
    }
}

/// The kind of that name; the error lists all names.
fn error_kind(name: &str) -> Result<ErrorKind, ConditionError> {
    ErrorKind::deserialize(name.into_deserializer())
        .map_err(|error: serde::de::value::Error| ConditionError::ErrorKind(name.into(), error.to_string()))
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

/// Where a condition names no span, it is about the main latency.
fn quantiles(span: Option<Span>, load: &Load) -> Option<&Quantiles> {
    let latencies = &load.summary.latencies;
    match span {
        None => latencies.main(),
        Some(span) => latencies[span].as_ref(),
    }
}

/// `response, service, ...`
fn spans() -> String {
    Span::ALL.map(Span::name).join(", ")
}

#[cfg(test)]
mod tests;
