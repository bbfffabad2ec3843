//! What happens on connections, with its time.

use super::conversation::Received;
use super::core::{Action, Phase};
use super::lost::ATTEMPT;
use super::slot::State;
use super::workload::Workload;
use super::{GLANCE_NS, Machine};
use crate::clock::nanos;
use crate::engine::Failure;
use record::{ErrorKind, Span, Transport};

impl<'a, L: Workload> Machine<'a, L> {
    /// The local address that a connection is to come from, if the plan has some.
    pub fn source(&self, at: usize) -> Option<std::net::IpAddr> {
        let sources = &self.core.plan.sources;
        let number = self.core.slots[at].number;
        (!sources.is_empty()).then(|| sources[number % sources.len()])
    }

    /// Its connect is due. Returns whether to call it now: if others wait for room in the
    /// server's queue, it waits behind them.
    pub fn connecting(&mut self, at: usize, now_ns: u64) -> bool {
        self.core.slots[at].since_ns = now_ns;
        self.workload.connecting(&mut self.core, at);
        let waits = self.core.is_queue_full();
        if waits {
            self.core.postpone(at);
        }
        !waits
    }

    /// Its connect was called, and the server's queue of connections is full.
    pub fn queue_full(&mut self, at: usize, now_ns: u64) {
        self.core.try_again(at, now_ns);
    }

    /// Calls the next connect that waited for room in the server's queue, if its time has come.
    pub fn do_next_postponed(&mut self, now_ns: u64) -> bool {
        let next = self.core.next_postponed(now_ns);
        self.core.actions.extend(next.map(Action::ConnectAgain));
        next.is_some()
    }

    /// Whether its connect has not ended yet.
    #[inline]
    pub fn is_connecting(&self, at: usize) -> bool {
        self.core.slots[at].state == State::Connecting
    }

    /// Its connect has succeeded.
    pub fn established(&mut self, at: usize, now_ns: u64) {
        let core = &mut self.core;
        core.unsettled -= 1;
        core.tally.established += 1;
        core.opened += usize::from(core.phase == Phase::Connecting);
        let slot = &mut core.slots[at];
        if let Some(down) = slot.down {
            return self.reopened(at, down.resumes, now_ns);
        }
        slot.opened = true;
        if slot.idle {
            slot.state = State::Idle;
            core.tally.idle += 1;
            return;
        }
        slot.state = State::Ready;
        if core.messages_per_connection.is_none() || slot.of_window {
            core.tally.open += 1;
        }
        if core.window.holds(now_ns) {
            core.tally.latencies[Span::Connect].saturating_record(now_ns - slot.since_ns);
        }
        match core.phase {
            Phase::Connecting => {}
            Phase::Priming => self.prime(at, now_ns),
            Phase::Loading | Phase::Draining => self.workload.established(&mut self.core, at, now_ns),
        }
    }

    /// What to send next in a slot.
    #[inline]
    pub fn unsent(&self, at: usize) -> &'a [u8] {
        let slot = &self.core.slots[at];
        match slot.is_away() {
            true => &[],
            false => slot.conversation.unsent(self.core.pattern),
        }
    }

    /// The kernel accepted `length` bytes.
    #[inline]
    pub fn sent(&mut self, at: usize, length: usize, now_ns: u64) {
        self.core.slots[at].conversation.sent(length, now_ns);
    }

    /// The kernel has no room for the rest, which was to be `counted`.
    pub fn refused(&mut self, at: usize, counted: bool) {
        if counted && self.core.slots[at].conversation.waiting() > 0 {
            self.core.tally.blocked += 1;
        }
    }

    /// The kernel returned the last `length` bytes.
    pub fn returned(&mut self, at: usize, length: usize) {
        self.core.slots[at].conversation.returned(length);
    }

    /// Bytes arrived.
    #[inline]
    pub fn received(&mut self, at: usize, bytes: &[u8], now_ns: u64) {
        let core = &mut self.core;
        let slot = &mut core.slots[at];
        let meaning = slot.conversation.receive(bytes, core.pattern);
        if !slot.reached {
            slot.reached = true;
            if core.window.holds(now_ns) {
                core.tally.latencies[Span::FirstByte].saturating_record(now_ns - slot.since_ns);
            }
        }
        match meaning {
            Received::Right => {}
            Received::Stale => core.tally.error(
                ErrorKind::Stale,
                "an answer to an earlier message, late or repeated",
            ),
            Received::Wrong => {
                let example = slot.conversation.explain(bytes, core.pattern);
                let failure = Failure::Detected(ErrorKind::WrongBytes, example.into());
                return self.failed(at, failure, now_ns);
            }
        }
        let mut answers = 0;
        while let Some(message) = self.core.slots[at].conversation.take_complete() {
            let core = &mut self.core;
            core.forget(&message);
            #[cfg(test)]
            core.ledger.answer();
            core.cut(now_ns);
            let slot = &mut core.slots[at];
            slot.served = true;
            slot.lost_since_ns = None;
            core.tally.longest_ns = core.tally.longest_ns.max(now_ns - message.sent_ns);
            if core.window.holds(now_ns) {
                core.tally.cut.echoes += 1;
                let counts = core.messages_per_connection.is_none() || slot.of_window;
                if !std::mem::replace(&mut slot.answered, true) && counts {
                    core.tally.answered += 1;
                }
            }
            self.workload.answered(core, at, message, now_ns);
            answers += 1;
        }
        if answers > 0 {
            let core = &mut self.core;
            core.tally.served += answers as u64;
            if core.slots[at].down.is_some() {
                core.lost.answered();
                core.come_back(at, now_ns);
            }
            self.proceed(at, answers, now_ns);
        }
    }

    /// What follows on that many answers.
    fn proceed(&mut self, at: usize, answers: usize, now_ns: u64) {
        let core = &mut self.core;
        match core.slots[at].state {
            State::Priming if core.phase < Phase::Loading => {
                core.slots[at].state = State::Primed;
                core.primed += 1;
            }
            State::Priming => self.workload.start(core, at, now_ns),
            State::Talking => self.workload.proceed(core, at, answers, now_ns),
            _ => {}
        }
    }

    /// This side of the stream is being shut down.
    pub fn shutting_down(&mut self, at: usize, now_ns: u64) {
        self.core.slots[at].since_ns = now_ns;
    }

    /// The server has ended the connection.
    pub fn ended(&mut self, at: usize, now_ns: u64) {
        let example = match self.core.slots[at].state {
            State::Closing => {
                self.core.closed(at, now_ns);
                if self.core.phase != Phase::Draining {
                    self.workload.closed(&mut self.core, at, now_ns);
                }
                return;
            }
            State::Idle => "the server ended an idle connection",
            _ => "the server ended the connection",
        };
        self.failed(at, Failure::Detected(ErrorKind::EarlyEnd, example.into()), now_ns);
    }

    /// A connection has failed.
    pub fn failed(&mut self, at: usize, failure: Failure, now_ns: u64) {
        if self.core.may_reopen(failure.kind()) {
            return self.core.close_for_now(at, &failure, now_ns);
        }
        let was = self.core.fail(at, &failure, now_ns);
        if !self.core.slots[at].idle {
            self.workload.failed(&mut self.core, at, was, now_ns);
        }
    }

    /// Gives up connects, ends and datagrams that were waited for long enough. What came in
    /// before `now_ns` must have been handled.
    pub fn give_up_overdue(&mut self, now_ns: u64) {
        let plan = self.core.plan;
        let datagrams = plan.transport == Transport::Udp;
        if now_ns < self.next_look_ns || (self.core.unsettled == 0 && !datagrams) {
            return;
        }
        self.next_look_ns = now_ns + GLANCE_NS.min(nanos(plan.answer_timeout));
        let timeout = plan.connect_timeout;
        for at in 0..self.core.slots.len() {
            let slot = &self.core.slots[at];
            let timeout = match slot.down {
                Some(_) => timeout.min(ATTEMPT),
                None => timeout,
            };
            let is_late = now_ns.saturating_sub(slot.since_ns) > nanos(timeout);
            match slot.state {
                State::Connecting if is_late => {
                    self.failed(at, Failure::TimedOut("no connection", timeout), now_ns);
                }
                State::Closing if is_late => {
                    let what = "the server did not end the connection";
                    self.failed(at, Failure::TimedOut(what, timeout), now_ns);
                }
                State::Priming | State::Talking if datagrams => {
                    while let Some(message) = self.core.give_up(at, now_ns) {
                        self.workload.lost(&mut self.core, at, &message, now_ns);
                    }
                }
                _ => {}
            }
        }
    }
}
