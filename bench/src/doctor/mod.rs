//! What on this host spoils a measurement or stops a model: `echobench doctor`, and the first lines of a run.
//!
//! Each check is a function of the files below a [`Root`], which is `/` outside of tests, and of the
//! [`Needs`] of the measurement. What a file does not tell is *not known here*.
//!
//! | to find | look in |
//! | --- | --- |
//! | clock rate, other hardware threads, clock | [`frequency`], [`processors`] |
//! | limits | [`limits`], [`tasks`], [`cgroup`], [`network`] |
//! | other load, memory | [`load`], [`memory`] |
//! | io_uring, other models, tracing | [`models`], [`tracing`] |

mod cgroup;
mod check;
mod frequency;
mod limits;
mod load;
mod memory;
mod models;
mod needs;
mod network;
mod processors;
mod root;
#[cfg(test)]
mod sample;
mod tasks;
mod text;
mod tracing;

use record::{HostCheck, HostState};

pub use needs::Needs;
pub use root::Root;
pub use text::{line, show};

use check::Check;

/// All checks, in reading order.
const CHECKS: [&Check; 22] = [
    &models::IO_URING,
    &models::OTHERS,
    &limits::DESCRIPTORS,
    &limits::LOCKED_MEMORY,
    &tasks::TASKS,
    &cgroup::PIDS,
    &tasks::MAPS,
    &network::PORTS,
    &network::BACKLOG_LIMIT,
    &processors::SHARED,
    &processors::SIBLINGS,
    &cgroup::QUOTA,
    &load::OTHER_LOAD,
    &load::STEAL,
    &frequency::GOVERNOR,
    &frequency::TURBO,
    &frequency::DRIVER,
    &processors::CLOCK,
    &memory::SWAP,
    &memory::HUGE_PAGES,
    &tracing::TRACING,
    &tracing::PERF,
];

/// The names of all checks.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

/// Checks the host for all that can be measured here.
pub fn examine(root: &Root, needs: &Needs) -> Vec<HostCheck> {
    carry_out(CHECKS.into_iter(), root, needs)
}

/// Checks the host for a run: only what concerns it, and what it does not learn by measuring.
pub fn examine_for_run(root: &Root, needs: &Needs) -> Vec<HostCheck> {
    carry_out(
        CHECKS.into_iter().filter(|check| (check.in_a_run)(needs)),
        root,
        needs,
    )
}

fn carry_out<'a>(checks: impl Iterator<Item = &'a Check>, root: &Root, needs: &Needs) -> Vec<HostCheck> {
    let mut all: Vec<HostCheck> = checks.map(|check| check.carry_out(root, needs)).collect();
    all.sort_by_key(|check| check.state);
    all
}

/// Whether any of them stands in the way of a measurement.
pub fn is_anything_in_the_way(checks: &[HostCheck]) -> bool {
    checks.iter().any(|check| HostState::is_in_the_way(check.state))
}
