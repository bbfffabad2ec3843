//! A block whose windows are sliced: all its servers run at the same time, and the load moves
//! between them. What slows the host down for a second slows all of them down.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use loadgen::plan::CheckedPlan;
use loadgen::{Lane, Observer};
use nix::sys::signal::{Signal, kill};
use record::{Cost, Outcome, Placement, Plan, Slice};
use reports::values::is_disturbed;

use super::{Entry, Live, failed, possible_plan};
use crate::host::affinity;
use crate::host::meter::HostMeter;
use crate::participant::Participant;
use crate::proc::processes::descendants;
use crate::proc::tree_clock::TreeClock;
use crate::scenario::Scenario;
use crate::slicing::{Slicing, Turns, settle, slice_needed};
use crate::trial::meter::Meter;

/// How long a server is observed without load, and the CPU time that it may use then. One that
/// uses more polls, and would take time from the others.
const REST: Duration = Duration::from_millis(10);
const MOST_AT_REST: Duration = Duration::from_millis(2);

/// A block to run.
pub struct Block<'a> {
    /// The load.
    pub scenario: &'a Scenario,
    /// The measured part of a slice, at least.
    pub slice: Duration,
    /// The processors of servers and generator.
    pub placement: &'a Placement,
    /// The seed of the order within turns.
    pub seed: u64,
}

impl Block<'_> {
    /// Measures all servers; returns an outcome for each, in the same order. `None` if it was
    /// interrupted.
    pub fn run(&self, entries: &[Entry], stop: &AtomicBool) -> Option<Vec<Outcome>> {
        // Before there are thousands of processes to look through.
        let host = HostMeter::new(&self.placement.server_cpus, &self.placement.generator_cpus);
        let mut seats = Vec::new();
        for entry in entries {
            if stop.load(Relaxed) {
                return None;
            }
            seats.push(self.open(entry, stop));
        }
        let mut schedule = Schedule {
            plan: &self.scenario.plan,
            slice: self.slice,
            host,
            begin: Instant::now(),
        };
        let mut random = Rng::with_seed(self.seed);
        let mut order: Vec<usize> = (0..seats.len()).collect();
        for (seat, entry) in seats.iter_mut().zip(entries) {
            if matches!(seat, Seat::Running(running) if running.is_over) {
                seat.end(entry);
            }
        }
        let mut turns = Turns::of(&self.scenario.plan);
        while let Some(turn) = turns.begin() {
            let (mut taken, mut disturbed) = (0, 0);
            random.shuffle(&mut order);
            for &at in &order {
                let Seat::Running(running) = &mut seats[at] else {
                    continue;
                };
                taken += 1;
                disturbed += usize::from(running.take_turn(turn, &schedule, stop));
                if stop.load(Relaxed) {
                    return None;
                }
                if running.is_over {
                    // At once: a server that is broken must not disturb the others.
                    seats[at].end(&entries[at]);
                }
            }
            turns.ended(schedule.slice, disturbed as f64 / taken.max(1) as f64);
            schedule.slice = self.slice_for(&seats);
        }
        // All before the first ends: servers of one executable share memory.
        seats.iter_mut().for_each(Seat::meter);
        seats
            .iter_mut()
            .zip(entries)
            .for_each(|(seat, entry)| seat.end(entry));
        let outcomes = seats.into_iter().map(|seat| match seat {
            Seat::Ended(outcome) => outcome,
            Seat::Running(_) => unreachable!("every server was ended"),
        });
        let outcomes = outcomes.collect();
        (!stop.load(Relaxed)).then_some(outcomes)
    }

    /// The measured part of the slices of the next turn: longer than planned if some server answers so slowly
    /// that a slice would hold too few answers of each connection, and at most a whole window.
    fn slice_for(&self, seats: &[Seat]) -> Duration {
        if self.scenario.slicing != Slicing::Auto {
            return self.slice;
        }
        let needed = seats.iter().filter_map(|seat| match seat {
            Seat::Running(running) => Some(running.slice_needed),
            Seat::Ended(_) => None,
        });
        let needed = needed.max().unwrap_or_default();
        self.slice.max(needed.min(self.scenario.plan.duration().0))
    }

    fn open(&self, entry: &Entry, stop: &AtomicBool) -> Seat {
        let plan = match possible_plan(self.scenario, entry.participant, self.placement) {
            Ok(plan) => plan,
            Err(reason) => return Seat::Ended(Outcome::Skipped { reason }),
        };
        match self.connect(entry, &plan, stop) {
            Ok(running) => Seat::Running(running),
            Err(error) => Seat::Ended(failed(&error, &entry.log)),
        }
    }

    /// Starts a server, opens its connections, and warms it up.
    fn connect(&self, entry: &Entry, plan: &Plan, stop: &AtomicBool) -> anyhow::Result<Running> {
        let live = Live::start(entry, &self.scenario.setup, self.placement)?;
        let plan = CheckedPlan::new(plan, live.address.clone())?;
        let opened = affinity::with(&self.placement.generator_cpus, || Lane::open(plan, stop))?;
        let mut lane = match opened {
            Ok(lane) => lane,
            Err(error) => return Err(live.conclude(entry.participant, Err(error)).unwrap_err()),
        };
        let warmed_up = lane.slice(self.scenario.plan.warmup.0, Duration::ZERO, stop);
        let processors = self.placement.server_cpus.len();
        let mut meter = { live.guard() }.map(|guard| Meter::new(guard, processors));
        let mut clock = live.guard().and_then(TreeClock::new);
        let polls = clock.as_mut().is_some_and(uses_cpu_at_rest);
        if let Some(meter) = &mut meter {
            meter.window_opened();
        }
        let running = Running {
            live,
            lane,
            meter,
            clock,
            polls,
            slices: Vec::new(),
            slice_needed: Duration::ZERO,
            is_over: warmed_up.is_none_or(|report| report.is_last),
        };
        running.signal(Signal::SIGSTOP);
        Ok(running)
    }
}

/// The place of a server in the block.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each server of a block"
)]
enum Seat {
    Running(Running),
    Ended(Outcome),
}

impl Seat {
    /// Reads what the server has used, and its memory.
    fn meter(&mut self) {
        if let Seat::Running(running) = self {
            running.close_window();
        }
    }

    fn end(&mut self, entry: &Entry) {
        // Taken out, since a server that ends is consumed.
        let nothing = Outcome::Skipped {
            reason: String::new(),
        };
        let seat = std::mem::replace(self, Seat::Ended(nothing));
        *self = Seat::Ended(match seat {
            Seat::Ended(outcome) => outcome,
            Seat::Running(running) => match running.end(entry.participant) {
                Ok(outcome) => outcome,
                Err(error) => failed(&error, &entry.log),
            },
        });
    }
}

/// What all slices of a block have in common.
struct Schedule<'a> {
    plan: &'a Plan,
    /// The measured part of a slice.
    slice: Duration,
    host: HostMeter,
    begin: Instant,
}

/// A server with its connections open.
struct Running {
    live: Live,
    lane: Lane,
    /// `None` if the server runs elsewhere.
    meter: Option<Meter>,
    clock: Option<TreeClock>,
    /// Whether it uses the processor without load. It is stopped between its slices.
    polls: bool,
    slices: Vec<Slice>,
    /// How long a slice has to be to hold several answers of each connection, as its last one shows.
    slice_needed: Duration,
    /// Whether it cannot have a further slice.
    is_over: bool,
}

impl Running {
    /// Has its slice of a turn; whether other programs disturbed it.
    fn take_turn(&mut self, turn: u32, schedule: &Schedule, stop: &AtomicBool) -> bool {
        self.signal(Signal::SIGCONT);
        let host_before = schedule.host.read();
        let before = self.cpu();
        let settle = settle(schedule.slice);
        let start = schedule.begin.elapsed() + settle;
        let report = self.lane.slice(settle, schedule.slice, stop);
        let cpu = self.cpu().zip(before).map(|(after, before)| after - before);
        let host_after = schedule.host.read();
        self.signal(Signal::SIGSTOP);
        self.is_over = report.is_none_or(|report| report.is_last);
        let Some(report) = report.filter(|report| !report.measured.is_zero()) else {
            return false;
        };
        let is_own = self.live.guard().is_some();
        self.slice_needed = slice_needed(schedule.plan, report.measured, report.echoes, is_own);
        let slice = Slice {
            turn,
            start_s: start.as_secs_f64(),
            served: report.served,
            cpu_s: cpu.map(|cpu| cpu.as_secs_f64()),
            ..Slice::default()
        };
        let slice = schedule.host.complete(slice, &host_before, &host_after, cpu);
        let is_disturbed = is_disturbed(&slice);
        self.slices.push(slice);
        is_disturbed
    }

    /// CPU time of its processes.
    fn cpu(&mut self) -> Option<Duration> {
        self.clock.as_mut().and_then(TreeClock::read)
    }

    /// Sends a signal to the processes of a server that polls.
    fn signal(&self, signal: Signal) {
        let polling = self.live.guard().filter(|_| self.polls);
        for pid in polling.into_iter().flat_map(descendants) {
            // One that has ended shows by its load.
            let _ = kill(pid, signal);
        }
    }

    /// Reads the meter, once.
    fn close_window(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.window_closed();
        }
    }

    /// Closes its connections and stops it.
    fn end(mut self, participant: &Participant) -> anyhow::Result<Outcome> {
        self.signal(Signal::SIGCONT);
        self.close_window();
        let load = self.live.conclude(participant, self.lane.close())?;
        let served: u64 = self.slices.iter().map(|slice| slice.served).sum();
        let cpu_s: Option<f64> = self.slices.iter().map(|slice| slice.cpu_s).sum();
        let cost = self
            .meter
            .and_then(|meter| meter.cost(served))
            .zip(cpu_s)
            .map(|(cost, cpu_s)| Cost {
                cpu_s,
                served: Some(served),
                cpu_us_per_echo: (served > 0).then(|| cpu_s * 1e6 / served as f64),
                ..cost
            });
        Ok(Outcome::Measured {
            load,
            cost,
            slices: self.slices,
        })
    }
}

/// Whether a server polls: it uses the processor without load.
fn uses_cpu_at_rest(clock: &mut TreeClock) -> bool {
    let before = clock.read();
    thread::sleep(REST);
    let used = clock.read().zip(before).map(|(after, before)| after - before);
    used.is_some_and(|used| used > MOST_AT_REST)
}
