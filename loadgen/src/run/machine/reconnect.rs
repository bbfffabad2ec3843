//! What becomes of a connection that is lost and opened again (`reconnect`).
//!
//! The slot stays one client. Its messages move on to the next connection: those that were on their
//! way are sent again, and those that become due meanwhile wait there. All of them count as sent when
//! they first were, or when they were due, so the time without a server is in their latencies, and
//! none of it is lag of the generator.

use super::core::{Action, Core, Phase, UNDER_WAY};
use super::slot::{Down, State};
use super::{Machine, Workload};
use crate::engine::Failure;
use record::ErrorKind;

impl Core<'_> {
    /// Whether a connection that fails like this is opened again.
    pub fn may_reopen(&self, kind: ErrorKind) -> bool {
        self.plan.reconnect && kind.may_pass()
    }

    /// Closes a connection that has failed, until it is opened again. Its loss is an error; an attempt
    /// to open it again that fails is not another one.
    pub fn close_for_now(&mut self, at: usize, failure: &Failure, now_ns: u64) {
        let slot = &mut self.slots[at];
        let was = std::mem::replace(&mut slot.state, State::Lost);
        if was == State::Connecting {
            self.unsettled -= 1;
            self.give_up_connect(at);
        }
        let slot = &mut self.slots[at];
        self.actions.push_back(Action::Remove(at));
        let first_ns = slot.down.map(|down| down.since_ns);
        if was == State::Connecting && first_ns.is_some() {
            self.tally.reconnects.failed_attempts += 1;
            return self.lost.failed(at, now_ns);
        }
        let resumes = match was {
            State::Talking => State::Talking,
            State::Priming if self.phase >= Phase::Loading => State::Priming,
            _ => State::Ready,
        };
        slot.down = Some(Down {
            since_ns: first_ns.unwrap_or(now_ns),
            resumes,
        });
        self.down += usize::from(first_ns.is_none());
        self.away += usize::from(!slot.idle);
        self.primed -= usize::from(was == State::Primed);
        self.tally.failure(failure);
        self.tally.reconnects.lost += 1;
        self.tally.reconnects.messages_lost += slot.conversation.sent_and_unanswered().count() as u64;
        self.lost.add(at, now_ns);
        if resumes == State::Ready {
            // A first message shows only that a connection is served: the next one has its own.
            self.break_off(at);
        }
        let number = self.next_number();
        let slot = &mut self.slots[at];
        slot.conversation = slot.conversation.on_another(number);
        slot.number = number;
    }

    /// A lost connection is as before: it is answered, or nothing waits for an answer.
    pub fn come_back(&mut self, at: usize, now_ns: u64) {
        let Some(down) = self.slots[at].down.take() else {
            return;
        };
        self.down -= 1;
        let longest_ns = &mut self.tally.reconnects.longest_ns;
        *longest_ns = (*longest_ns).max(now_ns - down.since_ns);
    }

    /// A lost connection will not be opened again.
    pub fn forget_loss(&mut self, at: usize, was: State) {
        let slot = &mut self.slots[at];
        if slot.down.take().is_none() {
            return;
        }
        self.down -= 1;
        if was == State::Connecting {
            self.lost.gave_up();
            self.away -= usize::from(!slot.idle);
        }
    }

    /// Whether a lost connection may still come back in time.
    pub fn awaits_lost(&self, now_ns: u64) -> bool {
        let enough_ns = self.standstill_ns();
        let is_undecided = |since_ns| now_ns.saturating_sub(since_ns) <= enough_ns;
        self.down > 0 && self.lost_since().any(is_undecided)
    }

    /// Counts for how long connections have been lost, of those that have not come back.
    pub fn count_lost(&mut self, now_ns: u64) {
        let times_ns = self.lost_since().map(|since_ns| now_ns.saturating_sub(since_ns));
        self.tally.lost_ns = times_ns.collect();
    }

    fn lost_since(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().filter_map(|slot| Some(slot.down?.since_ns))
    }

    /// Messages without an answer on connections that were lost and are not back.
    pub fn withheld(&self) -> u64 {
        let down = self.slots.iter().filter(|slot| slot.down.is_some());
        down.map(|slot| slot.conversation.unanswered().count() as u64)
            .sum()
    }
}

impl<L: Workload> Machine<'_, L> {
    /// Opens the next of the connections again that were lost, if one may be.
    #[inline]
    pub fn reopen_next(&mut self, now_ns: u64) -> bool {
        let core = &mut self.core;
        if core.unsettled >= UNDER_WAY {
            return false;
        }
        let Some(at) = core.lost.next(now_ns) else {
            return false;
        };
        core.slots[at].state = State::Connecting;
        core.unsettled += 1;
        core.actions.push_back(Action::Connect(at));
        true
    }

    /// A connection that was lost, and carried this state, is open again.
    pub(super) fn reopened(&mut self, at: usize, resumes: State, now_ns: u64) {
        let core = &mut self.core;
        core.lost.succeeded();
        core.tally.reconnects.reopened += 1;
        if core.window.holds(now_ns) {
            core.cut(now_ns);
            core.tally.cut.reconnects += 1;
        }
        let slot = &mut core.slots[at];
        let is_first = !std::mem::replace(&mut slot.opened, true);
        if slot.idle {
            slot.state = State::Idle;
            core.tally.idle += u64::from(is_first);
            return core.come_back(at, now_ns);
        }
        core.tally.open += u64::from(is_first);
        core.away -= 1;
        match resumes {
            State::Talking | State::Priming => {
                slot.state = resumes;
                slot.full_ns = now_ns;
                core.send(at);
            }
            _ if core.phase == Phase::Priming => self.prime(at, now_ns),
            // The window is over.
            _ => slot.state = State::Ready,
        }
        let core = &mut self.core;
        if core.live == 0 {
            // None could be opened at the start.
            core.live = core.may_carry();
        }
        if core.slots[at].is_answered() {
            core.come_back(at, now_ns);
        }
    }

    /// Begins the load of the connections that are lost and have none yet: their messages are due.
    pub(super) fn start_lost(&mut self, now_ns: u64) {
        for at in 0..self.core.slots.len() {
            let slot = &self.core.slots[at];
            let is_ready = slot.down.is_some_and(|down| down.resumes == State::Ready);
            if is_ready && slot.is_away() && !slot.idle {
                self.workload.start(&mut self.core, at, now_ns);
            }
        }
    }
}
