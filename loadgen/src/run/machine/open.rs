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
        core.lasting()
    }

    /// Sends a message on the connection whose turn it is. Failed connections are skipped, and lost ones
    /// as long as another is there; otherwise each keeps its share of the messages until it is back.
    fn due(&mut self, core: &mut Core, due_ns: u64) {
        let none_is_there = core.away > 0 && core.away >= core.live;
        // The idle ones have the slots behind those.
        let connections = core.connections();
        for _ in 0..connections {
            let at = self.turn;
            self.turn = (self.turn + 1) % connections;
            let carries = match core.slots[at].state {
                State::Primed | State::Talking => true,
                State::Lost | State::Connecting => none_is_there,
                _ => false,
            };
            if carries {
                return core.send_one(at, due_ns);
            }
        }
        // No connection is left.
        if core.window.holds(due_ns) {
            core.tally.unanswered += 1;
        }
    }

    fn start(&mut self, core: &mut Core, at: usize, due_ns: u64) {
        core.begin_to_carry(at, due_ns);
    }

    fn answered(&mut self, core: &mut Core, _: usize, message: Message, now_ns: u64) {
        if message.of_window {
            let tally = &mut core.tally;
            tally.cut.latency.saturating_record(now_ns - message.intended_ns);
            let sent_ns = message.first_sent_ns();
            tally.latencies[Span::Service].saturating_record(now_ns - sent_ns);
            tally.latencies[Span::SendLag].saturating_record(sent_ns - message.intended_ns);
        }
    }

    fn proceed(&mut self, _: &mut Core, _: usize, _: usize, _: u64) {}

    fn failed(&mut self, core: &mut Core, _: usize, _: State, _: u64) {
        core.lose();
    }
}
