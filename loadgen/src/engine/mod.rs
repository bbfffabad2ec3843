//! Who sends: the run as a whole. Workers send, this thread watches the clock.

mod conversation;
mod dial;
mod epoll;
mod latch;
mod tally;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::record::{ErrorKind, Load};
use latch::{Arrival, Latch};
use tally::Tally;

/// How often the watching thread looks whether it should end early.
const GLANCE: Duration = Duration::from_millis(20);

/// How often it looks whether the connections have been answered once.
const PRIMING_GLANCE: Duration = Duration::from_millis(1);

/// For how long nobody new is answered until those that are left are taken for starved.
/// Long against the time that a server takes to accept or to start a process, short
/// against a trial.
const PRIMING_PATIENCE: Duration = Duration::from_millis(250);

/// Is told when the measured window opens and closes; both times all connections are
/// open, and the caller can read off what the server has used.
pub trait Observer {
    /// The warm-up is over; the window opens when this returns.
    fn window_opened(&mut self) {}
    /// So it stands within the window; at most once a second, or ten times a run.
    fn progress(&mut self, _snapshot: &Snapshot) {}
    /// The last message has been counted.
    fn window_closed(&mut self) {}
}

/// How a load stands within its window.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Time of the window that has passed.
    pub elapsed: Duration,
    /// Time of the window that is left.
    pub left: Duration,
    /// Messages that came back whole and right, per second.
    pub echoes_per_s: f64,
    /// Median of the latency, in microseconds, where there are samples enough.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latency, in microseconds, where there are samples enough.
    pub p99_us: Option<f64>,
    /// Errors of all kinds so far.
    pub errors: u64,
}

/// Watches nothing.
impl Observer for () {}

/// Why there is no load to report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Not one connection was established, or over UDP reached anybody.
    #[error("cannot connect to {target}: {example}; {}", advice(*kind))]
    NoConnection {
        /// Where to.
        target: std::net::SocketAddr,
        /// What happened most.
        kind: ErrorKind,
        /// How the system worded it.
        example: String,
    },
    /// The generator itself failed.
    #[error("the load generator failed: {0}")]
    Own(#[from] io::Error),
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Refused => "is the server running, and on this port?",
        ErrorKind::TimedOut => "is the address right, and does a firewall let it through?",
        ErrorKind::NoLocalPort => "wait a minute until old connections have left TIME_WAIT, or use fewer",
        ErrorKind::TooManyOpenFiles => {
            "raise the limit of open files (`ulimit -n`), or use fewer connections"
        }
        _ => "look at the server's log",
    }
}

/// What the workers and the watching thread share.
struct Run<'a> {
    plan: &'a Plan,
    pattern: Pattern,
    clock: Clock,
    /// Opens once every worker has connected, or given up.
    connected: Latch,
    /// Opens once everything is counted and the connections may be closed.
    counted: Latch,
    /// Whether a worker has failed, which ends the run for all.
    failed: AtomicBool,
    /// Start of the window; never, until the warm-up is over.
    start_ns: AtomicU64,
    /// End of the window; moved forward when the run ends early.
    end_ns: AtomicU64,
    /// Connections that still talk.
    live: AtomicUsize,
    /// Connections whose first message was answered before the load began.
    primed: AtomicUsize,
    /// Whether the load has begun: until then each connection sends one message.
    loading: AtomicBool,
}

/// Nanoseconds since the run began.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Carries out a plan and returns what was seen.
///
/// Ends early, with what was measured, when `stop` becomes true or when no connection
/// is left.
pub fn run(plan: &Plan, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Load, RunError> {
    let request = plan.request();
    let started_at = SystemTime::now();
    let run = Run {
        plan,
        pattern: Pattern::new(),
        clock: Clock(Instant::now()),
        connected: Latch::new(request.threads),
        counted: Latch::new(1),
        failed: AtomicBool::new(false),
        start_ns: AtomicU64::new(u64::MAX),
        end_ns: AtomicU64::new(u64::MAX),
        live: AtomicUsize::new(0),
        primed: AtomicUsize::new(0),
        loading: AtomicBool::new(false),
    };
    let (tally, window_ns) = thread::scope(|scope| -> io::Result<_> {
        let workers: Vec<_> = (0..request.threads)
            .map(|index| start_worker(&run, index, stop, scope))
            .collect();
        let window_ns = watch(&run, observer, stop);
        let mut total = Tally::new();
        for worker in workers {
            total.merge(
                worker?
                    .join()
                    .map_err(|_| io::Error::other("a worker panicked"))??,
            );
        }
        Ok((total, window_ns))
    })?;
    if tally.open == 0 {
        let (kind, example) = tally.worst_error();
        return Err(RunError::NoConnection {
            target: request.target,
            kind,
            example,
        });
    }
    Ok(tally.into_load(plan, started_at, window_ns, stop.load(Relaxed)))
}

/// Starts a worker. Whether it cannot be started, fails or panics: it counts as arrived,
/// and the run ends.
fn start_worker<'scope>(
    run: &'scope Run,
    index: usize,
    stop: &'scope AtomicBool,
    scope: &'scope thread::Scope<'scope, '_>,
) -> io::Result<thread::ScopedJoinHandle<'scope, io::Result<Tally>>> {
    let (alive, arrival) = (Alive(run), Arrival(&run.connected));
    let work = move || {
        let result = epoll::work(run, index, stop, arrival);
        if result.is_ok() {
            std::mem::forget(alive);
        }
        result
    };
    let started = thread::Builder::new().spawn_scoped(scope, work);
    started.map_err(|error| {
        io::Error::other(format!(
            "cannot start thread {} of the generator: {error}",
            index + 1
        ))
    })
}

/// Reports the failure of a worker when it is dropped.
struct Alive<'a>(&'a Run<'a>);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.failed.store(true, Relaxed);
    }
}

/// Opens and closes the window; returns how long it was in nanoseconds.
fn watch(run: &Run, observer: &mut dyn Observer, stop: &AtomicBool) -> u64 {
    let _counted = Arrival(&run.counted);
    let request = run.plan.request();
    let ended_early = || stop.load(Relaxed) || run.failed.load(Relaxed) || run.live.load(Relaxed) == 0;
    run.connected.wait();
    prime(run, ended_early);
    run.loading.store(true, Relaxed);
    sleep_until(run, run.clock.now_ns() + nanos(request.warmup), ended_early);
    let end = End(run);
    if ended_early() {
        return 0;
    }
    // Before the window, not in it: looking at a thousand processes takes time from
    // the generator.
    observer.window_opened();
    let start_ns = run.clock.now_ns();
    let due_ns = start_ns + nanos(request.duration);
    run.end_ns.store(due_ns, Relaxed);
    run.start_ns.store(start_ns, Relaxed);
    sleep_until(run, due_ns, ended_early);
    drop(end);
    let end_ns = run.end_ns.load(Relaxed);
    observer.window_closed();
    end_ns - start_ns
}

/// Ends the window, if it has not ended yet, when it is dropped.
struct End<'a>(&'a Run<'a>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end_ns.fetch_min(self.0.clock.now_ns(), Relaxed);
    }
}

/// Waits until every connection was answered once, as far as that will happen.
///
/// The kernel calls a connection established before the server has seen it. A load that
/// began then would keep a server that makes a process or a thread for each connection
/// from accepting the rest, and measure how it starts instead of how it runs.
fn prime(run: &Run, ended_early: impl Fn() -> bool) {
    let (mut seen, mut since) = (0, Instant::now());
    while seen < run.live.load(Relaxed) && since.elapsed() < PRIMING_PATIENCE && !ended_early() {
        thread::sleep(PRIMING_GLANCE);
        let primed = run.primed.load(Relaxed);
        if primed > seen {
            (seen, since) = (primed, Instant::now());
        }
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

fn sleep_until(run: &Run, time_ns: u64, ended_early: impl Fn() -> bool) {
    while !ended_early() {
        let left = time_ns.saturating_sub(run.clock.now_ns());
        if left == 0 {
            return;
        }
        thread::sleep(Duration::from_nanos(left).min(GLANCE));
    }
}
