//! Progress on standard error: a bar on a terminal, otherwise a line from time to time.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use record::{CaseOutcome, CaseResult};

/// The progress of a run; where there is no terminal, a line for each block.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    per_trial: Duration,
    block: Cell<Option<u32>>,
}

impl Progress {
    /// Progress over `trials` that take `time` in total.
    pub fn new(trials: usize, time: Duration) -> Self {
        Progress {
            bar: bar(trials, "{bar:30} {pos}/{len}  {prefix} left  {msg}"),
            per_trial: time / (trials.max(1) as u32),
            block: Cell::new(None),
        }
    }

    /// A trial starts.
    pub fn begin(&self, block: u32, scenario: &str, server: &str) {
        let left = self.bar.length().unwrap_or(0).saturating_sub(self.bar.position());
        let left = HumanDuration(self.per_trial * left as u32);
        if self.bar.is_hidden() && self.block.replace(Some(block)) != Some(block) {
            record::complain!("block {}: about {left} left", block + 1);
        }
        self.bar.set_prefix(left.to_string());
        self.bar
            .set_message(format!("block {}, {scenario}, {server}", block + 1));
    }

    /// A trial has ended.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// That many trials are not needed any more.
    pub fn shorten(&self, trials: usize) {
        self.bar.dec_length(trials as u64);
    }

    /// Prints an error that does not end the run.
    pub fn warn(&self, text: &str) {
        self.bar
            .suspend(|| record::complain!("echobench: {}", text.trim_end()));
    }

    /// The run has ended.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The progress of conformance cases; where there is no terminal, a line for the first result
/// of each case.
#[derive(Debug)]
pub struct CaseProgress {
    bar: ProgressBar,
    begun: RefCell<HashSet<String>>,
}

impl CaseProgress {
    /// Progress over that many results.
    pub fn new(results: usize) -> Self {
        CaseProgress {
            bar: bar(results, "{bar:30} {pos}/{len}  {eta} left  {msg}"),
            begun: RefCell::default(),
        }
    }

    /// A result has arrived. A failure is printed at once.
    pub fn landed(&self, result: &CaseResult) {
        self.bar.inc(1);
        self.bar.set_message(format!("{} {}", result.case, result.model));
        if let CaseOutcome::Fail { evidence } = &result.outcome {
            let first = evidence.lines().next().unwrap_or_default();
            let line = format!("{} {}: fail: {first}", result.case, result.model);
            self.bar.suspend(|| record::complain!("{line}"));
        }
        if self.bar.is_hidden() && self.begun.borrow_mut().insert(result.case.clone()) {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            record::complain!("{}: {done} of {all}", result.case);
        }
    }

    /// All cases have ended.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn bar(length: usize, template: &str) -> ProgressBar {
    // The templates are constants; the default style replaces one that is wrong.
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
