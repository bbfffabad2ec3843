//! Coordinated omission: what a stall of the server does to the latencies of a load.
//!
//! The server is stopped in the middle of the window. Whoever waits for answers sends next
//! to nothing meanwhile and sees next to nothing of it; a load at a rate shows all of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loadgen::plan::{Engine, Loop, Request, Wait};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{Arrivals, Load, Span};

/// Per second: far below what server and generator take, so that the stall is all that
/// there is to wait for.
const RATE: f64 = 20_000.0;

const WINDOW: Duration = Duration::from_secs(5);

/// From the begin of the window to the stall.
const BEFORE: Duration = Duration::from_secs(2);

/// A tenth of the window.
const STALL: Duration = Duration::from_millis(500);

/// How near the latencies are to what follows from the stall: as much the machine may add.
const TOLERANCE: f64 = 0.02;

/// What the messages outside of the stall may take, and those that have piled up in it.
const ELSE_MS: f64 = 10.0;

/// Deviations of what is drawn that are put down to chance: exceeded once in 16,000 times.
const DEVIATIONS: f64 = 4.0;

/// Loads until one is not disturbed.
const ATTEMPTS: usize = 5;

/// Two at a time would disturb each other.
static ALONE: Mutex<()> = Mutex::new(());

/// Makes this program the server; the tests start it as that, in a process that can be
/// stopped.
const ROLE: &str = "LOADGEN_TEST_ROLE";

/// Not a test: the server, where that is asked for. It ends with its standard input, so that
/// it does not outlive the tests.
#[test]
fn role_server() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\nlistens {}", listener.local_addr().unwrap());
    thread::spawn(move || serve(&listener));
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// On one thread: it leaves the other processor to the generator.
fn serve(listener: &TcpListener) {
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let watch = |fd: BorrowedFd, number| {
        epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, number))
            .unwrap()
    };
    watch(listener.as_fd(), 0);
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut events = [EpollEvent::empty(); 64];
    let mut buffer = [0; 65536];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..ready] {
            let Some(at) = event.data().checked_sub(1) else {
                streams.push(listener.accept().unwrap().0);
                let last = streams.last().unwrap();
                watch(last.as_fd(), streams.len() as u64);
                continue;
            };
            let stream = &mut streams[at as usize];
            match stream.read(&mut buffer) {
                Ok(length @ 1..) => stream.write_all(&buffer[..length]).unwrap(),
                _ => epoll.delete(stream.as_fd()).unwrap(),
            }
        }
    }
}

/// The server in a process of its own; ends it when it is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role_server", "--nocapture"])
            .env(ROLE, "server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let address = { output.lines().map_while(Result::ok) }
            .find_map(|line| line.strip_prefix("listens ")?.parse().ok())
            .expect("the server says where it listens");
        Server { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Stops a process in the window, and tells for how long it did.
struct Stall {
    process: Pid,
    stopped: Option<JoinHandle<Duration>>,
}

impl loadgen::Observer for Stall {
    fn window_opened(&mut self) {
        let process = self.process;
        self.stopped = Some(thread::spawn(move || {
            thread::sleep(BEFORE);
            kill(process, Signal::SIGSTOP).unwrap();
            let begun = Instant::now();
            thread::sleep(STALL);
            let stopped = begun.elapsed();
            kill(process, Signal::SIGCONT).unwrap();
            stopped
        }));
    }
}

/// Runs loads on a server that is stopped meanwhile until one is judged right. Two that are
/// not, and that nothing disturbed, are wrong: the stall begins at the 90th percentile, where a
/// few milliseconds of somebody else's, too few for any gate, make a difference.
fn assert_right(
    discipline: &Loop,
    engine: Engine,
    wait: Wait,
    judge: impl Fn(&Load, f64) -> Result<(), String>,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut was_wrong = false;
    for _ in 0..ATTEMPTS {
        let (load, stopped_s) = attempt(discipline.clone(), engine, wait);
        let reasons = &load.summary.reasons();
        match judge(&load, stopped_s) {
            Ok(()) if reasons.iter().all(|reason| is_of_others(reason)) => return,
            Err(wrong) if load.summary.is_valid() && was_wrong => panic!("{wrong}"),
            Err(wrong) if load.summary.is_valid() => {
                println!("{wrong}");
                was_wrong = true;
            }
            judged => println!("{judged:?}: {reasons:?}"),
        }
    }
    panic!("none of {ATTEMPTS} loads is right");
}

/// Whether something else on this host is the reason: the stall itself makes no load invalid.
fn is_of_others(reason: &str) -> bool {
    reason.contains("the generator was") || reason.contains("hypervisor")
}

/// Runs a load; also returns for how many seconds the server was stopped.
fn attempt(discipline: Loop, engine: Engine, wait: Wait) -> (Load, f64) {
    let server = Server::start();
    let plan = Request {
        discipline,
        connections: 50,
        warmup: Duration::from_millis(300),
        duration: WINDOW,
        engine,
        wait,
        ..Request::new(server.address)
    }
    .validate()
    .unwrap();
    let mut stall = Stall {
        process: Pid::from_raw(server.process.id() as i32),
        stopped: None,
    };
    let load = loadgen::run(&plan, &mut stall, &AtomicBool::new(false)).unwrap();
    let stopped = stall.stopped.unwrap().join().unwrap();
    (load, stopped.as_secs_f64())
}

/// Of a stall of length S, whoever is due x before its end waits for x. They are due at all
/// times alike, so of the N messages of a window W a share x/W waits for S - x or longer: the
/// first of the stall. The quantile q, which (1 - q) N messages are beyond, is therefore
///
/// > S - (1 - q) W
///
/// as long as that is positive. For a window of 5 s and a stall of 500 ms this is 0 for p90,
/// 450 ms for p99, 495 ms for p99.9, and 500 ms for the longest.
///
/// At random the first k = (1 - q) N messages of the stall take k/rate, plus or minus
/// sqrt(k)/rate; and N itself, which is off by sqrt(N), makes k off by (1 - q) sqrt(N), which
/// is less. The first of all comes 1/rate after the begin of the stall, or 10/rate once in
/// 22,000 times.
fn assert_shows_the_stall(engine: Engine, wait: Wait, arrivals: Arrivals) {
    let discipline = Loop::open(RATE, WINDOW, arrivals);
    assert_right(&discipline, engine, wait, |load, stopped_s| {
        let seen = load.summary.latencies[Span::Response].as_ref().unwrap();
        let check = |name, q: f64, seen_us: Option<f64>, machine_ms: fn(f64) -> f64| {
            let window_s = WINDOW.as_secs_f64();
            let beyond = (1.0 - q) * RATE * window_s;
            let by_chance = DEVIATIONS * (beyond + (1.0 - q) * beyond).sqrt();
            let by_chance_ms = match arrivals {
                Arrivals::Constant => 0.0,
                Arrivals::Poisson => 1e3 * by_chance.max(10.0) / RATE,
            };
            let expected_ms = 1e3 * (stopped_s - (1.0 - q) * window_s).max(0.0);
            let seen_ms = seen_us.unwrap() / 1e3;
            let allowed_ms = machine_ms(expected_ms) + by_chance_ms;
            let text =
                format!("{name} is {seen_ms:.2} ms, expected {expected_ms:.2} ms within {allowed_ms:.2} ms");
            println!("{text}");
            match (seen_ms - expected_ms).abs() < allowed_ms {
                true => Ok(()),
                false => Err(text),
            }
        };
        let near = |expected_ms| TOLERANCE * expected_ms;
        check("p90", 0.9, seen.p90, |_| ELSE_MS)?;
        check("p99", 0.99, seen.p99, near)?;
        check("p99.9", 0.999, seen.p99_9, near)?;
        check("max", 1.0, seen.max, near)
    });
}

#[test]
fn a_stall_is_in_the_latencies_of_constant_arrivals_over_epoll() {
    assert_shows_the_stall(Engine::Epoll, Wait::Sleep, Arrivals::Constant);
}

#[test]
fn a_stall_is_in_the_latencies_of_constant_arrivals_over_io_uring() {
    assert_shows_the_stall(Engine::Uring, Wait::Sleep, Arrivals::Constant);
}

#[test]
fn a_stall_is_in_the_latencies_of_poisson_arrivals_when_the_generator_spins() {
    assert_shows_the_stall(Engine::Epoll, Wait::Spin, Arrivals::Poisson);
}

#[test]
fn a_stall_is_in_the_latencies_of_poisson_arrivals_over_io_uring() {
    assert_shows_the_stall(Engine::Uring, Wait::Sleep, Arrivals::Poisson);
}

/// Each connection has one message that waits for as long as the stall: 50 of so many that
/// p99, and even p99.9, are among the others.
#[test]
fn a_closed_loop_omits_the_stall() {
    assert_right(&Loop::closed(), Engine::Epoll, Wait::Sleep, |load, stopped_s| {
        let seen = load.summary.latencies[Span::Service].as_ref().unwrap();
        let stall_us = 1e6 * stopped_s;
        let hidden = |quantile: Option<f64>| quantile.unwrap() < stall_us / 10.0;
        match hidden(seen.p99) && hidden(seen.p99_9) && seen.max.unwrap() > 0.99 * stall_us {
            true => Ok(()),
            false => Err(format!("{seen:?}")),
        }
    });
}
