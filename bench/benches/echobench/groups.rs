//! The criterion groups: one connection at a time, a round trip and a whole life.

use std::io::{Read, Write};
use std::iter::Cycle;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::vec::IntoIter;

use anyhow::Context;
use bench::host::affinity;
use bench::participant::Participant;
use bench::results;
use bench::server::conditions::Conditions;
use bench::server::{ANY_PORT, Launch, Server};
use criterion::{Criterion, PlottingBackend};
use loadgen::record::Placement;
use loadgen::source;
use servers::listener::Transport;
use socket2::{Domain, Socket, Type};

use crate::arguments::Arguments;

/// As the load of the quick suite.
const MESSAGE: [u8; 64] = *b"echo: sixty-four bytes that should come back just as they left!\n";

/// Loopback addresses to connect from: a port that was used stays taken for a minute,
/// and one address has 28,000 of them.
const SOURCES: &str = "127.0.0.1-127.0.0.16";

/// A server that hangs is an error, not a benchmark that never ends.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `roundtrip/SERVER` and `connect/SERVER`, as far as criterion's filter lets them.
///
/// The second not over UDP, where there is no connection to make.
pub fn run(participants: &[Participant], arguments: &Arguments) -> anyhow::Result<()> {
    let placement = affinity::split(&affinity::allowed()?);
    let runnable: Vec<_> = participants
        .iter()
        .filter(|participant| is_runnable(participant))
        .collect();
    let connecting: Vec<_> = runnable
        .iter()
        .copied()
        .filter(|participant| participant.transport() == Transport::Stream)
        .collect();
    let measured = affinity::with(&placement.generator_cpus, || {
        let mut criterion = Criterion::default()
            .plotting_backend(PlottingBackend::Plotters)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(10)
            .configure_from_args();
        // Drawing takes ten times as long as a quick benchmark.
        if arguments.quick() {
            criterion = criterion.without_plots();
        }
        group(&mut criterion, "roundtrip", &runnable, &placement, RoundTrip::new);
        group(&mut criterion, "connect", &connecting, &placement, Connect::new);
        criterion.final_summary();
    });
    measured.context("cannot pin to the processors of the generator")
}

fn is_runnable(participant: &Participant) -> bool {
    let reason = participant.unavailable();
    if let Some(reason) = &reason {
        eprintln!("{}: skipped: {reason}", participant.name());
    }
    reason.is_none()
}

/// Something to do with a server over and over.
trait Exercise {
    fn once(&mut self) -> std::io::Result<()>;
}

fn group<E: Exercise>(
    criterion: &mut Criterion,
    name: &str,
    participants: &[&Participant],
    placement: &Placement,
    exercise: fn(SocketAddr, Transport) -> std::io::Result<E>,
) {
    let mut group = criterion.benchmark_group(name);
    for participant in participants {
        // Criterion calls the closure for each sample; the server is started by the first.
        let mut running = None;
        group.bench_function(participant.name(), |bencher| {
            let (_server, exercise) = running.get_or_insert_with(|| {
                let server = start(participant, placement);
                let exercise =
                    exercise(server.address(), participant.transport()).expect("the server is ready");
                (server, exercise)
            });
            bencher.iter(|| exercise.once().expect("the server echoes"));
        });
    }
    group.finish();
}

/// A panic here ends the benchmark, and the guard ends the server.
fn start(participant: &Participant, placement: &Placement) -> Server {
    let log = results::home().join(format!("criterion-{}.log", participant.name()));
    std::fs::create_dir_all(results::home()).expect("the target folder can be written to");
    let launch = Launch {
        program: participant.program(),
        listen: ANY_PORT,
        arguments: Vec::new(),
        conditions: Conditions::NONE,
        cpus: placement.server_cpus.clone(),
        log,
    };
    Server::start(&launch).unwrap_or_else(|error| panic!("{}: {error}", participant.name()))
}

/// A message and its answer on a connection that stays open.
struct RoundTrip(Socket);

impl RoundTrip {
    fn new(address: SocketAddr, transport: Transport) -> std::io::Result<Self> {
        connect(address, transport, Ipv4Addr::LOCALHOST.into()).map(RoundTrip)
    }
}

impl Exercise for RoundTrip {
    fn once(&mut self) -> std::io::Result<()> {
        exchange(&mut self.0)
    }
}

/// A connection, a message, its answer, and the end.
struct Connect {
    address: SocketAddr,
    transport: Transport,
    sources: Cycle<IntoIter<IpAddr>>,
}

impl Connect {
    fn new(address: SocketAddr, transport: Transport) -> std::io::Result<Self> {
        let sources = source::range(SOURCES).map_err(std::io::Error::other)?;
        Ok(Connect {
            address,
            transport,
            sources: sources.into_iter().cycle(),
        })
    }
}

impl Exercise for Connect {
    fn once(&mut self) -> std::io::Result<()> {
        let source = self.sources.next().expect("a range has an address");
        exchange(&mut connect(self.address, self.transport, source)?)
    }
}

fn connect(address: SocketAddr, transport: Transport, from: IpAddr) -> std::io::Result<Socket> {
    let kind = match transport {
        Transport::Stream => Type::STREAM,
        Transport::Datagram => Type::DGRAM,
    };
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    source::bind(&socket, from)?;
    if transport == Transport::Stream {
        socket.set_tcp_nodelay(true)?;
    }
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(&address.into())?;
    Ok(socket)
}

fn exchange(socket: &mut Socket) -> std::io::Result<()> {
    let mut answer = [0; MESSAGE.len()];
    socket.write_all(&MESSAGE)?;
    socket.read_exact(&mut answer)?;
    assert!(answer == MESSAGE, "the server echoes what it reads");
    Ok(())
}
