//! Small servers, both engines, and assertions that hold on a busy host.
//!
//! The servers are threads of the test, each a few lines of the standard library.
#![allow(dead_code, reason = "no test needs all of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::plan::CheckedPlan;
use loadgen::{Address, Observer, RunError};
use record::units::{Bytes, Rate, Time};
use record::{Arrivals, Engine, ErrorKind, Finding, Load, MessageSize, Plan};
use socket2::{Domain, Socket, Type};

/// The engines that this host supports.
pub fn engines() -> &'static [Engine] {
    static ENGINES: LazyLock<&[Engine]> = LazyLock::new(|| {
        let plan = Plan {
            engine: Engine::Uring,
            ..closed(1)
        };
        let plan = CheckedPlan::new(&plan, server(echo).into()).unwrap();
        match loadgen::run(&plan, &mut (), &AtomicBool::new(true)) {
            Err(RunError::Own(error)) => {
                eprintln!("only epoll is tested: {error}");
                &[Engine::Epoll]
            }
            _ => &[Engine::Epoll, Engine::Uring],
        }
    });
    &ENGINES
}

/// Starts a server that calls `serve` for each connection; returns its address.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    server_of(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

/// A listener with this backlog. If it is full, the kernel tries a connect again after a second.
pub fn listen(backlog: i32) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(backlog).unwrap();
    socket.into()
}

/// The same for an existing listener.
pub fn server_of(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let target = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    target
}

/// Starts a server of datagrams: `answer` is called with the number of each datagram, from
/// 1, its bytes, and what sends an answer.
pub fn datagram_server(mut answer: impl FnMut(u64, &[u8], &dyn Fn(&[u8])) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        for number in 1.. {
            let (length, source) = socket.recv_from(&mut buffer).unwrap();
            // The client may have left.
            let send = |message: &[u8]| drop(socket.send_to(message, source));
            answer(number, &buffer[..length], &send);
        }
    });
    target
}

/// A short closed loop of four connections on two threads.
pub fn closed(depth: u32) -> Plan {
    Plan {
        connections: Some(4),
        threads: Some(2),
        warmup: Time(Duration::from_millis(50)),
        duration: time(Duration::from_millis(200)),
        depth,
        ..Plan::default()
    }
}

/// The same with connections that are replaced after some messages.
pub fn churn(messages: u64) -> Plan {
    Plan {
        messages_per_connection: Some(messages),
        ..closed(1)
    }
}

/// An open loop at one rate.
pub fn open(rate: f64, duration: Duration, arrivals: Arrivals) -> Plan {
    Plan {
        rate: Rate::new(rate),
        duration: time(duration),
        arrivals: Some(arrivals),
        ..closed(1)
    }
}

/// Connections that arrive evenly spaced.
pub fn sessions(rate: f64, duration: Duration, messages: u64) -> Plan {
    Plan {
        connections: None,
        connect_rate: Rate::new(rate),
        duration: time(duration),
        arrivals: Some(Arrivals::Constant),
        messages_per_connection: Some(messages),
        ..closed(1)
    }
}

/// A short closed loop over UDP.
pub fn datagrams() -> Plan {
    Plan {
        udp: true,
        ..closed(1)
    }
}

/// A time of a plan.
pub fn time(time: Duration) -> Option<Time> {
    Some(Time(time))
}

/// The size of a plan whose messages have this many bytes.
pub fn bytes(bytes: u64) -> MessageSize {
    MessageSize::Fixed(Bytes(bytes))
}

/// Echoes until the client has ended the connection.
pub fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// Sends nothing until the client has ended the connection.
pub fn keep_silent(mut stream: TcpStream) {
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
}

/// A connection that has ended, as the server saw it.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Where it came from.
    pub peer: SocketAddr,
    /// Bytes that were read.
    pub bytes: u64,
    /// Whether the client closed it, instead of resetting it.
    pub properly: bool,
    /// When.
    pub at: Instant,
}

/// Connections as a server sees them.
#[derive(Debug, Default)]
pub struct Witness {
    begun: Mutex<u64>,
    ended: Mutex<Vec<Ended>>,
}

impl Witness {
    /// Echoes, and records the connection.
    pub fn echo(&self, mut stream: TcpStream) {
        *self.begun.lock().unwrap() += 1;
        let peer = stream.peer_addr().unwrap();
        let mut buffer = [0; 65536];
        let mut bytes = 0;
        let properly = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(length) => {
                    bytes += length as u64;
                    if stream.write_all(&buffer[..length]).is_err() {
                        break false;
                    }
                }
                Err(_) => break false,
            }
        };
        self.ended.lock().unwrap().push(Ended {
            peer,
            bytes,
            properly,
            at: Instant::now(),
        });
    }

    /// Connections so far.
    pub fn begun(&self) -> u64 {
        *self.begun.lock().unwrap()
    }

    /// Connections that have ended so far.
    pub fn ended(&self) -> u64 {
        self.ended.lock().unwrap().len() as u64
    }

    /// Waits until all connections have ended, and returns them.
    pub fn all_ended(&self) -> Vec<Ended> {
        await_that("all connections have ended", || self.begun() == self.ended());
        self.ended.lock().unwrap().clone()
    }
}

/// Waits until something is so. The time-out only turns a hang into a failure.
pub fn await_that(what: &str, is_so: impl Fn() -> bool) {
    assert!(has_come(is_so), "timed out: {what}");
}

/// Waits until something is so; whether it was before the time-out.
fn has_come(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Runs a plan.
pub fn run(target: SocketAddr, plan: Plan) -> Load {
    watch(target, plan, &mut ())
}

/// Runs a plan with an observer.
pub fn watch(target: SocketAddr, plan: Plan, observer: &mut dyn Observer) -> Load {
    loadgen::run(&checked(target, plan), observer, &AtomicBool::new(false)).unwrap()
}

/// Runs a plan, not for its duration but until `count` has grown by more than `by` within the
/// window. The load has no finding about its early end.
pub fn run_until(target: SocketAddr, plan: Plan, by: u64, count: impl Fn() -> u64 + Sync) -> Load {
    struct Opened<'a>(&'a AtomicBool);
    impl Observer for Opened<'_> {
        fn window_opened(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let plan = checked(
        target,
        Plan {
            duration: time(Duration::from_secs(3600)),
            ..plan
        },
    );
    let (is_open, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut load = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            // A run that is not stopped would last for an hour, so the time-out must stop it.
            let seen = has_come(|| is_open.load(Ordering::SeqCst)) && {
                let before = count();
                has_come(|| count() > before + by)
            };
            stop.store(true, Ordering::SeqCst);
            seen
        });
        let load = loadgen::run(&plan, &mut Opened(&is_open), &stop);
        assert!(watcher.join().unwrap(), "the load does not proceed: {load:?}");
        load.unwrap()
    });
    let findings = load.summary.findings.iter();
    let others = findings.filter(|finding| !matches!(finding, Finding::Interrupted { .. }));
    load.summary.findings = others.cloned().collect();
    load
}

/// Runs a plan that fails.
pub fn run_to_error(target: SocketAddr, plan: Plan) -> RunError {
    loadgen::run(&checked(target, plan), &mut (), &AtomicBool::new(false)).unwrap_err()
}

pub fn checked(target: SocketAddr, plan: Plan) -> CheckedPlan {
    CheckedPlan::new(&plan, Address::Internet(target)).unwrap()
}

/// Asserts that nothing is wrong, except for what other programs on this host may have caused.
pub fn assert_right(load: &Load) {
    assert!(load.summary.errors.is_empty(), "{:?}", load.summary.errors);
    assert!(own_reasons(load).is_empty(), "{load:?}");
    assert!(load.summary.echoes > 0);
}

/// Why a load is not valid, except for what other programs on this host may have caused.
pub fn own_reasons(load: &Load) -> Vec<&Finding> {
    let reasons = load.summary.findings.reasons();
    reasons.filter(|finding| !is_noise(finding)).collect()
}

/// Whether other programs on this host may have caused it.
fn is_noise(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::KeptWaiting { .. }
            | Finding::Stolen { .. }
            | Finding::SentLate(_)
            | Finding::WarmUpBacklog(_)
            | Finding::GeneratorFellBehind(_)
            | Finding::ServerFellBehind(_)
            | Finding::RateNotSteady { .. }
            | Finding::LatencyNotSteady { .. }
    )
}

/// How many errors of a kind there were.
pub fn count(load: &Load, kind: ErrorKind) -> u64 {
    load.summary.errors.get(&kind).copied().unwrap_or(0)
}
