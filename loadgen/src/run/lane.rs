//! A lane: a closed loop whose window is cut into slices. Its connections stay open between the
//! slices and rest, so that several lanes take turns, and servers are compared within fractions
//! of a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crossbeam_utils::sync::WaitGroup;

use super::director::{Director, Step};
use super::intervals::IntervalCounts;
use super::machine::{Closed, Window, due};
use super::result::MeasuredWindow;
use super::shared::Shared;
use super::taken::{Taken, TakenClock};
use super::tally::Tally;
use super::thread::{Context, run_slices};
use super::worker::SliceCounts;
use super::{RunError, conclude, seeds, start_worker};
use crate::clock::{Clock, Monotonic, nanos};
use crate::engine::{Epoll, Uring};
use crate::limits::own_descriptors;
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;
use crate::prepare::prepare;
use record::{Engine, Load, LoopKind};

/// Whoever waits for a lane looks this often whether the run is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether a load can be cut into slices: between them nothing may be due, no connection may come or
/// go, or be opened again, and none may think.
pub fn can_be_sliced(plan: &CheckedPlan) -> bool {
    let keeps_connections = plan.keeps_connections() && !plan.reconnect;
    plan.loop_kind == LoopKind::Closed && keeps_connections && plan.words().think.0.is_zero()
}

/// A closed loop whose connections are open. Each [slice](Lane::slice) is a part of its window.
#[derive(Debug)]
pub struct Lane {
    /// `None` once it is closed.
    orders: Option<Sender<Times>>,
    reports: Receiver<Report>,
    stop: Arc<AtomicBool>,
    /// `None` once it has ended.
    supervisor: Option<JoinHandle<Result<Load, RunError>>>,
    /// The record, if there is one and no connection was left before the first slice.
    load: Option<Load>,
}

/// What happened in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceReport {
    /// How long it was measured.
    pub measured: Duration,
    /// Messages that were answered while it was measured.
    pub echoes: u64,
    /// Messages that were answered in it, also before and after it was measured.
    pub served: u64,
    /// Whether the lane can have no further slice: its last connection has failed, an answer is
    /// missing, or the run is to end.
    pub is_last: bool,
}

/// The times of a slice.
#[derive(Debug, Clone, Copy)]
struct Times {
    settle: Duration,
    measure: Duration,
}

#[derive(Debug)]
enum Report {
    /// The connections are open, and the server has answered on each or not in time.
    Ready,
    Slice(SliceReport),
}

impl Lane {
    /// Opens the connections of a plan that [can be sliced](can_be_sliced), and sends the first
    /// message on each. The limit of descriptors counts for each lane alone where
    /// [threads can own them](crate::limits::threads_can_own_descriptors).
    pub fn open(plan: CheckedPlan, stop: &AtomicBool) -> Result<Self, RunError> {
        let (orders, ordered) = mpsc::channel();
        let (reported, reports) = mpsc::channel();
        let own_stop = Arc::new(AtomicBool::new(stop.load(Relaxed)));
        let workers_stop = Arc::clone(&own_stop);
        let supervise = move || supervise(&plan, &workers_stop, &ordered, &reported);
        let supervisor = thread::Builder::new().spawn(supervise)?;
        let mut lane = Lane {
            orders: Some(orders),
            reports,
            stop: own_stop,
            supervisor: Some(supervisor),
            load: None,
        };
        if lane.next_report(stop).is_none() {
            lane.load = Some(lane.end()?);
        }
        Ok(lane)
    }

    /// Carries the load for a time, of which `settle` at the start is not measured, and waits for
    /// all answers. `None` if the lane has failed, and [`Lane::close`] has the reason.
    pub fn slice(&mut self, settle: Duration, measure: Duration, stop: &AtomicBool) -> Option<SliceReport> {
        self.orders.as_ref()?.send(Times { settle, measure }).ok()?;
        match self.next_report(stop)? {
            Report::Slice(report) => Some(report),
            Report::Ready => unreachable!("it is ready once"),
        }
    }

    /// Closes the connections. The record has an interval for each slice that was measured.
    pub fn close(mut self) -> Result<Load, RunError> {
        match self.load.take() {
            Some(load) => Ok(load),
            None => self.end(),
        }
    }

    fn end(&mut self) -> Result<Load, RunError> {
        self.orders = None;
        let supervisor = self.supervisor.take().expect("a lane ends once");
        let ended = supervisor.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the supervisor of a lane panicked").into()))
    }

    /// Waits for the supervisor, and passes on that the run is to end.
    fn next_report(&self, stop: &AtomicBool) -> Option<Report> {
        loop {
            match self.reports.recv_timeout(GLANCE) {
                Ok(report) => return Some(report),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.stop.store(stop.load(Relaxed), Relaxed),
            }
        }
    }
}

/// A lane that is not closed ends at once.
impl Drop for Lane {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.orders = None;
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

/// The side of a worker that its supervisor has.
struct Worker<'scope> {
    orders: Sender<()>,
    counts: Receiver<SliceCounts>,
    thread: thread::ScopedJoinHandle<'scope, io::Result<Tally>>,
}

/// Runs the workers of a lane, and hands slices to them.
fn supervise(
    plan: &CheckedPlan,
    stop: &AtomicBool,
    orders: &Receiver<Times>,
    reports: &Sender<Report>,
) -> Result<Load, RunError> {
    // So that the connections of many lanes do not share one limit. Where this fails, they do.
    let _ = own_descriptors();
    prepare(plan)?;
    let started_at = SystemTime::now();
    let context = &Context {
        plan,
        pattern: &Pattern::of(plan),
        clock: Monotonic::start(),
        draw: due::draw,
        // A slice is one interval.
        interval_ns: u64::MAX / 2,
        shared: &Shared::new(stop),
    };
    let (tally, window) = thread::scope(|scope| -> io::Result<_> {
        let connected = WaitGroup::new();
        let start = |(index, seed)| -> io::Result<Worker> {
            let share = Share {
                index,
                of: plan.threads,
            };
            let connected = connected.clone();
            let (orders, ordered) = mpsc::channel();
            let (counted, counts) = mpsc::channel();
            let work = move || work(context, share, seed, connected, ordered, counted);
            let thread = start_worker(scope, share, context.shared, work)?;
            Ok(Worker {
                orders,
                counts,
                thread,
            })
        };
        let seeds = seeds(plan.seed, plan.threads).into_iter().enumerate();
        let workers: Vec<Worker> = seeds.map(start).collect::<io::Result<_>>()?;
        connected.wait();
        let (intervals, taken) = conduct(context, &workers, orders, reports);
        let mut total = Tally::new();
        for Worker { orders, thread, .. } in workers {
            drop(orders);
            total.merge(
                thread
                    .join()
                    .map_err(|_| io::Error::other("a worker panicked"))??,
            );
        }
        let window = MeasuredWindow {
            duration_ns: intervals.iter().map(|interval| interval.duration_ns).sum(),
            taken,
            interrupted: context.shared.is_stopped(),
            overran: context.shared.overran(),
            deserted: context.shared.is_deserted(),
            intervals,
            started_at,
        };
        Ok((total, window))
    })?;
    conclude(plan, tally, window)
}

/// Conducts the workers from the moment that all have connected until no slice is ordered any more.
/// Returns what was measured, and what was taken from the generator from the first slice to the last.
fn conduct(
    context: &Context,
    workers: &[Worker],
    orders: &Receiver<Times>,
    reports: &Sender<Report>,
) -> (Vec<IntervalCounts>, Taken) {
    let (shared, clock, plan) = (context.shared, context.clock, context.plan);
    let mut intervals = Vec::new();
    let mut director = Director::new(Duration::ZERO, Duration::ZERO, clock.now_ns());
    while let Step::Sleep(time) = director.next(shared.counts(), clock.now_ns()) {
        thread::sleep(time);
    }
    // Without a connection it ends here, and whoever opens the lane learns the reason.
    if shared.is_over_early() || reports.send(Report::Ready).is_err() {
        return (intervals, Taken::default());
    }
    let taken = TakenClock::start(&plan.cpus);
    let mut window_ns = 0;
    while let Ok(Times { settle, measure }) = orders.recv() {
        let begin_ns = clock.now_ns();
        let start_ns = begin_ns + nanos(settle);
        shared.open_window(Window {
            start_ns,
            end_ns: start_ns + nanos(measure),
        });
        shared.begin_load(begin_ns);
        let Some(slice) = carry_out(context, workers) else {
            break;
        };
        let measured_ns = shared.window().end_ns.saturating_sub(start_ns);
        let report = SliceReport {
            measured: Duration::from_nanos(measured_ns),
            echoes: slice.cut.echoes,
            served: slice.served,
            is_last: !slice.all_answered || shared.is_over_early(),
        };
        if measured_ns > 0 {
            intervals.push(IntervalCounts {
                start_ns: window_ns,
                duration_ns: measured_ns,
                echoes: slice.cut.echoes,
                reconnects: slice.cut.reconnects,
                latency: slice.cut.latency,
            });
            window_ns += measured_ns;
        }
        if reports.send(Report::Slice(report)).is_err() {
            break;
        }
    }
    (intervals, taken.read(plan.threads))
}

/// Lets all workers carry out a slice, and adds their counts. `None` if one has failed.
fn carry_out(context: &Context, workers: &[Worker]) -> Option<SliceCounts> {
    let (shared, clock) = (context.shared, context.clock);
    for worker in workers {
        worker.orders.send(()).ok()?;
    }
    let mut all: Option<SliceCounts> = None;
    for worker in workers {
        let counts = loop {
            match worker.counts.recv_timeout(GLANCE) {
                Ok(counts) => break counts,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if shared.is_over_early() => shared.end_window(clock.now_ns()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        match &mut all {
            None => all = Some(counts),
            Some(all) => all.add(counts),
        }
    }
    all
}

/// The work of one thread, with its engine.
fn work<'a>(
    context: &Context<'a>,
    share: Share,
    seed: u64,
    connected: WaitGroup,
    orders: Receiver<()>,
    counts: Sender<SliceCounts>,
) -> io::Result<Tally> {
    match context.plan.engine {
        Engine::Epoll => {
            run_slices::<_, Closed>(context, share, seed, connected, &orders, &counts, Epoll::new)
        }
        Engine::Uring => {
            run_slices::<_, Closed>(context, share, seed, connected, &orders, &counts, Uring::new)
        }
        Engine::Mixed => unreachable!("a checked plan has one engine"),
    }
}
