//! Latency histograms with one set of bounds, so adding any two is exact.
//!
//! Latencies are nanoseconds. Every percentile in text, JSON and figures comes from [`quantile`],
//! so they agree to the last digit.

mod censored;
mod quantiles;

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use censored::{Censored, Known};
pub use quantiles::{LowerBounds, Quantiles, Statistic};

/// Counts of latencies in nanoseconds.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// One hour: longer than any run that a person waits for. Larger values count as this one.
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// Three digits: a bucket is at most 0.1% wide, well below the differences between trials.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A quantile is reported if at least this many samples lie beyond it.
pub const SAMPLES_BEYOND: f64 = 10.0;

/// Longer encoded histograms are refused: echobench writes a few kilobytes.
const LONGEST_ENCODING: usize = 4 << 20;

/// An empty histogram with the bounds that all of echobench uses.
pub fn empty() -> Histogram {
    Histogram::new_with_bounds(1, HIGHEST_NS, SIGNIFICANT_DIGITS).expect("the bounds are constant and valid")
}

/// The value in nanoseconds that a share `q` of the samples (0 to 1) does not exceed.
///
/// `None` if fewer than ten samples lie beyond it: such a number is an anecdote.
pub fn quantile(histogram: &Histogram, q: f64) -> Option<u64> {
    has_enough_beyond(histogram.len(), q).then(|| histogram.value_at_quantile(q))
}

/// Whether enough of that many samples lie beyond a quantile.
fn has_enough_beyond(samples: u64, q: f64) -> bool {
    // Without the tolerance, 1,000 samples would not suffice for p99: 1 - 0.99 is below 0.01.
    samples as f64 * (1.0 - q) + 1e-6 >= SAMPLES_BEYOND
}

/// A stored histogram: HdrHistogram V2, deflated, in base64.
///
/// The HdrHistogram tools of other languages read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Encoded(String);

/// Why text is not a histogram of echobench.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The text is too long.
    #[error("the histogram is {0} characters long; the limit is {LONGEST_ENCODING}")]
    TooLong(usize),
    /// The text is not base64.
    #[error("the histogram is not base64: {0}")]
    Base64(base64::DecodeError),
    /// The bytes are not a deflated HdrHistogram V2.
    #[error("the histogram is not HdrHistogram V2: {0}")]
    Format(String),
    /// Other bounds or another precision: adding it would not be exact.
    #[error("the histogram has other bounds or another precision than echobench uses")]
    Bounds,
}

impl Encoded {
    /// Encodes a histogram made by [`empty`].
    pub fn new(histogram: &Histogram) -> Self {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut bytes)
            .expect("writing to memory does not fail");
        Encoded(STANDARD.encode(bytes))
    }

    /// The text that a record holds.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The histogram that was encoded.
    pub fn decode(&self) -> Result<Histogram, DecodeError> {
        if self.0.len() > LONGEST_ENCODING {
            return Err(DecodeError::TooLong(self.0.len()));
        }
        let bytes = STANDARD.decode(&self.0).map_err(DecodeError::Base64)?;
        let histogram: Histogram = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| DecodeError::Format(error.to_string()))?;
        let ours = empty();
        let same = histogram.low() == ours.low()
            && histogram.high() == ours.high()
            && histogram.sigfig() == ours.sigfig();
        same.then_some(histogram).ok_or(DecodeError::Bounds)
    }
}

/// The histogram of some samples.
#[cfg(test)]
fn of(samples: &[u64]) -> Histogram {
    let mut histogram = empty();
    samples.iter().for_each(|&ns| histogram.saturating_record(ns));
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        let hundred = of(&(1..=100).map(|k| k * 1000).collect::<Vec<_>>());
        assert_eq!(quantile(&hundred, 0.5), Some(hundred.value_at_quantile(0.5)));
        assert!(quantile(&hundred, 0.9).is_some(), "exactly ten lie beyond p90");
        assert_eq!(quantile(&hundred, 0.99), None);
        assert_eq!(quantile(&empty(), 0.5), None);
    }

    #[test]
    fn a_thousand_samples_are_enough_for_p99() {
        assert!(quantile(&of(&[5; 1000]), 0.99).is_some());
        assert!(quantile(&of(&[5; 999]), 0.99).is_none());
    }

    #[test]
    fn known_samples_give_known_quantiles_within_the_precision() {
        let numbers = Quantiles::of(&of(&(1..=10_000).map(|k| k * 1000).collect::<Vec<_>>()));
        let near = |value: Option<f64>, expected: f64| (value.unwrap() / expected - 1.0).abs() < 1e-3;
        assert!(near(numbers.p50, 5_000.0) && near(numbers.p90, 9_000.0));
        assert!(near(numbers.p99, 9_900.0) && near(numbers.p99_9, 9_990.0));
        assert!(near(numbers.mean, 5_000.5) && near(numbers.max, 10_000.0));
        assert_eq!(numbers.count, 10_000);
    }

    #[test]
    fn foreign_text_and_foreign_bounds_are_refused() {
        assert!(matches!(
            Encoded("%".into()).decode(),
            Err(DecodeError::Base64(_))
        ));
        assert!(matches!(
            Encoded("AAAA".into()).decode(),
            Err(DecodeError::Format(_))
        ));
        assert!(matches!(
            Encoded("A".repeat(LONGEST_ENCODING + 1)).decode(),
            Err(DecodeError::TooLong(_))
        ));
        let foreign = Histogram::new_with_bounds(1, 1_000_000, 2).unwrap();
        assert!(matches!(
            Encoded::new(&foreign).decode(),
            Err(DecodeError::Bounds)
        ));
    }

    proptest! {
        #[test]
        fn a_stored_histogram_is_read_back(samples in prop::collection::vec(1..HIGHEST_NS, 0..200)) {
            let histogram = of(&samples);
            prop_assert_eq!(Encoded::new(&histogram).decode().unwrap(), histogram);
        }

        #[test]
        fn merging_equals_recording_the_union(
            left in prop::collection::vec(0..u64::MAX, 0..200),
            right in prop::collection::vec(0..HIGHEST_NS, 0..200),
        ) {
            let mut merged = Encoded::new(&of(&left)).decode().unwrap();
            merged.add(Encoded::new(&of(&right)).decode().unwrap()).unwrap();
            let union = of(&[left, right].concat());
            prop_assert_eq!(Encoded::new(&merged), Encoded::new(&union));
        }
    }
}
