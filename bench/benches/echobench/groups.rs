//! The criterion groups: round trips on one connection, and whole connections one at a time.

use std::io::{Read, Write};
use std::iter::Cycle;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::vec::IntoIter;

use bench::host::affinity;
use bench::participant::Participant;
use bench::results;
use bench::server::conditions::Conditions;
use bench::server::{ANY_PORT, Launch, Server};
use criterion::{Criterion, PlottingBackend};
use loadgen::source;
use record::Placement;
use record::SourceRange;
use servers::listener::Transport;
use socket2::{Domain, Socket, Type};

use crate::arguments::Arguments;

/// As long as the messages of the quick suite.
const MESSAGE: [u8; 64] = *b"echo: sixty-four bytes that should come back just as they left!\n";

/// Loopback addresses to connect from: one address has 28,000 ports, and a used port stays
/// taken for a minute.
const SOURCES: &str = "127.0.0.1-127.0.0.16";

/// Turns a server that hangs into an error.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `roundtrip/SERVER` and, over TCP, `connect/SERVER`, if criterion's filter selects them.
pub fn run(participants: &[Participant], arguments: &Arguments) -> anyhow::Result<()> {
    let placement = affinity::split(&affinity::usable()?);
    let runnable: Vec<_> = participants
        .iter()
        // Criterion's groups start their servers.
        .filter(|participant| participant.program().is_some() && is_runnable(participant))
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
        // Drawing takes four times as long as measuring.
        if !arguments.draws() {
            criterion = criterion.without_plots();
        }
        group(&mut criterion, "roundtrip", &runnable, &placement, RoundTrip::new);
        group(&mut criterion, "connect", &connecting, &placement, Connect::new);
        criterion.final_summary();
    });
    Ok(measured?)
}

fn is_runnable(participant: &Participant) -> bool {
    let reason = participant.unavailable();
    if let Some(reason) = &reason {
        record::complain!("{}: skipped: {reason}", participant.name());
    }
    reason.is_none()
}

/// An operation on a server that criterion repeats.
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
        // Criterion calls the closure for each sample; the first call starts the server.
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

/// Starts a server. A panic ends the benchmark, and the guard ends the server.
fn start(participant: &Participant, placement: &Placement) -> Server {
    let log = results::home().join(format!("criterion-{}.log", participant.name()));
    std::fs::create_dir_all(results::home()).expect("the target folder can be written to");
    let launch = Launch {
        program: participant.program().expect("targets are left out"),
        listen: ANY_PORT,
        arguments: Vec::new(),
        conditions: Conditions::NONE,
        cpus: placement.server_cpus.clone(),
        log,
    };
    Server::start(&launch).unwrap_or_else(|error| panic!("{}: {error}", participant.name()))
}

/// A message and its echo on a connection that stays open.
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

/// A new connection, a message, its echo, and a close.
struct Connect {
    address: SocketAddr,
    transport: Transport,
    sources: Cycle<IntoIter<IpAddr>>,
}

impl Connect {
    fn new(address: SocketAddr, transport: Transport) -> std::io::Result<Self> {
        let sources: SourceRange = SOURCES.parse().map_err(std::io::Error::other)?;
        Ok(Connect {
            address,
            transport,
            sources: sources.addresses().collect::<Vec<_>>().into_iter().cycle(),
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
    let mut echo = [0; MESSAGE.len()];
    socket.write_all(&MESSAGE)?;
    socket.read_exact(&mut echo)?;
    assert!(echo == MESSAGE, "the server changed the message");
    Ok(())
}
