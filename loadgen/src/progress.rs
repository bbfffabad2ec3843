//! Shows the progress of a load on one line of standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::{Observer, Snapshot};
use record::units::show_rate;
use record::words::{count, show_micros};

/// Redraws per second. More would not be legible, and would take CPU time from the generator.
const REDRAWS_PER_S: u8 = 4;

/// Without a line that can be redrawn, a load that takes long to connect prints a new one this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The line. If standard error is no terminal that can redraw a line, there is none, and it
/// costs nothing; only a load that takes long to connect prints lines. It disappears when the window
/// closes or this is dropped.
#[derive(Debug)]
pub struct Progress {
    line: Option<ProgressBar>,
    /// When the next line is due while connections are opened.
    next_line: Duration,
}

impl Progress {
    /// Shows the start of a load.
    pub fn start() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_S);
        if target.is_hidden() {
            return Progress::with(None);
        }
        let bar = ProgressBar::with_draw_target(None, target);
        // The template is constant and valid; the default is a fallback.
        let style = ProgressStyle::with_template("{spinner} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("connecting and warming up");
        bar.enable_steady_tick(Duration::from_secs(1) / REDRAWS_PER_S.into());
        Progress::with(Some(bar))
    }

    fn with(line: Option<ProgressBar>) -> Self {
        Progress {
            line,
            next_line: Duration::ZERO,
        }
    }
}

impl Observer for Progress {
    fn connecting(&mut self, open: usize, of: usize, elapsed: Duration) {
        let text = describe_connecting(open, of, elapsed);
        match &self.line {
            Some(bar) => bar.set_message(text),
            None if elapsed >= self.next_line => {
                self.next_line = elapsed + LINE_EVERY;
                record::complain!("loadgen: {text}");
            }
            None => {}
        }
    }

    fn window_opened(&mut self) {
        if let Some(bar) = &self.line {
            bar.set_message("measuring");
        }
    }

    fn wants_progress(&self) -> bool {
        self.line.is_some()
    }

    fn progress(&mut self, snapshot: &Snapshot) {
        if let Some(bar) = &self.line {
            bar.set_message(describe(snapshot));
        }
    }

    fn window_closed(&mut self) {
        if let Some(bar) = self.line.take() {
            bar.finish_and_clear();
        }
    }
}

/// `1016 of 8000 connections open, 3 s`.
fn describe_connecting(open: usize, of: usize, elapsed: Duration) -> String {
    format!(
        "{open} of {} open, {} s",
        count(of as u64, "connection"),
        elapsed.as_secs()
    )
}

/// `measuring: 226k/s, p50 192us, p99 433us, no errors, 8s left`.
fn describe(snapshot: &Snapshot) -> String {
    let time = |micros: Option<f64>| micros.map_or("-".into(), show_micros);
    let errors = match snapshot.errors {
        0 => "no errors".into(),
        errors => count(errors, "error"),
    };
    // Rounded up: a second that has begun is not over.
    let left_s = snapshot.left.as_millis().div_ceil(1000) as u64;
    format!(
        "measuring: {}, p50 {}, p99 {}, {errors}, {} left",
        show_rate(snapshot.echoes_per_s),
        time(snapshot.p50_us),
        time(snapshot.p99_us),
        humantime::format_duration(Duration::from_secs(left_s)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_one_line() {
        let snapshot = Snapshot {
            elapsed: Duration::from_secs(2),
            left: Duration::from_millis(7_201),
            echoes_per_s: 226_140.0,
            p50_us: Some(192.4),
            p99_us: Some(2_629.4),
            errors: 0,
        };
        assert_eq!(
            describe(&snapshot),
            "measuring: 226k/s, p50 192us, p99 2.63ms, no errors, 8s left"
        );
        let beginning = Snapshot {
            left: Duration::from_secs(90),
            p50_us: None,
            p99_us: None,
            errors: 1,
            ..snapshot
        };
        assert_eq!(
            describe(&beginning),
            "measuring: 226k/s, p50 -, p99 -, 1 error, 1m 30s left"
        );
    }

    #[test]
    fn connections_that_are_not_open_yet_are_counted() {
        let text = describe_connecting(1016, 8000, Duration::from_millis(3_700));
        assert_eq!(text, "1016 of 8000 connections open, 3 s");
    }

    #[test]
    fn without_a_terminal_nothing_runs() {
        // The test harness does not redirect standard error, so on a terminal there is a line.
        let mut progress = Progress::start();
        let shown = progress.line.is_some();
        assert_eq!(shown, !ProgressDrawTarget::stderr().is_hidden());
        progress.window_closed();
        assert!(progress.line.is_none());
    }
}
