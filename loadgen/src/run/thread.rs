//! The thread of a worker.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::Duration;

use crossbeam_utils::sync::WaitGroup;
use nix::sys::prctl;

use super::machine::due::Draw;
use super::machine::{Machine, Workload};
use super::shared::Shared;
use super::tally::{Cut, Tally};
use super::usage::Usage;
use super::worker::{SliceCounts, Turn, Worker};
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

/// Where the threads wait for each other. A thread that fails or panics drops all, which
/// counts as an arrival.
pub struct Meeting {
    /// Dropped once the worker has connected, or given up. Nothing is sent: the thread that directs the
    /// run waits with a time limit for the channel to close.
    pub arriving: Sender<()>,
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
    let (engine, machine) = prepare::<E, L>(context, share, seed, engine)?;
    let mut worker = worker(context, engine, machine, cuts);
    let Meeting {
        arriving,
        connected,
        counted,
    } = meeting;
    turns(&mut worker)?;
    drop(arriving);
    connected.wait();
    worker.begin_priming();
    turns(&mut worker)?;
    counted.wait();
    Ok(worker.into_tally())
}

/// Runs one worker of a lane: connects its share, and carries out a slice for each order until
/// there will be none.
pub fn run_slices<'a, E, L>(
    context: &Context<'a>,
    share: Share,
    seed: u64,
    connected: WaitGroup,
    orders: &Receiver<()>,
    counts: &Sender<SliceCounts>,
    engine: impl FnOnce(&CheckedPlan, usize, Monotonic) -> io::Result<E>,
) -> io::Result<Tally>
where
    E: Engine<'a, Clock = Monotonic>,
    L: Workload,
{
    let (engine, machine) = prepare::<E, L>(context, share, seed, engine)?;
    // A slice is one interval, so there are no cuts within it.
    let (cuts, _) = mpsc::channel();
    let mut worker = worker(context, engine, machine.resting(), cuts);
    turns(&mut worker)?;
    connected.wait();
    worker.begin_priming();
    // First answers are handled until the first slice begins.
    loop {
        match orders.try_recv() {
            Ok(()) => break,
            Err(TryRecvError::Disconnected) => return Ok(worker.into_tally()),
            Err(TryRecvError::Empty) => {}
        }
        match worker.turn() {
            Turn::Wait(until) => worker.wait(until)?,
            // A thread that did not run meanwhile finds the slice over before it has seen the order.
            Turn::Connected | Turn::Done => match orders.recv() {
                Ok(()) => break,
                Err(_) => return Ok(worker.into_tally()),
            },
        }
    }
    loop {
        turns(&mut worker)?;
        let was_wanted = counts.send(worker.rest()).is_ok();
        if !was_wanted || orders.recv().is_err() {
            return Ok(worker.into_tally());
        }
    }
}

fn prepare<'a, E, L>(
    context: &Context<'a>,
    share: Share,
    seed: u64,
    engine: impl FnOnce(&CheckedPlan, usize, Monotonic) -> io::Result<E>,
) -> io::Result<(E, Machine<'a, L>)>
where
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
    Ok((engine, machine))
}

fn worker<'a, E, L>(
    context: &Context<'a>,
    engine: E,
    machine: Machine<'a, L>,
    cuts: Sender<Cut>,
) -> Worker<'a, E, L>
where
    E: Engine<'a, Clock = Monotonic>,
    L: Workload,
{
    Worker::new(
        engine,
        context.clock,
        machine,
        context.shared,
        (context.plan.transport, context.plan.wait),
        |now_ns| Usage::of_this_thread(Duration::from_nanos(now_ns)),
        cuts,
    )
}

/// Takes turns until the worker has to wait for others.
fn turns<'a, E: Engine<'a>, L: Workload>(worker: &mut Worker<'a, E, L>) -> io::Result<()> {
    while let Turn::Wait(until) = worker.turn() {
        worker.wait(until)?;
    }
    Ok(())
}
