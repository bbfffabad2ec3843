//! Intervals, ratios and message sizes as text and HTML show them.

use record::MessageSize;
use record::numbers::{bytes, number};
use record::words::plain_line;

use crate::stats::{ConfidenceInterval, Estimate};

/// An interval whose ends differ by more than this factor only shows that there were too few
/// trials.
const WIDEST: f64 = 1000.0;

/// The ends of an interval, divided by `scale`: `10,892 to 14,764`.
pub fn interval(interval: &ConfidenceInterval, scale: f64) -> String {
    ends(interval, scale, " to ")
}

/// The same for narrow columns: `10,892–14,764`.
pub fn range(interval: &ConfidenceInterval, scale: f64) -> String {
    ends(interval, scale, "–")
}

fn ends(interval: &ConfidenceInterval, scale: f64, between: &str) -> String {
    if interval.high > interval.low * WIDEST {
        return "too wide".into();
    }
    format!(
        "{}{between}{}",
        number(interval.low / scale),
        number(interval.high / scale)
    )
}

/// A ratio with its interval: `1.32 (1.25 to 1.39)`.
pub fn ratio(estimate: &Estimate) -> String {
    match &estimate.interval {
        Some(ends) => format!("{} ({})", number(estimate.value), interval(ends, 1.0)),
        None => format!("{} (no interval)", number(estimate.value)),
    }
}

/// The value of an estimate, divided by `scale`: `84.2`, or `≥ 84.2` if it is a lower bound.
pub fn value(estimate: &Estimate, scale: f64) -> String {
    let number = number(estimate.value / scale);
    match estimate.at_least {
        true => format!("≥\u{a0}{number}"),
        false => number,
    }
}

/// A share as a percentage: `3%`, `2.1%`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match (percent - percent.round()).abs() < 1e-9 && percent >= 2.0 {
        true => format!("{percent:.0}%"),
        false => format!("{percent:.1}%"),
    }
}

/// The sizes of messages: `64 B`, `16 B to 4 KiB`, `sizes in PATH`.
pub fn message_size(size: &MessageSize) -> String {
    match size {
        MessageSize::Fixed(size) => bytes(size.0),
        MessageSize::Uniform(first, last) => format!("{} to {}", bytes(first.0), bytes(last.0)),
        MessageSize::Listed(path) => format!("sizes in {}", plain_line(&path.to_string_lossy())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_sizes_are_a_size_a_range_or_a_file() {
        let shown = |text: &str| message_size(&text.parse().unwrap());
        assert_eq!(shown("64B"), "64\u{a0}B");
        assert_eq!(shown("uniform:16B..4KiB"), "16\u{a0}B to 4\u{a0}KiB");
        assert_eq!(shown("file:a\u{1b}b"), "sizes in a\u{fffd}b");
    }

    #[test]
    fn an_interval_of_three_orders_of_magnitude_is_too_wide() {
        let ends = |low, high| interval(&ConfidenceInterval { low, high }, 1.0);
        assert_eq!(ends(2.0, 3.0), "2.00 to 3.00");
        assert_eq!(ends(0.00001, 5e12), "too wide");
    }
}
