//! The intervals of the window: the counts of all workers in each of them, in order.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::tally::Cut;
use crate::clock::nanos;
use record::histogram::{self, Histogram, quantile};

/// The longest interval, and the fewest intervals of a short window and the most of a long one:
/// each is a line in a log, and 300 KB in memory.
const LONGEST: Duration = Duration::from_secs(1);
const FEWEST: u32 = 20;
const MOST: u32 = 100;

/// The length of the intervals of a window.
pub fn interval(window: Duration) -> Duration {
    let longest = LONGEST.max(window / MOST);
    (window / FEWEST).clamp(Duration::from_nanos(1), longest)
}

/// The counts of all workers in an interval.
#[derive(Debug)]
pub struct IntervalCounts {
    /// Its start, from the start of the window.
    pub start_ns: u64,
    /// Its length.
    pub duration_ns: u64,
    /// Messages that came back.
    pub echoes: u64,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// Response times, or in a closed loop service times.
    pub latency: Histogram,
}

/// The progress of a load: what it measured in the last interval of the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Time since the window opened.
    pub elapsed: Duration,
    /// Time until it closes.
    pub left: Duration,
    /// Messages that came back per second.
    pub echoes_per_s: f64,
    /// Median latency in microseconds; of response time if there is one.
    pub p50_us: Option<f64>,
    /// 99th percentile in microseconds.
    pub p99_us: Option<f64>,
    /// Errors since the run began.
    pub errors: u64,
}

/// Collects the counts that the workers hand over.
#[derive(Debug)]
pub struct Intervals {
    length: Duration,
    window: Duration,
    workers: usize,
    cuts: Receiver<Cut>,
    /// Each with the number of workers that have contributed to it, and their errors.
    found: Vec<(IntervalCounts, usize, u64)>,
    /// How many snapshots were taken.
    shown: usize,
}

impl Intervals {
    /// Intervals of that length, for a window and a number of workers.
    pub fn new(length: Duration, window: Duration, workers: usize, cuts: Receiver<Cut>) -> Self {
        Intervals {
            length,
            window,
            workers,
            cuts,
            found: Vec::new(),
            shown: 0,
        }
    }

    /// Adds the counts of a worker.
    pub fn add(&mut self, cut: Cut) {
        while self.found.len() <= cut.number {
            let interval = IntervalCounts {
                start_ns: nanos(self.length) * self.found.len() as u64,
                duration_ns: nanos(self.length),
                echoes: 0,
                reconnects: 0,
                latency: histogram::empty(),
            };
            self.found.push((interval, 0, 0));
        }
        let (interval, workers, errors) = &mut self.found[cut.number];
        interval.echoes += cut.echoes;
        interval.reconnects += cut.reconnects;
        interval.latency += cut.latency;
        *workers += 1;
        *errors += cut.errors;
    }

    /// A snapshot of the next interval that all workers have left; does not wait for it.
    pub fn next_snapshot(&mut self) -> Option<Snapshot> {
        while let Ok(cut) = self.cuts.try_recv() {
            self.add(cut);
        }
        let (interval, workers, errors) = self.found.get(self.shown)?;
        if *workers < self.workers {
            return None;
        }
        self.shown += 1;
        let elapsed = self.length * self.shown as u32;
        let micros = |q| Some(quantile(&interval.latency, q)? as f64 / 1e3);
        Some(Snapshot {
            elapsed,
            left: self.window.saturating_sub(elapsed),
            echoes_per_s: interval.echoes as f64 / self.length.as_secs_f64(),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            errors: *errors,
        })
    }

    /// All of them, once every worker has ended, in a window that was this long.
    pub fn finish(mut self, window_ns: u64) -> Vec<IntervalCounts> {
        while let Ok(cut) = self.cuts.try_recv() {
            self.add(cut);
        }
        let most = self.window.as_nanos().div_ceil(self.length.as_nanos());
        debug_assert!(self.found.len() as u128 <= most);
        let mut intervals: Vec<_> = self.found.into_iter().map(|(interval, ..)| interval).collect();
        for interval in &mut intervals {
            let left_ns = window_ns.saturating_sub(interval.start_ns);
            interval.duration_ns = interval.duration_ns.min(left_ns);
        }
        intervals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn cut(number: usize, echoes: u64, latency_ns: u64) -> Cut {
        let mut latency = histogram::empty();
        latency.saturating_record_n(latency_ns, echoes);
        Cut {
            number,
            echoes,
            reconnects: 1,
            latency,
            errors: 1,
        }
    }

    #[test]
    fn an_interval_is_shown_once_all_workers_have_left_it() {
        let (sender, cuts) = mpsc::channel();
        let second = Duration::from_secs(1);
        let mut intervals = Intervals::new(second, 3 * second, 2, cuts);
        sender.send(cut(0, 30, 1000)).unwrap();
        sender.send(cut(1, 50, 1000)).unwrap();
        assert_eq!(intervals.next_snapshot(), None);
        sender.send(cut(0, 70, 1000)).unwrap();
        let shown = intervals.next_snapshot().unwrap();
        assert_eq!((shown.elapsed, shown.left), (second, 2 * second));
        assert_eq!((shown.echoes_per_s, shown.errors, shown.p99_us), (100.0, 2, None));
        assert!(shown.p50_us.is_some_and(|p50| (p50 - 1.0).abs() < 0.01));
        assert_eq!(intervals.next_snapshot(), None);
        let found = intervals.finish(1_500_000_000);
        assert_eq!(
            found.iter().map(|interval| interval.echoes).collect::<Vec<_>>(),
            [100, 50]
        );
        assert_eq!((found[0].latency.len(), found[0].reconnects), (100, 2));
        let times: Vec<_> = { found.iter() }
            .map(|interval| (interval.start_ns, interval.duration_ns))
            .collect();
        assert_eq!(times, [(0, 1_000_000_000), (1_000_000_000, 500_000_000)]);
    }
}
