//! What the gates judge beside the record of a load.

use crate::plan::CheckedPlan;

/// What the generator knows about a load beyond its record.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The plan of the load.
    pub plan: &'a CheckedPlan,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// How many messages were outstanding when the run gave up; 0 if it did not.
    pub overran: usize,
    /// Whether no connection was left at the end.
    pub deserted: bool,
    /// Messages that were answered in the whole run.
    pub served: u64,
    /// Messages due in the window; where connections arrive, connections.
    pub due: u64,
    /// How many were finished in the window, whether due in it or before.
    pub done: u64,
    /// How many were outstanding when the window opened, and when it closed.
    pub outstanding: (u64, u64),
    /// How many of those were still with the generator, begun or not.
    pub waiting: (u64, u64),
    /// How many of the outstanding ones were on connections that were lost, and not back.
    pub withheld: (u64, u64),
    /// How long each connection had been lost that was not back at the end, in nanoseconds.
    pub lost_ns: Vec<u64>,
    /// Messages that had to wait since the kernel had no room for them.
    pub blocked: u64,
    /// Times at which each worker had something due, in nanoseconds from the window's start.
    pub intended_ns: Vec<Vec<u64>>,
    /// How long each connection waited for an answer that was served before, and had an unanswered
    /// message when the window closed.
    pub waits_ns: Vec<u64>,
    /// The largest service time of the whole run.
    pub longest_ns: u64,
    /// The time that the connections of a closed loop account for, and the time that passed.
    pub accounted_ns: Option<(f64, f64)>,
    /// Echoes per second and median latency in nanoseconds of each interval.
    pub intervals: Vec<(f64, f64)>,
}
