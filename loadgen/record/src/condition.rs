//! Conditions on a load as people write them: `p99<1ms`, `errors<=0`, `rate>=50k/s`.
//!
//! A [`Condition`] reads only the plain numbers of a [`Load`], so it also applies to a load that
//! was measured long ago.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use crate::histogram::{Known, Quantiles, Statistic};
use crate::text_form::text_form;
use crate::units::{self, UnitError};
use crate::words::show_micros;
use crate::{ErrorKind, Load, Scope, Span};

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

/// The comparison of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Condition {
    /// The value of the metric as far as it is known: times in microseconds, rates per second.
    ///
    /// `None` if the load did not measure it, or has too few samples for the quantile.
    pub fn value(&self, load: &Load) -> Option<Known> {
        let summary = &load.summary;
        let exactly = match self.metric {
            Metric::Time(span, statistic) => return quantiles(span, load)?.known(statistic),
            Metric::Errors(Some(kind)) => summary.errors.get(&kind).copied().unwrap_or(0) as f64,
            Metric::Errors(None) => summary.errors.values().sum::<u64>() as f64,
            Metric::Unanswered => summary.unanswered as f64,
            Metric::Starved => load.starved() as f64,
            // Without the option none is opened again.
            Metric::Reconnects => summary.reconnects.map_or(0, |seen| seen.reopened) as f64,
            Metric::Rate => summary.echoes_per_s,
        };
        Some(Known::Exactly(exactly))
    }

    /// Whether the load meets the condition, whatever the exact value is where only its lower bound
    /// is known; `None` if that leaves it open. A quantile that has too few samples is at least a lower one
    /// that has enough.
    pub fn holds(&self, load: &Load) -> Option<bool> {
        let value =
            { self.value(load) }.or_else(|| Some(Known::AtLeast(self.lower_quantile(load)?.1.value())))?;
        let holds = self.comparison.holds(value.value(), self.bound);
        (value.is_exact() || holds == self.comparison.is_lower_bound()).then_some(holds)
    }

    /// The value of the metric for a person: `p99 is 7.10ms`, `max is at least 3.80s`.
    pub fn describe_value(&self, load: &Load) -> String {
        let name = self.metric_name();
        let Some(value) = self.value(load) else {
            return self.describe_lack(load);
        };
        let shown = match self.metric {
            Metric::Time(..) => show_known(value),
            Metric::Rate => units::show_rate(value.value()),
            _ => value.value().to_string(),
        };
        format!("{name} is {shown}")
    }

    /// The highest quantile that is known of those below the one that is asked for.
    fn lower_quantile(&self, load: &Load) -> Option<(Statistic, Known)> {
        let Metric::Time(span, statistic) = self.metric else {
            return None;
        };
        let (share, quantiles) = (statistic.share()?, quantiles(span, load)?);
        let lower = Statistic::ALL.into_iter().rev();
        let mut lower = lower.filter(|lower| lower.share().is_some_and(|lower| lower < share));
        lower.find_map(|lower| Some((lower, quantiles.known(lower)?)))
    }

    fn describe_lack(&self, load: &Load) -> String {
        let name = self.metric_name();
        let measured = match self.metric {
            Metric::Time(span, _) => quantiles(span, load),
            _ => None,
        };
        match measured {
            Some(quantiles) => {
                let lack = format!("{name} is not known from {} samples", quantiles.count);
                match self.lower_quantile(load).filter(|_| self.holds(load).is_some()) {
                    Some((lower, value)) => format!("{lack}, but {} is {}", lower.name(), show_known(value)),
                    None => lack,
                }
            }
            None => format!("{name} was not measured"),
        }
    }

    /// Whether a lighter load meets it more easily: an upper bound of a metric that grows with
    /// the load, and that is measured while connections stay open.
    pub fn is_objective(&self) -> bool {
        let of_short_connections = match self.metric {
            Metric::Time(Some(span), _) => span.scope() == Scope::ShortConnections,
            _ => false,
        };
        self.is_upper() && !of_short_connections && self.metric != Metric::Rate
    }

    /// Whether it is an upper bound: `<` or `<=`.
    pub fn is_upper(&self) -> bool {
        !self.comparison.is_lower_bound()
    }

    /// How many messages a load must have for the metric to have a value.
    pub fn samples_needed(&self) -> u64 {
        match self.metric {
            Metric::Time(_, statistic) => statistic.samples_needed(),
            _ => 1,
        }
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

text_form!(Condition, "a condition such as p99<1ms, errors<=0 or rate>=50k/s");

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let text = text.trim();
        let (name, comparison, bound) =
            Comparison::split(text).ok_or_else(|| ConditionError::Form(text.into()))?;
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

impl Comparison {
    /// The first comparison in a text, with what is before and after it; `None` if there is none.
    pub fn split(text: &str) -> Option<(&str, Self, &str)> {
        let (before, rest) = text.split_at(text.find(['<', '>'])?);
        let comparisons = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let mut comparisons = comparisons.into_iter();
        let (comparison, after) =
            comparisons.find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)))?;
        Some((before.trim(), comparison, after.trim()))
    }

    /// Whether it holds between a value and a bound.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => value < bound,
            Comparison::LessOrEqual => value <= bound,
            Comparison::Greater => value > bound,
            Comparison::GreaterOrEqual => value >= bound,
        }
    }

    /// Whether it holds for all larger values if it holds for one.
    fn is_lower_bound(self) -> bool {
        matches!(self, Comparison::Greater | Comparison::GreaterOrEqual)
    }
}

/// A time for a person, as far as it is known.
fn show_known(micros: Known) -> String {
    let shown = show_micros(micros.value());
    match micros {
        Known::Exactly(_) => shown,
        Known::AtLeast(_) => format!("at least {shown}"),
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
