//! The thread of a worker.

use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crossbeam_utils::sync::WaitGroup;
use nix::sys::prctl;

use super::machine::due::Draw;
use super::machine::{Machine, Workload};
use super::shared::Shared;
use super::tally::{Cut, Tally};
use super::usage::Usage;
use super::worker::{Turn, Worker};
use crate::affinity;
use crate::clock::Monotonic;
use crate::engine::Engine;
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;

/// What all threads have.
pub struct Context<'a> {
    pub plan: &'a CheckedPlan,
    pub pattern: &'a Pattern,
    pub clock: Monotonic,
    pub draw: Draw,
    pub interval_ns: u64,
    pub shared: &'a Shared<'a>,
}

/// Where the threads wait for each other. A thread that fails or panics drops both, which
/// counts as an arrival.
pub struct Meeting {
    /// Every worker has connected, or given up.
    pub connected: WaitGroup,
    /// Everything is counted, and the connections may be closed.
    pub counted: WaitGroup,
}

/// Runs one worker: connects its share, loads until the window closes, waits for what is on its
/// way, and keeps the connections open until everything is counted.
pub fn run<'a, E, L>(
    context: &Context<'a>,
    share: Share,
    seed: u64,
    meeting: Meeting,
    cuts: Sender<Cut>,
    engine: impl FnOnce(&CheckedPlan, usize, Monotonic) -> io::Result<E>,
) -> io::Result<Tally>
where
    E: Engine<'a, Clock = Monotonic>,
    L: Workload,
{
    let plan = context.plan;
    if !plan.cpus.is_empty() {
        affinity::pin(&[plan.cpus[share.index % plan.cpus.len()]])?;
    }
    // Otherwise the kernel may let every sleep last 50 us longer.
    prctl::set_timerslack(1)?;
    let slots = (plan.connections + plan.idle).div_ceil(share.of);
    let engine = engine(plan, slots, context.clock)?;
    let machine = Machine::<L>::new(
        plan,
        context.pattern,
        context.draw,
        share,
        seed,
        context.interval_ns,
    );
    let mut worker = Worker::new(
        engine,
        context.clock,
        machine,
        context.shared,
        (plan.transport, plan.wait),
        |now_ns| Usage::of_this_thread(Duration::from_nanos(now_ns)),
        cuts,
    );
    let Meeting { connected, counted } = meeting;
    turns(&mut worker)?;
    connected.wait();
    worker.begin_priming();
    turns(&mut worker)?;
    counted.wait();
    Ok(worker.into_tally())
}

/// Takes turns until the worker has to wait for others.
fn turns<'a, E: Engine<'a>, L: Workload>(worker: &mut Worker<'a, E, L>) -> io::Result<()> {
    while let Turn::Wait(until) = worker.turn() {
        worker.wait(until)?;
    }
    Ok(())
}
