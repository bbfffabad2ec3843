//! The open loop: messages are due by a schedule, whether or not earlier ones were answered.

use super::conversation::Message;
use super::core::Core;
use super::slot::State;
use super::workload::Workload;
use crate::plan::CheckedPlan;
use record::Span;

/// Connections take turns to send what is due.
pub struct Open {
    /// The slot whose turn is next.
    turn: usize,
}

impl Workload for Open {
    fn new(_: &CheckedPlan) -> Self {
        Open { turn: 0 }
    }

    fn live(&self, core: &Core) -> usize {
        core.in_state(State::Ready)
    }

    /// Sends a message on the connection whose turn it is. Failed connections are skipped.
    fn due(&mut self, core: &mut Core, due_ns: u64) {
        // The idle ones have the slots behind those.
        let connections = core.connections();
        for _ in 0..connections {
            let at = self.turn;
            self.turn = (self.turn + 1) % connections;
            if matches!(core.slots[at].state, State::Primed | State::Talking) {
                return core.send_one(at, due_ns);
            }
        }
        // No connection is left.
        if core.window.holds(due_ns) {
            core.tally.unanswered += 1;
        }
    }

    fn start(&mut self, core: &mut Core, at: usize, due_ns: u64) {
        core.slots[at].state = State::Talking;
        core.slots[at].full_ns = due_ns;
    }

    fn answered(&mut self, core: &mut Core, _: usize, message: Message, now_ns: u64) {
        if message.of_window {
            let tally = &mut core.tally;
            tally.cut.latency.saturating_record(now_ns - message.intended_ns);
            tally.latencies[Span::Service].saturating_record(now_ns - message.sent_ns);
            tally.latencies[Span::SendLag].saturating_record(message.sent_ns - message.intended_ns);
        }
    }

    fn proceed(&mut self, _: &mut Core, _: usize, _: usize, _: u64) {}

    fn failed(&mut self, core: &mut Core, _: usize, _: State, _: u64) {
        core.lose();
    }
}
