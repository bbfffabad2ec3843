//! Carries out a plan: workers send, this thread watches the clock.

mod conversation;
mod dial;
mod due;
mod intervals;
mod latch;
mod life;
mod result;
mod tally;
mod usage;
mod worker;

use std::io;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, Release},
};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;

use crate::affinity;
use crate::clock::Clock;
use crate::engine::{Epoll, Uring};
use crate::pattern::Pattern;
use crate::plan::{Engine, Plan};
use crate::prepare::{PrepareError, prepare};
use due::Draw;
pub use intervals::Snapshot;
use intervals::{Intervals, interval};
use latch::{Arrival, Latch};
use record::{ErrorKind, Load};
use result::Window;
use tally::{Cut, Tally};
use usage::Steal;

/// How often the watching thread looks whether it should end early. Each look takes some
/// 20 us from a worker that has the same processor: of 20,000 messages a second, at 20 looks
/// a second, so few that p99 does not know of it.
const GLANCE: Duration = Duration::from_millis(50);

/// How often it looks whether the connections have been answered once.
const PRIMING_GLANCE: Duration = Duration::from_millis(1);

/// For how long nobody new is answered until those that are left are taken for starved.
/// Long against the time that a server takes to accept or to start a process, short
/// against a trial.
const PRIMING_PATIENCE: Duration = Duration::from_millis(250);

/// How long before its begin the window is announced, so that no worker learns of it late.
const ANNOUNCED: Duration = Duration::from_millis(1);

/// Is told when the measured window opens and closes; both times all connections are
/// open, and the caller can read off what the server has used.
pub trait Observer {
    /// The warm-up is over; the window opens when this returns.
    fn window_opened(&mut self) {}
    /// Whether it wants to know how it goes. Summing up takes some 100 us for each interval,
    /// from a worker if that has the same processor.
    fn wants_progress(&self) -> bool {
        false
    }
    /// An interval of the window is over.
    fn progress(&mut self, _snapshot: &Snapshot) {}
    /// The last message has been counted.
    fn window_closed(&mut self) {}
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
    /// This host cannot carry out the plan.
    #[error(transparent)]
    Unprepared(#[from] PrepareError),
    /// The generator itself failed.
    #[error("the load generator failed: {0}")]
    Own(#[from] io::Error),
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
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

/// Why a connection cannot go on.
enum Failure {
    /// The system said so.
    System(io::Error),
    /// It was seen here.
    Kind(ErrorKind, &'static str),
    /// Something did not happen in time.
    InVain(&'static str, Duration),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::System(error)
    }
}

/// What the workers and the watching thread share.
struct Run<'a> {
    plan: &'a Plan,
    stop: &'a AtomicBool,
    pattern: Pattern,
    clock: Clock,
    /// What each worker draws the sizes of its messages from: not the seed of the schedule,
    /// and not numbers in a row, whose draws are alike.
    seeds: Vec<u64>,
    /// What draws the schedules.
    draw: Draw,
    interval: Duration,
    /// Opens once every worker has connected, or given up.
    connected: Latch,
    /// Opens once everything is counted and the connections may be closed.
    counted: Latch,
    /// Whether a worker has failed, which ends the run for all.
    failed: AtomicBool,
    /// How many messages a worker had on their way when it gave up, which does so too.
    overran: AtomicUsize,
    /// Start of the window; never, until the warm-up is over.
    start_ns: AtomicU64,
    /// End of the window; moved forward when the run ends early.
    end_ns: AtomicU64,
    /// Connections that still talk, or may.
    live: AtomicUsize,
    /// Connections whose first message was answered before the load began.
    primed: AtomicUsize,
    /// Whether the load has begun: until then each connection sends one message.
    loading: AtomicBool,
    /// When it began.
    loading_ns: AtomicU64,
}

impl Run<'_> {
    /// Whether it is to end, or has nobody left to talk to.
    fn is_over_early(&self) -> bool {
        self.stop.load(Relaxed)
            || self.failed.load(Relaxed)
            || self.overran.load(Relaxed) > 0
            || self.live.load(Relaxed) == 0
    }
}

/// Carries out a plan and returns what was seen.
///
/// Ends early, with what was measured, when `stop` becomes true or when no connection
/// is left.
pub fn run(plan: &Plan, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Load, RunError> {
    let (tally, window) = carry_out(plan, due::draw, observer, stop)?;
    Ok(result::load(plan, tally, window))
}

/// What the workers counted, and the window that it was in.
fn carry_out(
    plan: &Plan,
    draw: Draw,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<(Tally, Window), RunError> {
    prepare(plan)?;
    let request = plan.request();
    let started_at = SystemTime::now();
    let run = Run {
        plan,
        draw,
        stop,
        pattern: Pattern::new(),
        clock: Clock::start(),
        seeds: seeds(request.seed, request.threads),
        interval: interval(request.duration),
        connected: Latch::new(request.threads),
        counted: Latch::new(1),
        failed: AtomicBool::new(false),
        overran: AtomicUsize::new(0),
        start_ns: AtomicU64::new(u64::MAX),
        end_ns: AtomicU64::new(u64::MAX),
        live: AtomicUsize::new(0),
        primed: AtomicUsize::new(0),
        loading: AtomicBool::new(false),
        loading_ns: AtomicU64::new(0),
    };
    let (tally, window) = thread::scope(|scope| -> io::Result<_> {
        let (cuts, cut) = mpsc::channel();
        let workers: Vec<_> = (0..request.threads)
            .map(|index| start_worker(&run, index, cuts.clone(), scope))
            .collect();
        drop(cuts);
        let mut intervals = Intervals::new(run.interval, request.duration, request.threads, cut);
        let seen = watch(&run, &mut intervals, observer);
        let mut total = Tally::new();
        for worker in workers {
            let mut tally = worker?
                .join()
                .map_err(|_| io::Error::other("a worker panicked"))??;
            intervals.add(tally.take_cut());
            total.merge(tally);
        }
        let window = Window {
            duration_ns: seen.duration_ns,
            steal: seen.steal,
            interrupted: stop.load(Relaxed),
            overran: run.overran.load(Relaxed),
            intervals: intervals.finish(),
            started_at,
        };
        Ok((total, window))
    })?;
    if tally.established == 0 {
        let (kind, example) = tally.worst_error();
        return Err(RunError::NoConnection {
            target: request.target,
            kind,
            example,
        });
    }
    Ok((tally, window))
}

fn seeds(seed: u64, workers: usize) -> Vec<u64> {
    let mut random = Rng::with_seed(!seed);
    (0..workers).map(|_| random.u64(..)).collect()
}

/// Starts a worker. Whether it cannot be started, fails or panics: it counts as arrived,
/// and the run ends.
fn start_worker<'scope>(
    run: &'scope Run,
    index: usize,
    cuts: Sender<Cut>,
    scope: &'scope thread::Scope<'scope, '_>,
) -> io::Result<thread::ScopedJoinHandle<'scope, io::Result<Tally>>> {
    let (alive, arrival) = (Alive(run), Arrival(&run.connected));
    let work = move || {
        let result = match run.plan.request().engine {
            Engine::Epoll => worker::work::<Epoll>(run, index, arrival, cuts),
            Engine::Uring => worker::work::<Uring>(run, index, arrival, cuts),
            Engine::Mixed => unreachable!("a checked plan has one engine"),
        };
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

/// What the watching thread has seen of the window.
#[derive(Default)]
struct Seen {
    duration_ns: u64,
    steal: Option<f64>,
}

/// Opens and closes the window.
fn watch(run: &Run, intervals: &mut Intervals, observer: &mut dyn Observer) -> Seen {
    let _counted = Arrival(&run.counted);
    let request = run.plan.request();
    run.connected.wait();
    prime(run);
    let loading_ns = run.clock.now_ns();
    run.loading_ns.store(loading_ns, Relaxed);
    // With the time of it.
    run.loading.store(true, Release);
    sleep_until(run, loading_ns + nanos(request.warmup), || {});
    let end = End(run);
    if run.is_over_early() {
        return Seen::default();
    }
    // Before the window, not in it: looking at a thousand processes takes time from
    // the generator.
    observer.window_opened();
    let cpus = match request.cpus.is_empty() {
        true => affinity::allowed().unwrap_or_default(),
        false => request.cpus.clone(),
    };
    let steal_before = Steal::of(&cpus);
    let start_ns = run.clock.now_ns() + nanos(ANNOUNCED);
    let due_ns = start_ns + nanos(request.duration);
    run.end_ns.store(due_ns, Relaxed);
    run.start_ns.store(start_ns, Relaxed);
    let wants_progress = observer.wants_progress();
    sleep_until(run, due_ns, || {
        while wants_progress && let Some(snapshot) = intervals.next_snapshot() {
            observer.progress(&snapshot);
        }
    });
    drop(end);
    let end_ns = run.end_ns.load(Relaxed);
    observer.window_closed();
    let steal = steal_before.and_then(|before| Some(Steal::of(&cpus)?.since(before)));
    Seen {
        duration_ns: end_ns.saturating_sub(start_ns),
        steal,
    }
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
fn prime(run: &Run) {
    let (mut seen, mut since) = (0, Instant::now());
    while seen < run.live.load(Relaxed) && since.elapsed() < PRIMING_PATIENCE && !run.is_over_early() {
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

/// Waits until a time, or until the window is over, and looks around in between.
fn sleep_until(run: &Run, time_ns: u64, mut look: impl FnMut()) {
    while !run.is_over_early() {
        look();
        let left = time_ns
            .min(run.end_ns.load(Relaxed))
            .saturating_sub(run.clock.now_ns());
        if left == 0 {
            return;
        }
        thread::sleep(Duration::from_nanos(left).min(GLANCE));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::pacer::{Pace, Schedule, Share};
    use crate::plan::{Loop, Request};
    use due::Times;
    use record::Arrivals;

    /// A request to a server in a thread that echoes.
    fn request() -> Request {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let _ = stream.write_all(&buffer[..length]);
                    }
                });
            }
        });
        Request {
            connections: 7,
            threads: 2,
            warmup: Duration::from_millis(50),
            duration: Duration::from_millis(300),
            ..Request::new(target)
        }
    }

    fn counted(request: Request, draw: Draw) -> (Plan, Tally, Window) {
        let plan = request.validate().unwrap();
        let (tally, window) = carry_out(&plan, draw, &mut (), &AtomicBool::new(false)).unwrap();
        (plan, tally, window)
    }

    /// What the gates say of the schedule, when it is drawn like this.
    fn said_of_the_schedule(draw: Draw, arrivals: Arrivals, engine: Engine) -> Vec<String> {
        let request = request();
        let (plan, tally, window) = counted(
            Request {
                discipline: Loop::open(4000.0, request.duration, arrivals),
                engine,
                ..request
            },
            draw,
        );
        let load = result::load(&plan, tally, window);
        let mut reasons = load.summary.reasons();
        reasons.retain(|reason| reason.contains("error in the load generator"));
        assert!(reasons.is_empty() || !load.summary.is_valid());
        reasons
    }

    /// Four at a time, at the time of the first.
    fn bursts(pace: &Pace, share: Share, seed: u64) -> Times {
        let times = Schedule::new(pace, share, seed).zip(0..);
        Box::new(times.scan(0, |first, (time_ns, number)| {
            if number % 4 == 0 {
                *first = time_ns;
            }
            Some(*first)
        }))
    }

    /// As if each message waited for an answer that takes a tenth of the mean gap.
    fn waiting(pace: &Pace, share: Share, seed: u64) -> Times {
        let pause_ns = 0.1e9 * share.of as f64 / pace.stages[0].from;
        let times = Schedule::new(pace, share, seed).zip(0..);
        Box::new(times.map(move |(time_ns, number)| time_ns + (f64::from(number) * pause_ns) as u64))
    }

    #[test]
    fn a_schedule_that_breaks_its_law_makes_the_load_invalid() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_eq!(
                said_of_the_schedule(due::draw, arrivals, Engine::Epoll),
                [""; 0],
                "{arrivals:?}"
            );
            let said = said_of_the_schedule(bursts, arrivals, Engine::Epoll);
            assert!(
                said.len() == 1 && said[0].contains("schedule"),
                "{arrivals:?}: {said:?}"
            );
        }
        let said = said_of_the_schedule(waiting, Arrivals::Constant, Engine::Uring);
        assert!(
            said.len() == 1 && said[0].contains("not evenly spaced"),
            "{said:?}"
        );
    }

    #[test]
    fn the_latencies_of_a_closed_loop_account_for_its_time() {
        let ms = Duration::from_millis;
        let closed = |depth, think| Loop::Closed {
            depth,
            think,
            messages_per_connection: None,
        };
        for engine in [Engine::Epoll, Engine::Uring] {
            for discipline in [
                closed(1, ms(0)),
                closed(7, ms(0)),
                closed(1, ms(10)),
                closed(3, ms(1)),
            ] {
                let name = format!("{engine:?} {discipline:?}");
                let (plan, tally, window) = counted(
                    Request {
                        discipline,
                        engine,
                        ..request()
                    },
                    due::draw,
                );
                assert!(
                    tally.account.is_some_and(|account| account.is_whole),
                    "{name}: the gate is not asleep"
                );
                let load = result::load(&plan, tally, window);
                let said = &load.summary.reasons();
                assert!(
                    !said.iter().any(|reason| reason.contains("Little")),
                    "{name}: {said:?}"
                );
            }
        }
    }
}
