//! Writes a load's latencies in the formats that HdrHistogram tools read.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use record::Load;
use record::histogram::{self, DecodeError, Histogram};

/// The tools show milliseconds by default.
const NS_PER_MS: f64 = 1e6;

/// Lines for each halving of the distance to the last percentile: the default of the tools.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The first line of the log names the format.
const LOG_FORMAT: &str = "[Histogram log format version 1.3]";

/// The names of the fields in a line of the log.
const LEGEND: &str =
    "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

/// The interval log (`.hlog`): a histogram in nanoseconds for each interval of the load, or
/// one for the whole window if it has no intervals.
///
/// Times are in seconds from the end of the warm-up, by the generator's clock; the largest
/// value of an interval, a number for people, is in milliseconds. Fails if a histogram of the
/// load cannot be decoded.
pub fn hlog(load: &Load) -> Result<String, DecodeError> {
    let mut log = header(load)?;
    let mut serializer = V2DeflateSerializer::new();
    let mut lines = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(&mut log, &mut serializer)
        .expect(MEMORY);
    let mut line = |start_s, duration_s, histogram: &Histogram| {
        lines
            .write_histogram(histogram, seconds(start_s), seconds(duration_s), None)
            .expect(MEMORY);
    };
    for interval in &load.intervals {
        line(interval.start_s, interval.duration_s, &interval.latency.decode()?);
    }
    if load.intervals.is_empty() {
        line(0.0, load.window_s, &latency(load)?);
    }
    Ok(String::from_utf8(log).expect("the log is ASCII"))
}

/// The percentile distribution (`.hgrm`) of the response time if there is one, else of the
/// service time, in milliseconds. Fails if that histogram cannot be decoded.
pub fn hgrm(load: &Load) -> Result<String, DecodeError> {
    let histogram = latency(load)?;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0_u64;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total = total.saturating_add(step.count_since_last_iteration());
        let quantile = step.quantile_iterated_to();
        let _ = write!(
            text,
            "{:12.3} {quantile:.12} {total:10}",
            ms(step.value_iterated_to())
        );
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let note = note(load)?.map_or(String::new(), |note| format!("#{note}\n"));
    Ok(text + &trailer(&histogram) + &note)
}

/// The lines before the intervals.
fn header(load: &Load) -> Result<Vec<u8>, DecodeError> {
    let mut text = Vec::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(LOG_FORMAT);
    builder.add_comment(&format!("[Written by loadgen {}]", env!("CARGO_PKG_VERSION")));
    if let Some(note) = note(load)? {
        builder.add_comment(&note);
    }
    if let Some(time) = window_opened_at(load) {
        builder.with_start_time(time).with_base_time(time);
    }
    builder
        .begin_log_with(&mut text, &mut V2DeflateSerializer::new())
        .expect(MEMORY);
    text.extend_from_slice(LEGEND.as_bytes());
    Ok(text)
}

/// What the formats have no place for: latencies that had not ended. The tools skip comments.
fn note(load: &Load) -> Result<Option<String>, DecodeError> {
    let Some(encoded) = load.unfinished.as_ref().and_then(|unfinished| unfinished.main()) else {
        return Ok(None);
    };
    let unfinished = encoded.decode()?;
    Ok((!unfinished.is_empty()).then(|| {
        format!(
            "[Not included: {} without an answer, after up to {:.3} ms; the upper percentiles are lower bounds]",
            record::words::count(unfinished.len(), "message"),
            ms(unfinished.max())
        )
    }))
}

/// The end of the warm-up, less the time that connecting took, which is not recorded.
fn window_opened_at(load: &Load) -> Option<SystemTime> {
    let started_at = humantime::parse_rfc3339(&load.started_at).ok()?;
    started_at.checked_add(load.plan.warmup.0)
}

/// A time of the record; an impossible one, from a damaged file, counts as 0.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The main latency: response time if there is one, else service time.
fn latency(load: &Load) -> Result<Histogram, DecodeError> {
    match load.histograms.main() {
        Some(encoded) => encoded.decode(),
        None => Ok(histogram::empty()),
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / NS_PER_MS
}

/// The lines below the percentiles. The number of sub-buckets is twice the number of steps of
/// the precision, rounded up to a power of two.
fn trailer(histogram: &Histogram) -> String {
    let sub_buckets = (2 * 10_u64.pow(histogram.sigfig().into())).next_power_of_two();
    format!(
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]\n",
        histogram.mean() / NS_PER_MS,
        histogram.stdev() / NS_PER_MS,
        ms(histogram.max()),
        histogram.len(),
        histogram.buckets(),
    )
}

const MEMORY: &str = "writing to memory does not fail";
