//! The time that a run may take.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time of a run, and what a block of each scenario took of it.
#[derive(Debug)]
pub struct Budget {
    /// `None` without a limit.
    end: Option<Instant>,
    last: Instant,
    taken: HashMap<usize, Duration>,
}

impl Budget {
    /// The time begins now.
    pub fn start(time: Option<Duration>) -> Self {
        let now = Instant::now();
        Budget {
            end: time.map(|time| now + time),
            last: now,
            taken: HashMap::new(),
        }
    }

    /// Whether a block of a scenario would end in time, if it takes as long as the longest before it.
    pub fn is_enough_for(&self, scenario: usize) -> bool {
        let taken = self.taken.get(&scenario).copied().unwrap_or_default();
        self.end.is_none_or(|end| Instant::now() + taken < end)
    }

    /// A block of a scenario has ended.
    pub fn spent_on(&mut self, scenario: usize) {
        let now = Instant::now();
        let taken = self.taken.entry(scenario).or_default();
        *taken = (*taken).max(now - self.last);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_would_end_too_late_does_not_begin() {
        let mut budget = Budget::start(Some(Duration::from_secs(3600)));
        assert!(budget.is_enough_for(0), "nothing is known about it");
        budget.spent_on(0);
        assert!(budget.is_enough_for(0));
        budget.taken.insert(1, Duration::from_secs(3601));
        assert!(budget.is_enough_for(0));
        assert!(!budget.is_enough_for(1));
        assert!(!Budget::start(Some(Duration::ZERO)).is_enough_for(0));
        assert!(Budget::start(None).is_enough_for(1));
    }
}
