//! Carries out a plan: workers send, this thread directs them.

mod director;
mod intervals;
mod lane;
mod machine;
mod observer;
mod result;
mod shared;
mod taken;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod unfinished;
mod usage;
mod worker;

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime};

use crossbeam_utils::sync::WaitGroup;
use fastrand::Rng;

use crate::address::Address;
use crate::affinity;
use crate::clock::{Clock, Monotonic, nanos};
use crate::engine::{Epoll, Uring};
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;
use crate::prepare::{PrepareError, prepare};
use director::{Director, Step};
use intervals::Intervals;
use machine::{Closed, Open, Sessions, due};
use record::{Engine, ErrorKind, Finding, Load, LoopKind};
use result::MeasuredWindow;
use shared::Shared;
use taken::{Taken, TakenClock};
use tally::{Cut, Tally};
use thread::{Context, Meeting};

pub use intervals::Snapshot;
pub use lane::{Lane, SliceReport, can_be_sliced};
pub use observer::Observer;
pub use usage::Steal;

/// While connections are opened, an observer learns of them this often, and not before they have
/// taken a while.
const CONNECTING_GLANCE: Duration = Duration::from_millis(250);
const TAKES_LONG: Duration = Duration::from_secs(1);

/// Why there is no load to report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No connection was established, or over UDP reached a server.
    #[error("cannot connect to {target}: {example}; {}", advice(target, *kind))]
    NoConnection {
        /// The server.
        target: Address,
        /// The most frequent error.
        kind: ErrorKind,
        /// Its message.
        example: String,
    },
    /// There was no time to try all connections at the start.
    #[error(
        "only {open} of {asked} connections to {target} were open after {}: {errors}, {untried} not tried; the server \
         may be at its limit of open files (`ulimit -n`) or accept too slowly for its backlog: look at its log, use \
         fewer connections, or give it more time (--connect-timeout)",
        humantime::format_duration(*within)
    )]
    NotConnected {
        /// The server.
        target: Address,
        /// Connections that were open.
        open: u64,
        /// Connections that were asked for, with the idle ones.
        asked: u64,
        /// How long they had.
        within: Duration,
        /// The errors of others, in words.
        errors: String,
        /// Connections that were not tried.
        untried: u64,
    },
    /// The server ended every connection before the window opened. The load has no numbers, and its
    /// findings say why.
    #[error("{} cannot be measured: {}", .0.target, end_in_warm_up(.0).map_or(String::new(), Finding::to_string))]
    EndedInWarmUp(Box<Load>),
    /// This host cannot carry out the plan.
    #[error(transparent)]
    Unprepared(#[from] PrepareError),
    /// The generator itself failed.
    #[error("the load generator failed: {0}")]
    Own(io::Error),
}

/// The message has the error, so it is no source: a chain of errors would show it twice.
impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        RunError::Own(error)
    }
}

fn advice(target: &Address, kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Refused if target.is_unix() => {
            "is the server running, and is this the path of its socket?"
        }
        ErrorKind::TimedOut if target.is_unix() => {
            "does the server still accept connections? Its queue of them is full"
        }
        ErrorKind::Other if target.is_unix() => {
            "is it a stream socket, and may your user connect to it? If so, look at the server's log"
        }
        ErrorKind::Refused => "is the server running, and on this port?",
        ErrorKind::TimedOut => "is the address right, and does a firewall let it through?",
        ErrorKind::NoLocalPort => {
            "use more local addresses (--source), or wait a minute until old connections have left TIME_WAIT"
        }
        ErrorKind::TooManyOpenFiles => {
            "raise the limit of open files (`ulimit -n`), or use fewer connections"
        }
        _ => "is the network up, and the address right? If so, look at the server's log",
    }
}

/// Carries out a plan and returns what was seen.
///
/// Ends early, with what was measured, when `stop` becomes true or when no connection is left.
pub fn run(plan: &CheckedPlan, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Load, RunError> {
    prepare(plan)?;
    let started_at = SystemTime::now();
    let shared = &Shared::new(stop);
    let pattern = &Pattern::of(plan);
    let context = &Context {
        plan,
        pattern,
        clock: Monotonic::start(),
        draw: due::draw,
        interval_ns: nanos(intervals::interval(plan.duration)),
        shared,
    };
    let (tally, window) = std::thread::scope(|scope| -> io::Result<_> {
        // Inside, so that a panic of the observer leaves no worker waiting.
        let (connected, counted) = (WaitGroup::new(), WaitGroup::new());
        let (cuts, cut) = mpsc::channel();
        let (arriving, arrived) = mpsc::channel();
        let start = |(index, seed)| {
            let share = Share {
                index,
                of: plan.threads,
            };
            let meeting = Meeting {
                arriving: arriving.clone(),
                connected: connected.clone(),
                counted: counted.clone(),
            };
            let cuts = cuts.clone();
            start_worker(scope, share, shared, move || {
                work(context, share, seed, meeting, cuts)
            })
        };
        let seeds = seeds(plan.seed, plan.threads);
        let workers: Vec<_> = seeds.into_iter().enumerate().map(start).collect();
        drop((cuts, arriving));
        let length = intervals::interval(plan.duration);
        let mut intervals = Intervals::new(length, plan.duration, plan.threads, cut);
        await_connections(context, &arrived, observer);
        connected.wait();
        let (duration_ns, taken) = watch(context, &mut intervals, observer);
        drop(counted);
        let mut total = Tally::new();
        for worker in workers {
            let mut tally = worker?
                .join()
                .map_err(|_| io::Error::other("a worker panicked"))??;
            intervals.add(tally.take_cut());
            total.merge(tally);
        }
        let window = MeasuredWindow {
            duration_ns,
            taken,
            interrupted: shared.is_stopped(),
            overran: shared.overran(),
            deserted: shared.is_deserted(),
            intervals: intervals.finish(duration_ns),
            started_at,
        };
        Ok((total, window))
    })?;
    conclude(plan, tally, window)
}

/// The record of a run, or why there is none.
fn conclude(plan: &CheckedPlan, tally: Tally, window: MeasuredWindow) -> Result<Load, RunError> {
    if tally.established == 0 {
        let (kind, example) = tally.worst_error();
        return Err(RunError::NoConnection {
            target: plan.target.clone(),
            kind,
            example,
        });
    }
    if tally.untried > 0 && !window.interrupted {
        return Err(RunError::NotConnected {
            target: plan.target.clone(),
            open: tally.established,
            asked: (plan.connections + plan.idle) as u64,
            within: plan.connects_within(),
            errors: tally.errors_in_words(),
            untried: tally.untried,
        });
    }
    let load = result::load(plan, tally, window);
    let ended = end_in_warm_up(&load).is_some();
    match ended {
        true => Err(RunError::EndedInWarmUp(Box::new(load))),
        false => Ok(load),
    }
}

/// The finding that the server ended every connection before the window opened.
fn end_in_warm_up(load: &Load) -> Option<&Finding> {
    let mut findings = load.summary.findings.iter();
    findings.find(|finding| matches!(finding, Finding::EndedInWarmUp { .. }))
}

fn seeds(seed: u64, workers: usize) -> Vec<u64> {
    // Not the seed of the schedule, and not consecutive numbers, whose draws are alike.
    let mut random = Rng::with_seed(!seed);
    (0..workers).map(|_| random.u64(..)).collect()
}

/// The work of one thread, with its engine and its loop.
fn work<'a>(
    context: &Context<'a>,
    share: Share,
    seed: u64,
    meeting: Meeting,
    cuts: Sender<Cut>,
) -> io::Result<Tally> {
    macro_rules! run {
        ($engine:ty, $workload:ty) => {
            thread::run::<$engine, $workload>(context, share, seed, meeting, cuts, <$engine>::new)
        };
    }
    match (context.plan.engine, context.plan.loop_kind) {
        (Engine::Epoll, LoopKind::Closed) => run!(Epoll, Closed),
        (Engine::Epoll, LoopKind::Open) => run!(Epoll, Open),
        (Engine::Epoll, LoopKind::PartlyOpen) => run!(Epoll, Sessions),
        (Engine::Uring, LoopKind::Closed) => run!(Uring<'a>, Closed),
        (Engine::Uring, LoopKind::Open) => run!(Uring<'a>, Open),
        (Engine::Uring, LoopKind::PartlyOpen) => run!(Uring<'a>, Sessions),
        (Engine::Mixed, _) => unreachable!("a checked plan has one engine"),
    }
}

/// Starts the thread of a worker. The run ends if it cannot be started, fails or panics.
fn start_worker<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    share: Share,
    shared: &'scope Shared,
    work: impl FnOnce() -> io::Result<Tally> + Send + 'scope,
) -> io::Result<std::thread::ScopedJoinHandle<'scope, io::Result<Tally>>> {
    let guard = FailureGuard(shared);
    let guarded = move || {
        let result = work();
        if result.is_ok() {
            std::mem::forget(guard);
        }
        result
    };
    let started = std::thread::Builder::new().spawn_scoped(scope, guarded);
    started.map_err(|error| {
        io::Error::other(format!(
            "cannot start thread {} of the generator: {error}",
            share.index + 1
        ))
    })
}

/// Reports that a worker has failed when it is dropped.
struct FailureGuard<'a>(&'a Shared<'a>);

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}

/// Ends the window, if it has not ended yet, when it is dropped.
struct WindowGuard<'a>(&'a Context<'a>);

impl Drop for WindowGuard<'_> {
    fn drop(&mut self) {
        self.0.shared.end_window(self.0.clock.now_ns());
    }
}

/// Waits until every worker has connected or given up.
fn await_connections(context: &Context, arrived: &Receiver<()>, observer: &mut dyn Observer) {
    let asked = context.plan.connections + context.plan.idle;
    while let Err(RecvTimeoutError::Timeout) = arrived.recv_timeout(CONNECTING_GLANCE) {
        let elapsed = Duration::from_nanos(context.clock.now_ns());
        if elapsed >= TAKES_LONG {
            observer.connecting(context.shared.opened(), asked, elapsed);
        }
    }
}

/// Opens and closes the window, as the director decides. Returns how long the window was, and what
/// was taken from the generator in it.
fn watch(context: &Context, intervals: &mut Intervals, observer: &mut dyn Observer) -> (u64, Taken) {
    let (shared, clock, plan) = (context.shared, context.clock, context.plan);
    let guard = WindowGuard(context);
    let mut director = Director::new(plan.warmup, plan.duration, clock.now_ns());
    let wants_progress = observer.wants_progress();
    let cpus = match plan.cpus.is_empty() {
        true => affinity::allowed().unwrap_or_default(),
        false => plan.cpus.clone(),
    };
    let mut taken = None;
    loop {
        match director.next(shared.counts(), clock.now_ns()) {
            Step::Sleep(time) => std::thread::sleep(time),
            Step::BeginLoad(begin_ns) => shared.begin_load(begin_ns),
            Step::OpenWindow => {
                // Before the window: looking at a thousand processes takes time from the
                // generator.
                observer.window_opened();
                taken = Some(TakenClock::start(&cpus));
                shared.open_window(director.open(clock.now_ns()));
            }
            Step::End(None) => return (0, Taken::default()),
            Step::End(Some(window)) => {
                drop(guard);
                observer.window_closed();
                let taken = taken.map(|clock| clock.read(plan.threads)).unwrap_or_default();
                let end_ns = shared.window().end_ns;
                return (end_ns.saturating_sub(window.start_ns), taken);
            }
        }
        while wants_progress && let Some(snapshot) = intervals.next_snapshot() {
            observer.progress(&snapshot);
        }
    }
}
