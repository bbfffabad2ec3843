//! The readers of the export formats read exported loads back.

mod fixture;

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};
use loadgen::export::{hgrm, hlog};
use proptest::prelude::*;
use record::histogram::{Encoded, Histogram, empty};
use record::{Load, Span};

use crate::fixture::{load, of};

/// The intervals of a log; its start appears twice, as `StartTime` and as `BaseTime`.
fn intervals(log: &str) -> Vec<IntervalLogHistogram<'_>> {
    let begin = Duration::from_millis(1_767_225_601_750);
    let mut entries = IntervalLogIterator::new(log.as_bytes()).map(Result::unwrap);
    assert_eq!(entries.next(), Some(LogEntry::StartTime(begin)));
    assert_eq!(entries.next(), Some(LogEntry::BaseTime(begin)));
    entries
        .map(|entry| match entry {
            LogEntry::Interval(interval) => interval,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn decode(interval: &IntervalLogHistogram) -> Histogram {
    let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

#[test]
fn the_log_begins_as_the_tools_expect() {
    let log = hlog(&load(&[vec![1_000_000]])).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "#[Histogram log format version 1.3]");
    let begin = humantime::parse_rfc3339("2026-01-01T00:00:01.750Z").unwrap();
    let begin_s = begin.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(lines.contains(&format!("#[StartTime: {begin_s:.3} (seconds since epoch)]").as_str()));
    assert!(lines.contains(
        &"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
    ));
    let last = lines.last().unwrap();
    assert!(last.starts_with("0.000,0.500,1.000,HISTF"), "max in ms: {last}");
}

#[test]
fn a_load_without_intervals_is_one_line_of_the_whole_window() {
    let samples = [1_000, 2_000_000, 30_000_000];
    let load = Load {
        intervals: Vec::new(),
        ..load(&[samples.to_vec()])
    };
    let log = hlog(&load).unwrap();
    let [interval] = &intervals(&log)[..] else {
        panic!("{log}")
    };
    assert_eq!(interval.start_timestamp(), Duration::ZERO);
    assert_eq!(interval.duration(), Duration::from_secs(2));
    assert_eq!(decode(interval), of(&samples));
}

#[test]
fn a_closed_loop_exports_its_service_times() {
    let mut load = load(&[vec![1_000]]);
    (load.histograms[Span::Response], load.intervals) = (None, Vec::new());
    assert_eq!(decode(&intervals(&hlog(&load).unwrap())[0]), of(&[7]));
    assert!(hgrm(&load).unwrap().contains("Total count    =            1]"));
}

#[test]
fn times_that_are_none_and_text_that_is_no_histogram_do_no_harm() {
    let mut load = load(&[vec![1_000]]);
    load.started_at = "once".into();
    load.intervals[0].start_s = -1.0;
    load.intervals[0].duration_s = f64::MAX;
    let log = hlog(&load).unwrap();
    assert!(!log.contains("StartTime:"), "{log}");
    assert!(log.lines().last().unwrap().starts_with("0.000,0.000,"), "{log}");
    load.intervals[0].latency = serde_json::from_str("\"AAAA\"").unwrap();
    load.histograms[Span::Response] = Some(load.intervals[0].latency.clone());
    assert!(hlog(&load).is_err() && hgrm(&load).is_err());
}

#[test]
fn messages_without_an_answer_are_in_a_comment_that_the_tools_skip() {
    let mut load = load(&[vec![1_000_000]]);
    assert!(!hlog(&load).unwrap().contains("Not included"));
    let waited = Encoded::new(&of(&[2_000_000_000, 3_000_000_000]));
    load.unfinished = Some([(Span::Service, waited.clone()), (Span::Response, waited)].into());
    for text in [hlog(&load).unwrap(), hgrm(&load).unwrap()] {
        let note = text.lines().find(|line| line.contains("Not included")).unwrap();
        assert!(
            note.starts_with("#[Not included: 2 messages without an answer, after up to 300"),
            "{note}"
        );
    }
    assert_eq!(intervals(&hlog(&load).unwrap()).len(), 1);
    assert_eq!(rows(&hgrm(&load).unwrap()).last().unwrap()[2], 1.0);
}

/// A line of the distribution: value in milliseconds, share, count, 1 / (1 - share).
fn rows(text: &str) -> Vec<Vec<f64>> {
    let numbers = |line: &str| {
        line.split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    };
    let lines = text.lines().skip(2);
    lines
        .take_while(|line| !line.starts_with('#'))
        .map(numbers)
        .collect()
}

/// The number that follows `name =` in the lines below the distribution.
fn trailer(text: &str, name: &str) -> f64 {
    let (_, after) = text.split_once(name).unwrap();
    let number = after.split([',', ']']).next().unwrap();
    number.trim_start_matches([' ', '=']).parse().unwrap()
}

#[test]
fn a_distribution_of_nothing_has_no_lines() {
    let text = hgrm(&load(&[])).unwrap();
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
    assert!(rows(&text).is_empty());
    assert_eq!(trailer(&text, "Total count"), 0.0);
}

proptest! {
    #[test]
    fn the_intervals_of_the_log_add_up_to_the_whole(
        samples in prop::collection::vec(prop::collection::vec(1u64..5_000_000_000, 0..50), 1..6),
    ) {
        let log = hlog(&load(&samples)).unwrap();
        let found = intervals(&log);
        prop_assert_eq!(found.len(), samples.len());
        let mut sum = empty();
        for (index, interval) in found.iter().enumerate() {
            prop_assert_eq!(interval.start_timestamp(), Duration::from_millis(500 * index as u64));
            prop_assert_eq!(interval.duration(), Duration::from_millis(500));
            let histogram = decode(interval);
            prop_assert!((interval.max() - histogram.max() as f64 / 1e6).abs() < 1e-3);
            sum += histogram;
        }
        prop_assert_eq!(sum, of(&samples.concat()));
    }

    #[test]
    fn the_distribution_rises_to_the_last_sample(
        samples in prop::collection::vec(1u64..5_000_000_000, 1..3000),
    ) {
        let text = hgrm(&load(std::slice::from_ref(&samples))).unwrap();
        let whole = of(&samples);
        let rows = rows(&text);
        for (row, next) in rows.iter().zip(&rows[1..]) {
            prop_assert!(row[0] <= next[0] && row[1] < next[1] && row[2] <= next[2], "{}", text);
            prop_assert!((row[3] * (1.0 - row[1]) - 1.0).abs() < 0.01, "{}", text);
        }
        for row in &rows {
            // The value is shown in steps of 1 us, and a bucket is 0.1% wide.
            let highest_ns = whole.highest_equivalent((row[0] * 1e6) as u64 + 500);
            let lowest_ns = whole.lowest_equivalent(((row[0] * 1e6) as u64).saturating_sub(500));
            let count_to = |ns| whole.count_between(0, ns) as f64;
            prop_assert!((count_to(lowest_ns)..=count_to(highest_ns)).contains(&row[2]), "{}", text);
        }
        let last = rows.last().unwrap();
        prop_assert_eq!((last.len(), last[1], last[2]), (3, 1.0, samples.len() as f64));
        prop_assert_eq!(trailer(&text, "Total count"), samples.len() as f64);
        prop_assert!((trailer(&text, "Max ") - whole.max() as f64 / 1e6).abs() < 1e-3);
        prop_assert!((trailer(&text, "Mean ") - whole.mean() / 1e6).abs() < 1e-3);
    }
}
