//! Intervals and ratios as text and HTML show them.

use record::numbers::number;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_three_orders_of_magnitude_is_too_wide() {
        let ends = |low, high| interval(&ConfidenceInterval { low, high }, 1.0);
        assert_eq!(ends(2.0, 3.0), "2.00 to 3.00");
        assert_eq!(ends(0.00001, 5e12), "too wide");
    }
}
