//! A processor quota, and how it throttled a process while that was measured.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::count;

/// What the quota of the cgroup of a process, and those above it, did while the process was measured.
/// All processes of a cgroup use up one quota, and are throttled together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Throttling {
    /// Processors that the tightest quota allows, such as 0.5.
    pub quota: f64,
    /// Periods of the quota, mostly of 100 ms, in which the cgroup ran.
    pub periods: u64,
    /// Periods in which it used its quota up, and was throttled.
    pub throttled_periods: u64,
    /// How long it was throttled in seconds, summed over processors.
    pub throttled_s: f64,
    /// That time as a share of the time of the processors that the process uses; at most, since other
    /// processes of the cgroup may have been throttled on others.
    pub share: f64,
}

impl Throttling {
    /// Whether it was throttled at all.
    pub fn happened(&self) -> bool {
        self.throttled_periods > 0
    }

    /// The quota in words: `a processor quota of 0.5 processors`.
    pub fn quota_in_words(&self) -> String {
        format!("a processor quota of {}", processors(self.quota))
    }
}

/// `0.5 processors`.
pub fn processors(number: f64) -> String {
    let rounded = (number * 100.0).round() / 100.0;
    match rounded == 1.0 {
        true => "1 processor".into(),
        false => format!("{rounded} processors"),
    }
}

/// `in 38 of 40 periods, for 1.52 s in total`.
impl fmt::Display for Throttling {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "in {} of {}, for {:.2} s in total",
            self.throttled_periods,
            count(self.periods, "period"),
            self.throttled_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_and_its_throttling_have_words() {
        let throttling = Throttling {
            quota: 1.0 / 3.0,
            periods: 40,
            throttled_periods: 38,
            throttled_s: 1.5249,
            share: 0.5,
        };
        assert_eq!(throttling.to_string(), "in 38 of 40 periods, for 1.52 s in total");
        assert_eq!(
            throttling.quota_in_words(),
            "a processor quota of 0.33 processors"
        );
        assert_eq!(processors(1.0), "1 processor");
        assert!(throttling.happened() && !Throttling::default().happened());
    }
}
