//! Lost connections, and when to try which of them again: one at a time while the server does not
//! accept, after pauses that grow, and all others once it does.

use std::collections::VecDeque;
use std::time::Duration;

/// The pause before an attempt. It doubles with each until an answer comes.
const FIRST_PAUSE_NS: u64 = 1_000_000;

/// The longest pause, by which the time without a server seems longer than it is. A worker makes ten
/// attempts a second then, which costs neither side anything.
const LONGEST_PAUSE_NS: u64 = 100_000_000;

/// Time limit for an attempt: the kernel sends the first packet of a connect again after a second,
/// and then after ever longer.
pub const ATTEMPT: Duration = Duration::from_secs(1);

/// The lost connections of a worker, by their slots.
#[derive(Debug)]
pub struct Lost {
    /// Those that no attempt is under way for; the first is tried next.
    slots: VecDeque<usize>,
    /// Attempts that are under way.
    trying: usize,
    /// Whether the last attempt that ended has succeeded.
    accepts: bool,
    /// When the current pause ends, or the last one has.
    next_ns: u64,
    /// The length of the next pause.
    pause_ns: u64,
}

impl Lost {
    /// None are lost.
    pub fn new() -> Self {
        Lost {
            slots: VecDeque::new(),
            trying: 0,
            accepts: false,
            next_ns: 0,
            pause_ns: FIRST_PAUSE_NS,
        }
    }

    /// A connection was lost.
    pub fn add(&mut self, at: usize, now_ns: u64) {
        self.slots.push_back(at);
        self.accepts = false;
        if now_ns >= self.next_ns {
            self.next_ns = now_ns + self.pause_ns;
            self.pause_ns = (2 * self.pause_ns).min(LONGEST_PAUSE_NS);
        }
    }

    /// The next to try, if one may be. An attempt is under way then.
    #[inline]
    pub fn next(&mut self, now_ns: u64) -> Option<usize> {
        let may_try = self.accepts || (self.trying == 0 && now_ns >= self.next_ns);
        let next = self.slots.front().copied().filter(|_| may_try)?;
        self.slots.pop_front();
        self.trying += 1;
        Some(next)
    }

    /// An attempt has failed.
    pub fn failed(&mut self, at: usize, now_ns: u64) {
        self.trying -= 1;
        self.add(at, now_ns);
    }

    /// An attempt has succeeded.
    pub fn succeeded(&mut self) {
        self.trying -= 1;
        self.accepts = true;
    }

    /// An attempt has failed, and is the last for its connection.
    pub fn gave_up(&mut self) {
        self.trying -= 1;
    }

    /// A connection that was lost is answered.
    pub fn answered(&mut self) {
        self.pause_ns = FIRST_PAUSE_NS;
    }

    /// When an attempt may be made without anything happening before; at the end of time if none may.
    pub fn wake_ns(&self) -> u64 {
        match self.slots.is_empty() || self.trying > 0 || self.accepts {
            true => u64::MAX,
            false => self.next_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Slots 1 to 3, lost at 5 ms.
    fn three_lost() -> Lost {
        let mut lost = Lost::new();
        assert_eq!((lost.next(0), lost.wake_ns()), (None, u64::MAX));
        (1..=3).for_each(|at| lost.add(at, 5 * MS));
        lost
    }

    #[test]
    fn one_at_a_time_is_tried_while_the_server_refuses_after_pauses_that_grow_to_a_limit() {
        let mut lost = three_lost();
        let mut now_ns = 5 * MS;
        for (at, pause) in [1, 2, 3, 1, 2, 3, 1, 2, 3]
            .into_iter()
            .zip([1, 2, 4, 8, 16, 32, 64, 100, 100])
        {
            let due_ns = now_ns + pause * MS;
            assert_eq!(lost.wake_ns(), due_ns);
            assert_eq!(lost.next(due_ns - 1), None);
            assert_eq!(lost.next(due_ns), Some(at));
            assert_eq!(
                (lost.next(u64::MAX), lost.wake_ns()),
                (None, u64::MAX),
                "one is under way"
            );
            now_ns = due_ns + 50_000;
            lost.failed(at, now_ns);
        }
    }

    #[test]
    fn all_are_tried_once_one_has_succeeded_and_an_answer_ends_long_pauses() {
        let mut lost = three_lost();
        assert_eq!(lost.next(6 * MS), Some(1));
        lost.failed(1, 7 * MS);
        assert_eq!(lost.next(9 * MS), Some(2));
        lost.succeeded();
        assert_eq!((lost.next(9 * MS), lost.next(9 * MS)), (Some(3), Some(1)));
        lost.succeeded();
        lost.succeeded();
        lost.answered();
        lost.add(2, 20 * MS);
        assert_eq!(lost.wake_ns(), 21 * MS);
    }

    #[test]
    fn a_server_that_accepts_and_ends_connections_at_once_is_not_tried_ever_faster() {
        let mut lost = three_lost();
        let (mut now_ns, mut rounds) = (5 * MS, 0);
        while now_ns < 1005 * MS {
            now_ns = lost.wake_ns();
            let tried: Vec<usize> = std::iter::from_fn(|| {
                let at = lost.next(now_ns)?;
                lost.succeeded();
                Some(at)
            })
            .collect();
            assert_eq!(tried.len(), 3);
            tried.into_iter().for_each(|at| lost.add(at, now_ns));
            rounds += 1;
        }
        assert!((10..20).contains(&rounds), "{rounds}");
    }
}
