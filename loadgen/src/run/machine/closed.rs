//! The closed loop: each connection keeps a number of messages in flight, and sends the next
//! one when an answer is complete. A connection may be replaced after a number of messages.

use std::cmp::Reverse;

use super::conversation::Message;
use super::core::{Core, Phase};
use super::slot::State;
use super::workload::Workload;
use crate::clock::nanos;
use crate::plan::CheckedPlan;
use crate::run::tally::Account;

/// Each connection keeps `depth` messages in flight.
pub struct Closed {
    depth: u32,
    think_ns: u64,
    /// Whether connections stay open.
    lasting: bool,
}

impl Workload for Closed {
    fn new(plan: &CheckedPlan) -> Self {
        Closed {
            depth: plan.depth,
            think_ns: nanos(plan.think),
            lasting: plan.messages_per_connection.is_none(),
        }
    }

    fn live(&self, core: &Core) -> usize {
        match self.lasting {
            true => core.lasting(),
            false => core.connections(),
        }
    }

    fn due(&mut self, _: &mut Core, _: u64, _: u64) {}

    fn start(&mut self, core: &mut Core, at: usize, due_ns: u64) {
        core.begin_to_carry(at, due_ns);
        core.send_several(at, self.depth as usize, due_ns);
        core.close_if_done(at);
    }

    fn answered(&mut self, core: &mut Core, at: usize, message: Message, now_ns: u64) {
        let window = core.window;
        if window.holds(now_ns) {
            let sent_ns = message.first_sent_ns();
            core.tally.cut.latency.saturating_record(now_ns - sent_ns);
            self.account_for_waiting(core, at, &message, sent_ns);
            core.slots[at].before_ns += window.start_ns.saturating_sub(sent_ns);
        } else if now_ns >= window.end_ns {
            // The window has just closed, and the worker has not noticed yet.
            self.account_for_unrecorded(core, at, message);
        }
    }

    fn proceed(&mut self, core: &mut Core, at: usize, answers: usize, now_ns: u64) {
        core.follow(at, answers, self.think_ns, now_ns);
    }

    fn lost(&mut self, core: &mut Core, at: usize, message: &Message, now_ns: u64) {
        if core.window.holds(now_ns) {
            self.account_for_waiting(core, at, message, message.sent_ns);
            core.slots[at].unrecorded_ns += now_ns - message.sent_ns.max(core.window.start_ns);
        }
        match core.slots[at].state {
            State::Talking => core.follow(at, 1, self.think_ns, now_ns),
            // While priming: the loss told nothing about the server.
            _ if core.phase < Phase::Draining => core.send_several(at, 1, now_ns),
            _ => {}
        }
    }

    fn closed(&mut self, core: &mut Core, at: usize, now_ns: u64) {
        core.connect(at, now_ns);
    }

    fn failed(&mut self, core: &mut Core, at: usize, _: State, now_ns: u64) {
        match self.lasting {
            true => core.lose(),
            false => {
                core.reconnect(at, now_ns);
                core.count_failure();
            }
        }
    }

    /// Adds up what the connections that were answered did in the window, to be compared with
    /// its length (Little's law).
    fn settle_accounts(&mut self, core: &mut Core) {
        let window = core.window;
        if !self.lasting || window.start_ns >= window.end_ns {
            return;
        }
        let mut thinking = std::mem::take(&mut core.timers).into_vec();
        thinking.retain(|Reverse((_, at, generation))| {
            core.slots[*at].generation == *generation && core.slots[*at].answered
        });
        for Reverse((due_ns, at, _)) in thinking {
            let free_ns = due_ns.saturating_sub(self.think_ns).max(window.start_ns);
            core.slots[at].unrecorded_ns += window.end_ns.saturating_sub(free_ns);
        }
        let mut account = Account::default();
        for at in 0..core.slots.len() {
            if !core.slots[at].answered {
                continue;
            }
            let messages: Vec<_> = core.slots[at].conversation.unanswered().copied().collect();
            for message in messages {
                self.account_for_unrecorded(core, at, message);
            }
            let slot = &core.slots[at];
            account.unrecorded_ns += slot.unrecorded_ns;
            account.before_ns += slot.before_ns;
            account.expected_ns += u64::from(self.depth) * (window.end_ns - window.start_ns);
            // A connection that failed or came late has no such sum.
            account.is_whole &= slot.state == State::Talking && slot.full_ns <= window.start_ns;
        }
        *core.tally.account.get_or_insert_default() += account;
    }
}

impl Closed {
    /// Adds the time that a message waited to be sent, since the answer to the one before.
    fn account_for_waiting(&self, core: &mut Core, at: usize, message: &Message, sent_ns: u64) {
        let free_ns = message
            .intended_ns
            .saturating_sub(self.think_ns)
            .max(core.window.start_ns);
        core.slots[at].unrecorded_ns += sent_ns.min(core.window.end_ns).saturating_sub(free_ns);
    }

    /// Adds the time of a message that was not answered, or not even sent, when the window
    /// closed.
    fn account_for_unrecorded(&self, core: &mut Core, at: usize, message: Message) {
        let window = core.window;
        let sent_ns = match message.first_sent_ns() {
            0 => window.end_ns,
            sent_ns => sent_ns,
        };
        self.account_for_waiting(core, at, &message, sent_ns);
        let begin_ns = sent_ns.max(window.start_ns);
        core.slots[at].unrecorded_ns += window.end_ns.saturating_sub(begin_ns);
    }
}
