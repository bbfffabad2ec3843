//! The partly open loop: connections arrive by a schedule. Each sends its messages one after
//! the other and is closed.

use super::conversation::Message;
use super::core::Core;
use super::slot::{Slot, State};
use super::workload::Workload;
use crate::clock::nanos;
use crate::plan::CheckedPlan;
use record::{ErrorKind, Span};

/// Connections come and go.
pub struct Sessions {
    think_ns: u64,
    /// Slots whose connection has left.
    free: Vec<usize>,
}

impl Workload for Sessions {
    fn new(plan: &CheckedPlan) -> Self {
        Sessions {
            think_ns: nanos(plan.think),
            free: Vec::new(),
        }
    }

    /// As long as the next ones may succeed, one.
    fn live(&self, _: &Core) -> usize {
        1
    }

    /// A connection arrives.
    fn due(&mut self, core: &mut Core, due_ns: u64, _: u64) {
        let most = core.plan.most_connections;
        let at = match self.free.pop() {
            Some(at) => at,
            None if core.slots.len() < most / core.share.of => {
                core.slots.push(Slot::new(false));
                core.slots.len() - 1
            }
            None => {
                core.tally.error(
                    ErrorKind::TooManyOpenFiles,
                    format_args!("{most} connections are open already"),
                );
                return;
            }
        };
        if core.window.holds(due_ns) {
            // Its first message is due with it.
            core.outstanding_of_window += 1;
        }
        core.connect(at, due_ns);
    }

    fn established(&mut self, core: &mut Core, at: usize, _: u64) {
        let arrived_ns = core.slots[at].arrived_ns;
        self.start(core, at, arrived_ns);
    }

    fn start(&mut self, core: &mut Core, at: usize, due_ns: u64) {
        core.begin_to_carry(at, due_ns);
        match core.slots[at].conversation.begun {
            0 => drop(core.begin_uncounted(at, due_ns)),
            _ => core.begin(at, due_ns),
        }
        core.send(at);
        core.close_if_done(at);
    }

    fn connecting(&mut self, core: &mut Core, at: usize) {
        let slot = &core.slots[at];
        if core.window.holds(slot.arrived_ns) && !slot.idle {
            let lag_ns = slot.since_ns.saturating_sub(slot.arrived_ns);
            core.tally.latencies[Span::SendLag].saturating_record(lag_ns);
        }
    }

    fn answered(&mut self, core: &mut Core, _: usize, message: Message, now_ns: u64) {
        if message.of_window {
            let tally = &mut core.tally;
            tally.cut.latency.saturating_record(now_ns - message.intended_ns);
            tally.latencies[Span::Service].saturating_record(now_ns - message.sent_ns);
        }
    }

    fn proceed(&mut self, core: &mut Core, at: usize, answers: usize, now_ns: u64) {
        core.follow(at, answers, self.think_ns, now_ns);
    }

    fn closed(&mut self, _: &mut Core, at: usize, _: u64) {
        self.free.push(at);
    }

    fn failed(&mut self, core: &mut Core, at: usize, was: State, _: u64) {
        if was == State::Connecting && core.slots[at].of_window {
            // Its first message was not begun.
            core.outstanding_of_window = core.outstanding_of_window.saturating_sub(1);
        }
        self.free.push(at);
        core.count_failure();
    }

    fn outstanding(&self, core: &Core) -> u64 {
        core.slots.iter().filter(|slot| slot.is_new()).count() as u64
    }
}
