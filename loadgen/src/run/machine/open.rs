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
    /// Those that were never answered are skipped unless there are no others: all answers may be slow.
    fn due(&mut self, core: &mut Core, due_ns: u64, now_ns: u64) {
        let none_is_there = core.away > 0 && core.away >= core.live;
        let carries = |state| match state {
            State::Primed | State::Talking => true,
            State::Lost | State::Connecting => none_is_there,
            _ => false,
        };
        // The idle ones have the slots behind those.
        let connections = core.connections();
        let in_turn = (0..connections).map(|ahead| (self.turn + ahead) % connections);
        let first = { in_turn.clone() }.find(|&at| carries(core.slots[at].state));
        let first = first.or_else(|| { in_turn }.find(|&at| core.slots[at].state == State::Priming));
        match first {
            Some(at) => {
                self.turn = (at + 1) % connections;
                core.send_one(at, due_ns);
            }
            // No connection is left.
            None if core.window.holds(due_ns) => core.leave_uncarried(due_ns, now_ns),
            None => {}
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
