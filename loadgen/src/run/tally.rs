//! The counts of a worker, and of all workers together.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use record::histogram::{self, Histogram};
use record::{BySpan, ErrorKind};

use super::unfinished::Unfinished;
use super::usage::Usage;
use crate::engine::Failure;

/// The counts of one worker, or of several together.
#[derive(Debug)]
pub struct Tally {
    /// Connections established over the whole run, idle ones too.
    pub established: u64,
    /// Connections begun within the window, where they come and go.
    pub asked: u64,
    /// Connections established; where they come and go, of those begun within the window.
    pub open: u64,
    /// Connections answered within the window, of those that count as open.
    pub answered: u64,
    /// Connections that send nothing.
    pub idle: u64,
    /// Connections that there was no time to try at the start.
    pub untried: u64,
    /// Connections that were closed within the window after all their messages.
    pub closed: u64,
    /// Messages, or connections, that were due within the window.
    pub due: u64,
    /// Messages of the window that had no answer when their connection failed, or that no
    /// connection could carry.
    pub broken_off: u64,
    /// Their latencies, and those of messages of the window that were lost over UDP.
    pub given_up: Unfinished,
    /// What had no answer when the run ended.
    pub remainder: Remainder,
    /// Messages that were outstanding when the window opened, and when it closed.
    pub outstanding_at_start: u64,
    pub outstanding_at_end: u64,
    /// Messages, and connections, that were due then with no byte handed to the kernel.
    pub waiting_at_start: u64,
    pub waiting_at_end: u64,
    /// How many of the outstanding messages were on connections that were lost, and not back.
    pub withheld_at_start: u64,
    pub withheld_at_end: u64,
    /// The connections that were lost, with `reconnect`.
    pub reconnects: Reconnects,
    /// How long each connection had been lost that was not back at the end.
    pub lost_ns: Vec<u64>,
    /// CPU time and more that the generator used within the window.
    pub usage: Usage,
    /// Messages that had to wait for room, before the window closed.
    pub blocked: u64,
    /// The first times in the window of each worker's schedule, from the window's start.
    pub intended_ns: Vec<Vec<u64>>,
    /// Messages that were answered in the whole run.
    pub served: u64,
    /// The largest service time of the whole run.
    pub longest_ns: u64,
    /// For each connection that was served before and had an unanswered message when the window
    /// closed: how long it waited for the answer.
    pub waits_ns: Vec<u64>,
    /// Connections that no answer has reached when the window closed.
    pub never_served: u64,
    /// How a closed loop spent its time.
    pub account: Option<Account>,
    /// The counts since the last cut.
    pub cut: Cut,
    /// Latencies in nanoseconds, except those of the cuts.
    pub latencies: BySpan<Histogram>,
    /// How many errors of each kind, and the first one as an example.
    pub errors: BTreeMap<ErrorKind, (u64, String)>,
}

/// Connections that were lost and opened again, over the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reconnects {
    /// Losses of connections.
    pub lost: u64,
    /// How many were opened again.
    pub reopened: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Messages that were on their way on a connection that was lost.
    pub messages_lost: u64,
    /// The longest time until one was back.
    pub longest_ns: u64,
}

impl AddAssign for Reconnects {
    fn add_assign(&mut self, other: Reconnects) {
        self.lost += other.lost;
        self.reopened += other.reopened;
        self.failed_attempts += other.failed_attempts;
        self.messages_lost += other.messages_lost;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }
}

/// What was unfinished when the window was over and no answer was waited for any more.
#[derive(Debug, Default)]
pub struct Remainder {
    /// Messages of the window.
    pub unanswered: u64,
    /// All latencies that had not ended.
    pub unfinished: Unfinished,
}

/// The counts of an interval of the window.
#[derive(Debug)]
pub struct Cut {
    /// Number of the interval, from 0.
    pub number: usize,
    /// Messages that came back.
    pub echoes: u64,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// Response times, or in a closed loop service times.
    pub latency: Histogram,
    /// Errors of the whole run up to the end of the interval.
    pub errors: u64,
}

/// How the connections of a closed loop that were answered spent the window.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// The length of the window, for every message that should be in flight.
    pub expected_ns: u64,
    /// Time in it that no recorded latency covers.
    pub unrecorded_ns: u64,
    /// Time before the window that recorded latencies cover.
    pub before_ns: u64,
    /// Whether every connection was open all the time.
    pub is_whole: bool,
}

impl Default for Account {
    fn default() -> Self {
        Account {
            expected_ns: 0,
            unrecorded_ns: 0,
            before_ns: 0,
            is_whole: true,
        }
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Account) {
        self.expected_ns += other.expected_ns;
        self.unrecorded_ns += other.unrecorded_ns;
        self.before_ns += other.before_ns;
        self.is_whole &= other.is_whole;
    }
}

impl Tally {
    /// Empty counts.
    pub fn new() -> Self {
        Tally {
            established: 0,
            asked: 0,
            open: 0,
            answered: 0,
            idle: 0,
            untried: 0,
            closed: 0,
            due: 0,
            broken_off: 0,
            given_up: Unfinished::default(),
            remainder: Remainder::default(),
            outstanding_at_start: 0,
            outstanding_at_end: 0,
            waiting_at_start: 0,
            waiting_at_end: 0,
            withheld_at_start: 0,
            withheld_at_end: 0,
            reconnects: Reconnects::default(),
            lost_ns: Vec::new(),
            usage: Usage::default(),
            blocked: 0,
            intended_ns: Vec::new(),
            served: 0,
            longest_ns: 0,
            waits_ns: Vec::new(),
            never_served: 0,
            account: None,
            cut: Cut::new(0),
            latencies: BySpan::from_fn(|_| histogram::empty()),
            errors: BTreeMap::new(),
        }
    }

    /// Messages of the window that have no answer.
    pub fn unanswered(&self) -> u64 {
        self.broken_off + self.remainder.unanswered
    }

    /// Takes all latencies that have not ended.
    pub fn take_unfinished(&mut self) -> Unfinished {
        let mut unfinished = std::mem::take(&mut self.given_up);
        unfinished.merge(std::mem::take(&mut self.remainder.unfinished));
        unfinished
    }

    /// Counts an error and keeps the first of its kind as the example.
    pub fn error(&mut self, kind: ErrorKind, example: impl ToString) {
        self.cut.errors += 1;
        self.errors
            .entry(kind)
            .or_insert_with(|| (0, example.to_string()))
            .0 += 1;
    }

    /// Counts the failure of a connection.
    pub fn failure(&mut self, failure: &Failure) {
        self.error(failure.kind(), failure);
    }

    /// The counts since the last cut; begins the next interval.
    pub fn take_cut(&mut self) -> Cut {
        let next = Cut {
            errors: self.cut.errors,
            ..Cut::new(self.cut.number + 1)
        };
        std::mem::replace(&mut self.cut, next)
    }

    /// Adds the counts of another worker, without its last cut.
    pub fn merge(&mut self, other: Tally) {
        self.established += other.established;
        self.asked += other.asked;
        self.open += other.open;
        self.answered += other.answered;
        self.idle += other.idle;
        self.untried += other.untried;
        self.closed += other.closed;
        self.due += other.due;
        self.broken_off += other.broken_off;
        self.given_up.merge(other.given_up);
        self.remainder.unanswered += other.remainder.unanswered;
        self.remainder.unfinished.merge(other.remainder.unfinished);
        self.outstanding_at_start += other.outstanding_at_start;
        self.outstanding_at_end += other.outstanding_at_end;
        self.waiting_at_start += other.waiting_at_start;
        self.waiting_at_end += other.waiting_at_end;
        self.withheld_at_start += other.withheld_at_start;
        self.withheld_at_end += other.withheld_at_end;
        self.reconnects += other.reconnects;
        self.lost_ns.extend(other.lost_ns);
        self.usage += other.usage;
        self.blocked += other.blocked;
        self.intended_ns.extend(other.intended_ns);
        self.served += other.served;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.waits_ns.extend(other.waits_ns);
        self.never_served += other.never_served;
        if let Some(other) = other.account {
            *self.account.get_or_insert_default() += other;
        }
        for (span, histogram) in other.latencies.iter() {
            self.latencies[span] += histogram;
        }
        for (kind, (count, example)) in other.errors {
            self.errors.entry(kind).or_insert((0, example)).0 += count;
        }
    }

    /// All errors in words: `2 refused (Connection refused)`.
    pub fn errors_in_words(&self) -> String {
        let shown = { self.errors.iter() }
            .map(|(kind, (count, example))| format!("{count} {} ({example})", kind.name()));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The kind of error that occurred most, and its example.
    pub fn worst_error(&self) -> (ErrorKind, String) {
        let worst = self.errors.iter().max_by_key(|(_, (count, _))| count);
        worst.map_or(
            (ErrorKind::Other, "interrupted".into()),
            |(kind, (_, example))| (*kind, example.clone()),
        )
    }
}

impl Cut {
    fn new(number: usize) -> Self {
        Cut {
            number,
            echoes: 0,
            reconnects: 0,
            latency: histogram::empty(),
            errors: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Span;

    #[test]
    fn workers_add_up() {
        let (mut left, mut right) = (Tally::new(), Tally::new());
        left.latencies[Span::Service].saturating_record(1000);
        right.latencies[Span::Service].saturating_record(3000);
        left.open = 2;
        right.open = 3;
        right.account = Some(Account {
            expected_ns: 7,
            is_whole: false,
            ..Account::default()
        });
        left.error(ErrorKind::Reset, "first");
        right.error(ErrorKind::Reset, "second");
        right.error(ErrorKind::Refused, "other");
        left.merge(right);
        assert_eq!((left.latencies[Span::Service].len(), left.open), (2, 5));
        assert!(
            left.account
                .is_some_and(|account| account.expected_ns == 7 && !account.is_whole)
        );
        assert_eq!(left.errors[&ErrorKind::Reset], (2, "first".into()));
        assert_eq!(left.worst_error(), (ErrorKind::Reset, "first".into()));
    }

    #[test]
    fn a_cut_begins_the_next_interval_and_errors_add_up() {
        let mut tally = Tally::new();
        tally.cut.echoes = 3;
        tally.error(ErrorKind::Reset, "");
        let first = tally.take_cut();
        assert_eq!((first.number, first.echoes, first.errors), (0, 3, 1));
        assert_eq!((tally.cut.number, tally.cut.echoes, tally.cut.errors), (1, 0, 1));
    }
}
