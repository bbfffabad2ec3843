//! The decisions of a worker, as a pure machine: events go in with their time, actions come
//! out. It reads no clock and touches no socket, so tests drive it through hours in
//! milliseconds.

mod closed;
mod conversation;
mod core;
pub mod due;
mod events;
#[cfg(test)]
mod ledger;
mod lost;
mod open;
mod reconnect;
mod sessions;
mod slot;
mod unfinished;
mod workload;
mod wrong;

use std::cmp::Reverse;
use std::time::Duration;

use self::core::{Core, UNDER_WAY};
use self::slot::{Slot, State};
use super::tally::{Cut, Tally};
use crate::clock::nanos;
use crate::engine::{Failure, Until};
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;
use due::{Draw, Due};
use record::Transport;

pub use self::core::{Action, Phase, Window};
pub use closed::Closed;
#[cfg(test)]
pub use ledger::Ledger;
pub use open::Open;
pub use sessions::Sessions;
pub use workload::Workload;

/// The longest sleep: an early end of the run, and a connect that takes too long, are noticed
/// within this.
const GLANCE_MS: u16 = 20;
const GLANCE_NS: u64 = GLANCE_MS as u64 * 1_000_000;

/// The longest sleep until the window is known: the start of the load, and the window before it
/// opens, are noticed within this.
const EARLY_GLANCE_MS: u16 = 1;

/// A run ends when more messages than this are on their way: a server that is so far behind
/// does not catch up, and they take some 64 MB.
const MOST_OUTSTANDING: usize = 1 << 21;

/// How long after the window the answers to messages of the window are waited for: long
/// against any latency that is worth a histogram.
const GRACE_NS: u64 = 5_000_000_000;

/// Intended times that are kept to test the schedule: enough to see a wrong one.
const SAMPLE: usize = 8192;

/// The machine of one worker, for one loop.
pub struct Machine<'a, L> {
    core: Core<'a>,
    workload: L,
    /// What draws the schedule.
    draw: Draw,
    due: Option<Due>,
    /// What is due next; at the end of time if nothing is.
    next_due_ns: u64,
    /// The first intended times of the window, from its begin.
    intended_ns: Vec<u64>,
    /// Whether the window has opened.
    opened: bool,
    /// When to look for overdue connections and datagrams again.
    next_look_ns: u64,
    /// When to stop waiting for answers after the window.
    deadline_ns: u64,
    /// How many messages were on their way when it gave up.
    overran: usize,
    /// Whether the connections rest after the window, and carry the load again in another one.
    rests: bool,
}

impl<'a, L: Workload> Machine<'a, L> {
    /// The machine of the worker that has this share of the plan. `seed` is for the sizes of
    /// messages, `interval_ns` the length of the pieces that the window is cut into.
    pub fn new(
        plan: &'a CheckedPlan,
        pattern: &'a Pattern,
        draw: Draw,
        share: Share,
        seed: u64,
        interval_ns: u64,
    ) -> Self {
        Machine {
            core: Core::new(plan, pattern, share, seed, interval_ns),
            workload: L::new(plan),
            draw,
            due: None,
            next_due_ns: u64::MAX,
            intended_ns: Vec::new(),
            opened: false,
            next_look_ns: 0,
            deadline_ns: u64::MAX,
            overran: 0,
            rests: false,
        }
    }

    /// Makes it one whose connections [rest](Machine::rest) between windows, in a closed loop.
    pub fn resting(self) -> Self {
        Machine { rests: true, ..self }
    }

    /// The action to do next. All must be done before the next event goes in.
    #[inline]
    pub fn next_action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    pub fn phase(&self) -> Phase {
        self.core.phase
    }

    /// Connections that still carry load, or may.
    pub fn live(&self) -> usize {
        self.core.live
    }

    /// Connections that were opened at the start, so far.
    pub fn opened(&self) -> usize {
        self.core.opened
    }

    /// Connections whose first message was answered before the load began.
    pub fn primed(&self) -> usize {
        self.core.primed
    }

    /// How many messages were on their way when it gave up; 0 if it did not.
    pub fn overran(&self) -> usize {
        self.overran
    }

    /// Intervals that have ended since the last call.
    pub fn take_cuts(&mut self) -> impl Iterator<Item = Cut> {
        self.core.cuts.drain(..)
    }

    /// What was counted so far.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.core.tally
    }

    /// Where every message went. What is outstanding is counted in the conversations, to be
    /// compared with the number that the machine keeps.
    #[cfg(test)]
    pub fn ledger(&self) -> Ledger {
        let slots = || self.core.slots.iter();
        let outstanding: usize = slots().map(|slot| slot.conversation.unanswered().count()).sum();
        assert_eq!(self.core.outstanding, outstanding);
        assert_eq!(self.core.down, slots().filter(|slot| slot.down.is_some()).count());
        let away = || slots().filter(|slot| slot.is_away());
        assert_eq!(self.core.away, away().filter(|slot| !slot.idle).count());
        Ledger {
            outstanding: outstanding as u64,
            away: away().count() as u64,
            ..self.core.ledger
        }
    }

    /// What was counted.
    pub fn into_tally(self) -> Tally {
        self.core.tally
    }

    // Opening connections.

    /// Opens the next of the connections that the run begins with, if one may be.
    pub fn open_next(&mut self, now_ns: u64) -> bool {
        let core = &mut self.core;
        let at = core.slots.len();
        if at == core.to_open() || core.unsettled >= UNDER_WAY {
            return false;
        }
        core.slots.push(Slot::new(at >= core.connections()));
        core.connect(at, now_ns);
        true
    }

    /// Whether all of them were opened, or have failed.
    pub fn is_connected(&self) -> bool {
        let core = &self.core;
        core.slots.len() >= core.to_open() && core.unsettled == 0
    }

    /// Whether the time to open them is over.
    pub fn is_out_of_time(&self, now_ns: u64) -> bool {
        now_ns > nanos(self.core.plan.connects_within())
    }

    /// No more connections are opened; those that there are wait for the others. Returns how many
    /// were not tried.
    pub fn end_connecting(&mut self, now_ns: u64) -> u64 {
        if self.is_out_of_time(now_ns) {
            self.each_in(State::Connecting, |machine, at| {
                let waited_ns = now_ns.saturating_sub(machine.core.slots[at].since_ns);
                let waited = Duration::from_millis(waited_ns / 1_000_000);
                machine.failed(at, Failure::TimedOut("no connection", waited), now_ns);
            });
        }
        let untried = (self.core.to_open() - self.core.slots.len()) as u64;
        self.core.tally.untried = untried;
        self.core.live = match self.core.is_hopeless() {
            true => 0,
            false => self.workload.live(&self.core),
        };
        untried
    }

    /// Sends the first message on every connection.
    pub fn begin_priming(&mut self, now_ns: u64) {
        self.core.phase = Phase::Priming;
        self.each_in(State::Ready, |machine, at| machine.prime(at, now_ns));
    }

    fn prime(&mut self, at: usize, now_ns: u64) {
        self.core.slots[at].state = State::Priming;
        self.core.send_one(at, now_ns);
    }

    // The load.

    /// Begins the load. The schedule runs from `begin_ns`, the same moment for all workers, so
    /// that evenly spaced shares stay evenly spaced together.
    pub fn begin_load(&mut self, begin_ns: u64, now_ns: u64) {
        self.core.phase = Phase::Loading;
        let plan = self.core.plan;
        if let Some(pace) = &plan.pace {
            let (draw, share, seed) = (self.draw, self.core.share, plan.seed);
            let warms_up = !plan.warmup.is_zero();
            self.due = Some(Due::new(draw, pace, share, seed, begin_ns, warms_up));
        }
        self.each_in(State::Primed, |machine, at| {
            machine.workload.start(&mut machine.core, at, now_ns);
        });
        self.start_lost(now_ns);
    }

    /// Whether the window has opened.
    #[inline]
    pub fn has_opened(&self) -> bool {
        self.opened
    }

    /// Learns the window, as far as it is known. Returns whether it has just opened.
    pub fn look(&mut self, window: Window, now_ns: u64) -> bool {
        self.core.window = window;
        self.look_ahead();
        let opens = now_ns >= window.start_ns && !self.opened;
        if opens {
            self.opened = true;
            self.core.tally.outstanding_at_start = self.workload.outstanding(&self.core);
            self.core.tally.waiting_at_start = self.waiting();
            self.core.tally.withheld_at_start = self.core.withheld();
            self.core.open_window();
        }
        self.core.cut(now_ns);
        opens
    }

    /// Looks up what is due next, now that the window may be known.
    fn look_ahead(&mut self) {
        if let Some(due) = &mut self.due {
            due.open_window(self.core.window.start_ns);
            self.next_due_ns = due.next_ns.unwrap_or(u64::MAX);
        }
    }

    /// Whether the schedule has something left.
    pub fn has_due(&self) -> bool {
        self.next_due_ns < u64::MAX
    }

    /// Does the next thing that is due by the schedule, if there is one.
    pub fn do_next_due(&mut self, now_ns: u64) -> bool {
        let due_ns = self.next_due_ns;
        let window = self.core.window;
        if due_ns > now_ns.min(window.end_ns - 1) {
            return false;
        }
        let Some(due) = &mut self.due else {
            return false;
        };
        due.advance();
        self.look_ahead();
        if self.opened && due_ns < window.start_ns {
            // It was due, and not even begun, when the window opened.
            self.core.tally.outstanding_at_start += 1;
            self.core.tally.waiting_at_start += 1;
        }
        if self.core.phase == Phase::Draining {
            // The same when the window closed.
            self.core.tally.outstanding_at_end += 1;
            self.core.tally.waiting_at_end += 1;
        }
        if window.holds(due_ns) {
            self.core.tally.due += 1;
            if self.intended_ns.len() < SAMPLE {
                self.intended_ns.push(due_ns - window.start_ns);
            }
        }
        self.workload.due(&mut self.core, due_ns, now_ns);
        if self.core.outstanding > MOST_OUTSTANDING {
            self.overran = self.core.outstanding;
        }
        true
    }

    /// Does what the next timer was set for, if its time has come.
    pub fn do_next_timer(&mut self, now_ns: u64) -> bool {
        let core = &mut self.core;
        let Some(&Reverse((time_ns, at, generation))) = core.timers.peek() else {
            return false;
        };
        if time_ns > now_ns {
            return false;
        }
        core.timers.pop();
        if core.slots[at].generation == generation && core.phase < Phase::Draining {
            match core.slots[at].state {
                State::Gone => core.connect(at, time_ns),
                // On one that was lost, the message waits until it is open again.
                State::Talking | State::Lost | State::Connecting => core.send_one(at, time_ns),
                _ => {}
            }
        }
        true
    }

    /// How long it has nothing to do, unless something happens.
    pub fn wake(&self, now_ns: u64) -> Until {
        let core = &self.core;
        let try_again_ns = core.try_again_ns();
        let glance_ms = match core.phase {
            Phase::Connecting if core.is_queue_full() => return Until::Time(try_again_ns),
            Phase::Connecting => return Until::About(GLANCE_MS),
            Phase::Priming => return Until::About(EARLY_GLANCE_MS),
            Phase::Loading if core.window.start_ns == u64::MAX => EARLY_GLANCE_MS,
            Phase::Loading | Phase::Draining => GLANCE_MS,
        };
        let timer = core.timers.peek();
        let timer_ns = timer.map_or(u64::MAX, |Reverse((time_ns, ..))| *time_ns);
        let timer_ns = timer_ns.min(try_again_ns);
        let exact_ns = match self.next_due_ns {
            due_ns if due_ns < core.window.end_ns => due_ns.min(timer_ns),
            // It will not be sent any more.
            _ => timer_ns,
        };
        let exact_ns = exact_ns.min(core.lost.wake_ns());
        let glance_ns = now_ns + u64::from(glance_ms) * 1_000_000;
        if exact_ns <= glance_ns {
            return Until::Time(exact_ns);
        }
        // The end of the window needs no precision: what comes later is not counted. Rounded
        // up, so that the last wait does not poll.
        let next_ns = match core.phase {
            // It is over, and answers end the wait by themselves.
            Phase::Draining => glance_ns,
            _ => core.window.end_ns.min(glance_ns),
        };
        let left_ns = next_ns.saturating_sub(now_ns);
        Until::About(left_ns.div_ceil(1_000_000).min(glance_ms.into()) as u16)
    }

    /// Whether the window is over.
    pub fn is_window_over(&self, now_ns: u64) -> bool {
        now_ns >= self.core.window.end_ns
    }

    /// Ends the load: closes the books on the window, and waits for what was due within it.
    pub fn end_window(&mut self, now_ns: u64) {
        if self.opened {
            self.core.tally.outstanding_at_end = self.workload.outstanding(&self.core);
            self.core.tally.waiting_at_end = self.waiting();
            self.core.tally.withheld_at_end = self.core.withheld();
            if !self.rests {
                self.core.find_waits();
            }
            self.core.count_never_served();
        }
        let intended_ns = std::mem::take(&mut self.intended_ns);
        self.core.tally.intended_ns.push(intended_ns);
        self.workload.settle_accounts(&mut self.core);
        self.core.phase = Phase::Draining;
        self.deadline_ns = match self.rests {
            true => now_ns + self.rest_within_ns(),
            false => now_ns + GRACE_NS,
        };
    }

    /// Whether there is nothing left to wait for, or it was waited for long enough.
    pub fn is_drained(&self, now_ns: u64) -> bool {
        let late = self.next_due_ns < self.core.window.end_ns;
        let is_answered = match self.due {
            Some(_) => !late && self.core.outstanding_of_window == 0,
            None if self.rests => self.core.unanswered().next().is_none(),
            None => !self.core.awaits_answers(now_ns),
        };
        let is_done = is_answered && !self.core.awaits_lost(now_ns) && !self.core.awaits_connections(now_ns);
        is_done || now_ns >= self.deadline_ns
    }

    /// Counts what was not answered, and what was not even begun unless the run was ended.
    pub fn finish(&mut self, is_over_early: bool, now_ns: u64) {
        self.core.count_lost(now_ns);
        self.core.count_remainder(now_ns);
        let Some(due) = &mut self.due else {
            return match self.rests {
                true => self.core.count_unanswered(now_ns),
                false => self.core.count_waits(now_ns),
            };
        };
        self.core.count_waits(self.core.window.end_ns);
        while self.next_due_ns < self.core.window.end_ns && !is_over_early {
            self.core.leave_unbegun(self.next_due_ns, now_ns);
            due.advance();
            self.next_due_ns = due.next_ns.unwrap_or(u64::MAX);
        }
    }

    /// How long after the window answers are waited for before connections rest: over UDP, until
    /// every loss is known.
    fn rest_within_ns(&self) -> u64 {
        let (standstill_ns, plan) = (self.core.standstill_ns(), self.core.plan);
        match plan.transport {
            Transport::Tcp => standstill_ns,
            Transport::Udp => standstill_ns.max(nanos(plan.answer_timeout) + 2 * GLANCE_NS),
        }
    }

    /// After a window that has drained: the connections rest until the load begins again. Returns
    /// whether all of them can, since no answer is missing.
    pub fn rest(&mut self) -> bool {
        self.core.phase = Phase::Priming;
        self.core.window = Window::UNKNOWN;
        self.opened = false;
        self.deadline_ns = u64::MAX;
        self.core.rest()
    }

    fn each_in(&mut self, state: State, mut act: impl FnMut(&mut Self, usize)) {
        for at in 0..self.core.slots.len() {
            if self.core.slots[at].state == state {
                act(self, at);
            }
        }
    }

    /// Messages that are due and have no byte with the kernel, though there is a connection.
    fn waiting(&self) -> u64 {
        let slots = self.core.slots.iter().filter(|slot| !slot.is_away());
        slots.map(|slot| slot.conversation.waiting() as u64).sum()
    }
}
