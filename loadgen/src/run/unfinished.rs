//! Latencies that have not ended, with the time that they have lasted so far.

use record::histogram::{self, Histogram};
use record::{BySpan, Span};

/// Latencies of each span in nanoseconds. There are seldom any, and a histogram is large.
#[derive(Debug, Default)]
pub struct Unfinished(BySpan<Option<Histogram>>);

impl Unfinished {
    /// Adds one that has lasted this long.
    pub fn record(&mut self, span: Span, lasted_ns: u64) {
        let histogram = self.0[span].get_or_insert_with(histogram::empty);
        histogram.saturating_record(lasted_ns);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Unfinished) {
        for (span, histogram) in other.0.measured() {
            *self.0[span].get_or_insert_with(histogram::empty) += histogram;
        }
    }

    /// Those of a span, if there are any.
    pub fn of(&self, span: Span) -> Option<&Histogram> {
        self.0[span].as_ref()
    }

    /// How many there are of a span.
    #[cfg(test)]
    pub fn count(&self, span: Span) -> u64 {
        self.of(span).map_or(0, Histogram::len)
    }
}
