//! What the loops differ in.

use super::conversation::Message;
use super::core::{Core, Phase};
use super::slot::State;
use crate::plan::CheckedPlan;

/// A loop: when connections and messages follow on what happened, and what is recorded of
/// them. Times are those of the event.
pub trait Workload {
    /// With the options of a plan.
    fn new(plan: &CheckedPlan) -> Self;

    /// How many connections carry load, or may, once all have been opened.
    fn live(&self, core: &Core) -> usize;

    /// The schedule has something due, where there is one.
    fn due(&mut self, core: &mut Core, due_ns: u64, now_ns: u64);

    /// A connection was established while the load runs, or later. It joins a load that runs.
    fn established(&mut self, core: &mut Core, at: usize, now_ns: u64) {
        if core.phase == Phase::Loading {
            self.start(core, at, now_ns);
        }
    }

    /// A connection begins to carry load.
    fn start(&mut self, core: &mut Core, at: usize, due_ns: u64);

    /// A connect was called.
    fn connecting(&mut self, _: &mut Core, _at: usize) {}

    /// Records a message whose answer is complete.
    fn answered(&mut self, core: &mut Core, at: usize, message: Message, now_ns: u64);

    /// What follows on that many answers.
    fn proceed(&mut self, core: &mut Core, at: usize, answers: usize, now_ns: u64);

    /// A message was lost, over UDP.
    fn lost(&mut self, _: &mut Core, _at: usize, _: &Message, _now_ns: u64) {}

    /// A connection was closed after all its messages.
    fn closed(&mut self, _: &mut Core, _at: usize, _now_ns: u64) {}

    /// A connection that carries load has failed. Its messages have been counted.
    fn failed(&mut self, core: &mut Core, at: usize, was: State, now_ns: u64);

    /// What was due and is not done: messages, or where connections arrive, connections
    /// without their first answer.
    fn outstanding(&self, core: &Core) -> u64 {
        core.outstanding as u64
    }

    /// Closes the accounts when the window has ended.
    fn settle_accounts(&mut self, _: &mut Core) {}
}
