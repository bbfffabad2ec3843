//! Conditions on changes as people write them: `throughput<-5%`, `epoll.p99>+10%`.

use std::fmt;
use std::str::FromStr;

use record::condition::Comparison;

use crate::compare::cell::{COMPARED, Compared};
use crate::stats::ConfidenceInterval;

/// `METRIC OP CHANGE`, after `SERVER.`, `@SCENARIO.` or `SERVER@SCENARIO.`: a metric, a comparison, and a change in percent of BASE, for
/// all servers and scenarios or for those that are named.
///
/// Displayed, it is the text that it was parsed from.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The server that it is about; all if absent.
    pub server: Option<String>,
    /// The scenario that it is about; all if absent.
    pub scenario: Option<String>,
    /// The metric that it is about.
    pub compared: &'static Compared,
    comparison: Comparison,
    /// The ratio that the change stands for.
    bound: f64,
    text: String,
}

/// Why a text is not a condition, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No comparison in it.
    #[error(
        "`{0}` is not a condition: write a metric, one of < <= > >=, and a change in percent of BASE, such as \
         throughput<-5%, p99>+10% or epoll@100-connections.cpu>+3%, in quotes where a shell reads it"
    )]
    Form(String),
    /// The metric does not exist.
    #[error(
        "`{0}` is not a metric: write {names}, after the name of a server, @ and the name of a scenario, or both where \
         it is not about all, as in epoll.p99 or epoll@100-connections.p99",
        names = names()
    )]
    Metric(String),
    /// The bound is not a change.
    #[error(
        "`{0}` is not a change: give a percentage with its sign, such as -5% for 0.95 times BASE or +10% for 1.1 \
         times; it must be above -100%"
    )]
    Change(String),
}

impl Condition {
    /// Whether all ratios of the interval meet the condition, or none; `None` if some do.
    pub fn holds(&self, interval: &ConfidenceInterval) -> Option<bool> {
        let meets = |ratio: f64| self.comparison.holds(ratio, self.bound);
        // The ratios that meet it are a half-line, so the ends decide.
        let (low, high) = (meets(interval.low), meets(interval.high));
        (low == high).then_some(low)
    }

    /// Whether it is about this server.
    pub fn covers_server(&self, name: &str) -> bool {
        self.server.as_deref().is_none_or(|own| own == name)
    }

    /// Whether it is about this scenario.
    pub fn covers_scenario(&self, name: &str) -> bool {
        self.scenario.as_deref().is_none_or(|own| own == name)
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
        let (subject, comparison, change) =
            Comparison::split(text).ok_or_else(|| ConditionError::Form(text.into()))?;
        // Names of servers and scenarios may have dots.
        let (place, metric) = subject.rsplit_once('.').unwrap_or(("", subject));
        let compared = COMPARED.iter().find(|compared| compared.name == metric);
        let compared = compared.ok_or_else(|| ConditionError::Metric(subject.into()))?;
        let (server, scenario) = place.split_once('@').unwrap_or((place, ""));
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let is_about_nothing = subject.starts_with('.') || place.ends_with('@');
        if is_about_nothing {
            return Err(ConditionError::Metric(subject.into()));
        }
        Ok(Condition {
            server: named(server),
            scenario: named(scenario),
            compared,
            comparison,
            bound: ratio(change)?,
            text: text.into(),
        })
    }
}

/// The ratio that a change stands for: 0.95 for `-5%`. Only 0% needs no sign: `throughput<95%` would
/// hold for nearly every run.
fn ratio(change: &str) -> Result<f64, ConditionError> {
    let wrong = || ConditionError::Change(change.into());
    let number = change.strip_suffix('%').ok_or_else(wrong)?;
    let digits = number.strip_prefix(['-', '+']);
    let is_number = |digits: &str| {
        let mut all = digits.bytes();
        all.all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let percent: f64 = Some(digits.unwrap_or(number))
        .filter(|digits| is_number(digits))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(wrong)?;
    let percent = match number.starts_with('-') {
        true => -percent,
        false => percent,
    };
    let has_sign = digits.is_some() || percent == 0.0;
    match has_sign && percent > -100.0 && percent.is_finite() {
        true => Ok(1.0 + percent / 100.0),
        false => Err(wrong()),
    }
}

/// `throughput, p50, p99 or cpu`
fn names() -> String {
    let [first @ .., last] = &COMPARED;
    let first: Vec<&str> = first.iter().map(|compared| compared.name).collect();
    format!("{} or {}", first.join(", "), last.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Condition {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Condition>().unwrap_err().to_string()
    }

    #[test]
    fn a_condition_is_about_everything_or_about_what_it_names() {
        let places = [
            ("throughput<-5%", None, None),
            ("epoll.p99 > +10%", Some("epoll"), None),
            (
                "my.server@100-connections.cpu>=+3%",
                Some("my.server"),
                Some("100-connections"),
            ),
            ("@1.5k.p50>0%", None, Some("1.5k")),
        ];
        for (text, server, scenario) in places {
            let condition = parsed(text);
            assert_eq!(condition.server.as_deref(), server, "{text}");
            assert_eq!(condition.scenario.as_deref(), scenario, "{text}");
            assert_eq!(condition.to_string(), text);
        }
        let named = parsed("epoll@a.p99>+10%");
        assert!(named.covers_server("epoll") && !named.covers_server("poll"));
        assert!(named.covers_scenario("a") && !named.covers_scenario("b"));
        assert!(parsed("p99>+1%").covers_server("anything"));
    }

    #[test]
    fn a_condition_is_decided_by_a_whole_interval() {
        let holds = |text: &str, low, high| parsed(text).holds(&ConfidenceInterval { low, high });
        assert_eq!(holds("throughput<-5%", 0.90, 0.94), Some(true));
        assert_eq!(holds("throughput<-5%", 0.90, 0.96), None);
        assert_eq!(holds("throughput<-5%", 0.96, 1.20), Some(false));
        assert_eq!(holds("p99>+10%", 1.11, 1.30), Some(true));
        assert_eq!(holds("p99>+10%", 1.00, 1.30), None);
        assert_eq!(holds("p99>+10%", 0.50, 1.05), Some(false));
        assert_eq!(holds("cpu>0%", 1.0, 1.0), Some(false));
        assert_eq!(holds("cpu>=0%", 1.0, 1.0), Some(true));
        assert_eq!(holds("cpu<=0%", 0.9, 1.0), Some(true));
    }

    #[test]
    fn what_is_not_a_condition_says_what_to_write() {
        for text in ["", "throughput", "throughput=-5%"] {
            assert!(error(text).contains("throughput<-5%"), "{text}");
        }
        for text in ["p95>+1%", ".p99>+1%", "epoll@.p99>+1%", "@.p99>+1%", "epoll>+1%"] {
            assert!(error(text).contains("throughput, p50, p99 or cpu"), "{text}");
        }
        for text in [
            "p99>10%",
            "p99>+10",
            "p99>",
            "p99>+%",
            "p99>--1%",
            "p99>+1e3%",
            "p99>+inf%",
            "p99<-100%",
            "p99<-NaN%",
            "p99<=>+1%",
        ] {
            assert!(error(text).contains("with its sign"), "{text}: {}", error(text));
        }
    }
}
