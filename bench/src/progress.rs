//! How far a run is: a bar on a terminal, a line for each block elsewhere.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// The progress of a run, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    per_trial: Duration,
    block: Cell<Option<u32>>,
}

impl Progress {
    /// Progress over `trials` that take `time` in all.
    pub fn new(trials: usize, time: Duration) -> Self {
        let bar = ProgressBar::new(trials as u64);
        // The template is a constant, and the default serves should it ever be wrong.
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {prefix} left  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress {
            bar,
            per_trial: time / (trials.max(1) as u32),
            block: Cell::new(None),
        }
    }

    /// A trial begins.
    pub fn begin(&self, block: u32, scenario: &str, server: &str) {
        let left = self.bar.length().unwrap_or(0).saturating_sub(self.bar.position());
        let left = HumanDuration(self.per_trial * left as u32);
        if self.bar.is_hidden() && self.block.replace(Some(block)) != Some(block) {
            eprintln!("block {}: about {left} left", block + 1);
        }
        self.bar.set_prefix(left.to_string());
        self.bar
            .set_message(format!("block {}, {scenario}, {server}", block + 1));
    }

    /// A trial has ended.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// Something went wrong that does not end the run.
    pub fn warn(&self, text: &str) {
        self.bar.suspend(|| eprintln!("echobench: {}", text.trim_end()));
    }

    /// Nothing is left to do.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
