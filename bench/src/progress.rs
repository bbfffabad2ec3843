//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::conformance::{CaseResult, Outcome};

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
        Progress {
            bar: bar(trials, "{bar:30} {pos}/{len}  {prefix} left  {msg}"),
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

/// The progress of conformance cases, on standard error; where that is no terminal, a line as
/// each case has its first result.
#[derive(Debug)]
pub struct CaseProgress {
    bar: ProgressBar,
    begun: RefCell<HashSet<String>>,
}

impl CaseProgress {
    /// Progress over so many results.
    pub fn new(results: usize) -> Self {
        CaseProgress {
            bar: bar(results, "{bar:30} {pos}/{len}  {eta} left  {msg}"),
            begun: RefCell::default(),
        }
    }

    /// A result has landed. One that is a failure is said at once.
    pub fn landed(&self, result: &CaseResult) {
        self.bar.inc(1);
        self.bar.set_message(format!("{} {}", result.case, result.model));
        if let Outcome::Fail { evidence } = &result.outcome {
            let first = evidence.lines().next().unwrap_or_default();
            let line = format!("{} {}: fail: {first}", result.case, result.model);
            self.bar.suspend(|| eprintln!("{line}"));
        }
        if self.bar.is_hidden() && self.begun.borrow_mut().insert(result.case.clone()) {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("{}: {done} of {all}", result.case);
        }
    }

    /// Nothing is left to do.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn bar(length: usize, template: &str) -> ProgressBar {
    // The templates are constants, and the default serves should one ever be wrong.
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
