//! A whole run on one thread in virtual time: machines, director and simulated engines.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::super::director::{Director, Step};
use super::super::intervals::{self, Intervals};
use super::super::machine::due::{self, Draw};
use super::super::machine::{Closed, Ledger, Machine, Open, Sessions, Workload};
use super::super::result::MeasuredWindow;
use super::super::shared::Shared;
use super::super::taken::Taken;
use super::super::tally::Tally;
use super::super::usage::Usage;
use super::super::worker::{Turn, Worker};
use super::super::{RunError, conclude, seeds};
use crate::clock::nanos;
use crate::engine::Until;
use crate::engine::simulated::{Script, Server, Simulated, VirtualClock};
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;
use record::histogram::{self, Histogram};
use record::units::{Rate, Time};
use record::{Arrivals, Load, LoopKind, Plan, Span};

/// No run takes more steps: one that does is stuck.
const MOST_STEPS: u64 = 50_000_000;

/// A run to be simulated.
#[derive(Debug, Clone)]
pub struct Simulation {
    pub plan: Plan,
    pub script: Script,
    pub draw: Draw,
    /// What the workers have used up to a time.
    pub usage: fn(u64) -> Usage,
    /// How much later than asked for a worker wakes up.
    pub oversleep_ns: u64,
    /// How much later than asked for it wakes up where the time does not matter much.
    pub late_glance_ns: u64,
    /// How long a look at the clock takes.
    pub tick_ns: u64,
    /// When the workers do not run, from the start of the window.
    pub held_up: Vec<(u64, u64)>,
    /// What was taken from them.
    pub taken: Taken,
    /// When the caller ends the run, from the start of the window.
    pub stopped_at_ns: Option<u64>,
}

/// What the workers counted, before it becomes a record.
pub struct Counted {
    pub tally: Tally,
    pub window: MeasuredWindow,
    /// Where the messages of all workers went.
    pub ledger: Ledger,
    /// Whole messages that the server delivered, as the engines saw them.
    pub delivered: u64,
    /// Connects that found the server's queue full.
    pub turned_away: u64,
    /// When the window opened, if it did.
    pub opened_ns: Option<u64>,
    /// When the last worker was done.
    pub ended_ns: u64,
}

impl Simulation {
    /// A closed loop of four connections on two workers: 50 ms of warm-up, a window of 200 ms,
    /// and a server without faults that answers after 100 us.
    pub fn new() -> Self {
        Simulation {
            plan: closed(1, Duration::ZERO),
            script: Script::default(),
            draw: due::draw,
            usage: |now_ns| Usage {
                passed: Duration::from_nanos(now_ns),
                ..Usage::default()
            },
            oversleep_ns: 0,
            late_glance_ns: 0,
            tick_ns: 0,
            held_up: Vec::new(),
            taken: Taken::default(),
            stopped_at_ns: None,
        }
    }

    /// A run of this plan, changed by the closure and otherwise as [`Simulation::new`].
    pub fn of(plan: Plan, change: impl FnOnce(&mut Self)) -> Self {
        let mut simulation = Simulation {
            plan,
            ..Simulation::new()
        };
        change(&mut simulation);
        simulation
    }

    /// Runs it to the record of the load.
    pub fn load(&self) -> Load {
        self.run().unwrap()
    }

    /// Runs it to the record of the load, or to why there is none.
    pub fn run(&self) -> Result<Load, RunError> {
        let plan = self.checked();
        let Counted { tally, window, .. } = self.count(&plan);
        conclude(&plan, tally, window)
    }

    pub fn checked(&self) -> CheckedPlan {
        CheckedPlan::new(&self.plan, "127.0.0.1:7007".parse().unwrap()).unwrap()
    }

    /// Runs it to the counts, which takes much less time than the record.
    pub fn count(&self, plan: &CheckedPlan) -> Counted {
        match plan.loop_kind {
            LoopKind::Closed => self.drive::<Closed>(plan),
            LoopKind::Open => self.drive::<Open>(plan),
            LoopKind::PartlyOpen => self.drive::<Sessions>(plan),
        }
    }

    fn drive<L: Workload>(&self, plan: &CheckedPlan) -> Counted {
        let now = Cell::new(0);
        let clock = VirtualClock {
            now: &now,
            tick_ns: self.tick_ns,
        };
        let stop = AtomicBool::new(false);
        let shared = Shared::new(&stop);
        let pattern = Pattern::of(plan);
        let script = Script {
            transport: plan.transport,
            ..self.script.clone()
        };
        let server = RefCell::new(Server::new(script));
        let length = intervals::interval(plan.duration);
        let (cuts, cut) = mpsc::channel();
        let seeds = seeds(plan.seed, plan.threads).into_iter().enumerate();
        let mut workers: Vec<_> = seeds
            .map(|(index, seed)| {
                let share = Share {
                    index,
                    of: plan.threads,
                };
                let machine = Machine::<L>::new(plan, &pattern, self.draw, share, seed, nanos(length));
                Worker::new(
                    Simulated::new(&server, clock),
                    clock,
                    machine,
                    &shared,
                    (plan.transport, plan.wait),
                    self.usage,
                    cuts.clone(),
                )
            })
            .collect();
        let mut turns: Vec<_> = workers.iter_mut().map(Worker::turn).collect();
        // When each was to wake up at the latest.
        let mut wakes = vec![0; workers.len()];
        let mut start_ns = None;
        let latest = |turn: &Turn, now_ns: u64| match turn {
            Turn::Wait(Until::Now) => now_ns,
            Turn::Wait(Until::Time(time_ns)) => time_ns.max(&now_ns) + self.oversleep_ns,
            Turn::Wait(Until::About(milliseconds)) => {
                now_ns + u64::from(*milliseconds) * 1_000_000 + self.late_glance_ns
            }
            Turn::Connected | Turn::Done => u64::MAX,
        };
        for (wake, turn) in wakes.iter_mut().zip(&turns) {
            *wake = latest(turn, 0);
        }
        let mut director: Option<Director> = None;
        let mut director_wake = u64::MAX;
        let mut end = None;
        for step in 0.. {
            assert!(step < MOST_STEPS, "the run is stuck");
            if director.is_none() && turns.iter().all(|turn| *turn == Turn::Connected) {
                director = Some(Director::new(plan.warmup, plan.duration, now.get()));
                director_wake = now.get();
                for ((worker, turn), wake) in workers.iter_mut().zip(&mut turns).zip(&mut wakes) {
                    worker.begin_priming();
                    *turn = worker.turn();
                    *wake = latest(turn, now.get());
                }
            }
            if end.is_some() && turns.iter().all(|turn| *turn == Turn::Done) {
                break;
            }
            // The next thing that happens.
            let wake_of = |at: usize| match turns[at] {
                Turn::Wait(_) => self.awake_at(start_ns, wakes[at].min(workers[at].engine().next_event_ns())),
                _ => u64::MAX,
            };
            let next = (0..workers.len()).map(wake_of).min().expect("there is a worker");
            let time_ns = next.min(director_wake);
            assert!(time_ns < u64::MAX, "nothing will ever happen");
            now.set(now.get().max(time_ns));
            let stops = self.stopped_at_ns.zip(start_ns);
            if stops.is_some_and(|(after_ns, start_ns): (u64, u64)| now.get() >= start_ns + after_ns) {
                stop.store(true, Relaxed);
            }
            if let Some(director) = director.as_mut().filter(|_| director_wake <= now.get()) {
                match director.next(shared.counts(), now.get()) {
                    Step::Sleep(time) => director_wake = now.get() + nanos(time),
                    Step::BeginLoad(begin_ns) => shared.begin_load(begin_ns),
                    Step::OpenWindow => {
                        let window = director.open(now.get());
                        server.borrow_mut().open_window(window.start_ns);
                        start_ns = Some(window.start_ns);
                        shared.open_window(window);
                    }
                    Step::End(window) => {
                        shared.end_window(now.get());
                        let end_ns = shared.window().end_ns;
                        end = Some(window.map_or(0, |window| end_ns.saturating_sub(window.start_ns)));
                        director_wake = u64::MAX;
                    }
                }
                continue;
            }
            let at = (0..workers.len())
                .min_by_key(|&at| wake_of(at))
                .expect("there is a worker");
            workers[at].wait(Until::Now).unwrap();
            turns[at] = workers[at].turn();
            wakes[at] = latest(&turns[at], now.get());
        }
        drop(cuts);
        let mut intervals = Intervals::new(length, plan.duration, plan.threads, cut);
        let (mut total, mut ledger) = (Tally::new(), Ledger::default());
        for worker in workers {
            let own = worker.machine().ledger();
            ledger.begun += own.begun;
            ledger.answered += own.answered;
            ledger.lost += own.lost;
            ledger.broken_off += own.broken_off;
            ledger.outstanding += own.outstanding;
            ledger.away += own.away;
            let mut tally = worker.into_tally();
            intervals.add(tally.take_cut());
            total.merge(tally);
        }
        let duration_ns = end.unwrap_or(0);
        let window = MeasuredWindow {
            duration_ns,
            taken: self.taken,
            interrupted: stop.load(Relaxed),
            overran: shared.overran(),
            deserted: shared.is_deserted(),
            intervals: intervals.finish(duration_ns),
            started_at: SystemTime::UNIX_EPOCH,
        };
        let server = server.borrow();
        Counted {
            tally: total,
            window,
            ledger,
            delivered: server.delivered,
            turned_away: server.turned_away,
            opened_ns: start_ns,
            ended_ns: now.get(),
        }
    }

    /// A time, or the end of what holds the workers up then.
    fn awake_at(&self, start_ns: Option<u64>, time_ns: u64) -> u64 {
        let Some(start_ns) = start_ns else {
            return time_ns;
        };
        let holds =
            |(begin_ns, end_ns): &&(u64, u64)| (start_ns + begin_ns..start_ns + end_ns).contains(&time_ns);
        let held_up = self.held_up.iter().find(holds);
        held_up.map_or(time_ns, |(_, end_ns)| start_ns + end_ns)
    }
}

/// The latencies of a load that has them.
pub fn response(load: &Load) -> Histogram {
    decode(load, Span::Response)
}

pub fn service(load: &Load) -> Histogram {
    decode(load, Span::Service)
}

pub fn send_lag(load: &Load) -> Histogram {
    decode(load, Span::SendLag)
}

pub fn connects(load: &Load) -> Histogram {
    decode(load, Span::Connect)
}

pub fn closes(load: &Load) -> Histogram {
    decode(load, Span::Close)
}

fn decode(load: &Load, span: Span) -> Histogram {
    load.histograms[span].as_ref().unwrap().decode().unwrap()
}

/// A histogram of these times.
pub fn histogram_of(times_ns: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram = histogram::empty();
    times_ns
        .into_iter()
        .for_each(|ns| histogram.saturating_record(ns));
    histogram
}

/// A number of microseconds, milliseconds or seconds in nanoseconds.
pub const US: u64 = 1000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

pub fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Makes a time of a plan.
pub fn time(time: Duration) -> Option<Time> {
    Some(Time(time))
}

pub fn closed(depth: u32, think: Duration) -> Plan {
    Plan {
        connections: Some(4),
        threads: Some(2),
        warmup: Time(millis(50)),
        duration: time(millis(200)),
        depth,
        think: Time(think),
        ..Plan::default()
    }
}

/// A closed loop whose connections are replaced.
pub fn churn(depth: u32, messages: u64) -> Plan {
    Plan {
        messages_per_connection: Some(messages),
        ..closed(depth, Duration::ZERO)
    }
}

/// An open loop at one rate.
pub fn open(rate: f64, duration: Duration, arrivals: Arrivals) -> Plan {
    Plan {
        rate: Rate::new(rate),
        duration: time(duration),
        arrivals: Some(arrivals),
        ..closed(1, Duration::ZERO)
    }
}

/// Connections that arrive by a schedule.
pub fn sessions(rate: f64, duration: Duration, arrivals: Arrivals, think: Duration, messages: u64) -> Plan {
    Plan {
        connections: None,
        connect_rate: Rate::new(rate),
        duration: time(duration),
        arrivals: Some(arrivals),
        messages_per_connection: Some(messages),
        ..closed(1, think)
    }
}

/// Asserts that two histograms are the same, without printing 20,000 buckets of each.
#[track_caller]
pub fn assert_same(seen: &Histogram, expected: &Histogram, name: &str) {
    let show = |histogram: &Histogram| {
        let values = { histogram.iter_recorded() }
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
            .take(20);
        format!("{} values: {:?}", histogram.len(), values.collect::<Vec<_>>())
    };
    assert!(seen == expected, "{name}: {}, not {}", show(seen), show(expected));
}
