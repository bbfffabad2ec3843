//! C15: hosts that crash, reboot or become unreachable.
//!
//! What the clients see comes from the kernel and is the same for every server: it proves that the
//! hosts fail in the intended way. The server's side depends on the server: with `--keepalive` the
//! kernel reports an error on each lost connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{iter, panic};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use procfs::net::TcpState;
use socket2::{SockRef, TcpKeepalive};

use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::faults::network::{Fault, Host, Network};
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest, resources};
use crate::proc::tcp::Socket;

pub const CASE: Case = Case::new(
    "C15",
    "peer gone",
    "Do both sides learn in time, and by the right error, that the other host has crashed, rebooted or become unreachable?",
    drive,
)
.connections(CONNECTIONS + 1)
.arguments(&["--keepalive", "1s"])
.network(HOSTS)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "a UDP server keeps no state about a peer that could be gone",
)];

/// One host each that crashes, that reboots, that becomes unreachable and that is unreachable for a
/// while, and one without a fault.
const HOSTS: usize = 5;

/// Three with the host that crashes, and one with each of the next three.
const CONNECTIONS: usize = 6;

/// Connections that are lost without a packet to the server.
const LOST: usize = 4;

/// For the server and a client: the idle time, and the interval of the three probes, so that a
/// connection ends after four times this.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// How long data of a client may be unacknowledged. Linux defaults to 15 minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(3);

/// The same for an unreachable host: each ICMP message makes the kernel retry sooner (RFC 6069), so
/// it gives up at most two seconds later.
const USER_TIMEOUT_OUT_OF_REACH: Duration = Duration::from_secs(1);

/// A crash cannot be noticed earlier: both times above are longer.
const NOT_BEFORE: Duration = Duration::from_millis(2500);

/// A crash must be noticed by then: twice the sum of the times above.
const LEARNT_WITHIN: Duration = Duration::from_secs(8);

/// A reset or an ICMP message takes milliseconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// A connection that does not end within this time continues: the router has answered the data and
/// the first retransmission by then.
const GOES_ON: Duration = Duration::from_millis(300);

const MESSAGE: &[u8] = b"are you there?\n";

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let network = server.network().context("the case runs in a network")?;
    let peers = &Peers {
        network,
        address: server.address(),
    };
    let [crashed, rebooted, unreachable, away, _] = network.clients() else {
        bail!("the network does not have {HOSTS} client hosts");
    };
    let to_away = peers.connect(away)?;
    let [idle, timed, busy] = [(); 3].map(|()| peers.connect(crashed));
    let (idle, timed, busy) = (idle?, timed?, busy?);
    let (to_rebooted, to_unreachable) = (peers.connect(rebooted)?, peers.connect(unreachable)?);
    // Clients that are not served yet wait in the backlog, where keepalive already works.
    let all = [&to_away, &idle, &timed, &busy, &to_rebooted, &to_unreachable];
    for stream in all.into_iter().take(server.served_of(CONNECTIONS)) {
        send(stream)?;
        expect_reply(stream).context("before any fault")?;
    }
    peers.expect_all_acknowledged()?;
    network.impose(Fault::Crashed, crashed)?;
    let start = Instant::now();
    let observations: Vec<String> = thread::scope(|scope| {
        let scenes = [
            scope.spawn(move || after_crash(start, &idle, &timed, &busy)),
            scope.spawn(move || after_reboot(peers, rebooted, &to_rebooted)),
            scope.spawn(move || out_of_reach(peers, unreachable, &to_unreachable)),
            scope.spawn(move || out_of_reach_for_a_while(peers, away, &to_away)),
        ];
        let own = survives_and_releases(server, peers, start);
        let clients = scenes.into_iter().map(end_of);
        clients.chain(iter::once(own)).collect::<anyhow::Result<_>>()
    })?;
    for observation in observations {
        server.note(observation);
    }
    Ok(())
}

/// The server's host has crashed: idle clients notice by keepalive, and those that have sent
/// something by a time-out.
fn after_crash(
    start: Instant,
    idle: &TcpStream,
    timed: &TcpStream,
    busy: &TcpStream,
) -> anyhow::Result<String> {
    let probes = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(3);
    SockRef::from(idle).set_tcp_keepalive(&probes)?;
    SockRef::from(busy).set_tcp_keepalive(&probes)?;
    SockRef::from(timed).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    send(timed)?;
    send(busy)?;
    let learns = |stream| {
        let time = expect_error(stream, Errno::ETIMEDOUT, start, LEARNT_WITHIN)?;
        ensure!(
            time >= NOT_BEFORE,
            "{time:?} after a crash it cannot be noticed yet"
        );
        Ok(time)
    };
    // In the order of their time limits.
    let timed = learns(timed).context("a client that sends after a crash, with a time-out")?;
    let idle = learns(idle).context("a client that is idle after a crash, with keepalive")?;
    expect_nothing(busy).context("a client with data outstanding, for which keepalive does nothing")?;
    Ok(format!(
        "clients of a crashed host saw ETIMEDOUT after {timed:.1?} by a time-out and {idle:.1?} by keepalive"
    ))
}

/// The server's host has rebooted and does not know the connection. Afterwards the server meets
/// such a host: the client's connection was reset.
fn after_reboot(peers: &Peers, host: &Host, stream: &TcpStream) -> anyhow::Result<String> {
    peers.network.impose(Fault::Rebooted, host)?;
    send(stream)?;
    expect_error(stream, Errno::ECONNRESET, Instant::now(), ANSWERED_WITHIN)
        .context("a client that sends after a reboot")?;
    peers.network.lift(Fault::Rebooted, host)?;
    Ok("those of a rebooted host saw ECONNRESET at the next send".into())
}

/// The server's host has become unreachable.
fn out_of_reach(peers: &Peers, host: &Host, stream: &TcpStream) -> anyhow::Result<String> {
    peers.network.impose(Fault::Unreachable, host)?;
    let start = Instant::now();
    match peers.connect(host) {
        Ok(_) => bail!("a client has connected to an unreachable host"),
        Err(error) => check(&error.downcast()?, Errno::EHOSTUNREACH, start, ANSWERED_WITHIN)?,
    };
    SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT_OUT_OF_REACH))?;
    send(stream)?;
    expect_error(stream, Errno::EHOSTUNREACH, Instant::now(), LEARNT_WITHIN)
        .context("a client that sends to an unreachable host")?;
    Ok("those of an unreachable host saw EHOSTUNREACH".into())
}

/// The server's host is unreachable for a while, and the connection survives.
fn out_of_reach_for_a_while(peers: &Peers, host: &Host, stream: &TcpStream) -> anyhow::Result<String> {
    peers.network.impose(Fault::Unreachable, host)?;
    send(stream)?;
    expect_nothing(stream).context("a connection to a host that is unreachable for a while")?;
    peers.network.lift(Fault::Unreachable, host)?;
    expect_reply(stream).context("after the host had become reachable again")?;
    Ok("those of a host that became reachable again got their reply".into())
}

/// The server survives, serves others, and releases the lost connections once it can know that they
/// are lost.
fn survives_and_releases(server: &ServerUnderTest, peers: &Peers, start: Instant) -> anyhow::Result<String> {
    if server.concurrency() != Some(1) {
        let served = server
            .connect_within(NOT_BEFORE)
            .and_then(|mut client| client.echo(MESSAGE));
        served.context("a client from another host, in addition to the lost connections")?;
    }
    thread::sleep(NOT_BEFORE.saturating_sub(start.elapsed()));
    let connections = peers.connections()?;
    let held = connections
        .iter()
        .filter(|one| one.state == TcpState::Established)
        .count();
    ensure!(
        held >= LOST || start.elapsed() > 3 * KEEPALIVE,
        "{:?} after a crash, before the third probe, the server had only {held} of {LOST} lost connections",
        start.elapsed()
    );
    let released = || server.resources().is_ok_and(|now| now == server.baseline());
    ensure!(
        wait_until(LEARNT_WITHIN.saturating_sub(start.elapsed()), released),
        "{LEARNT_WITHIN:?} after the hosts of its clients had failed the server had not released everything: {}",
        server.resources()?.difference(&server.baseline())
    );
    Ok(format!(
        "the server released their connections after {:.1?}",
        start.elapsed()
    ))
}

/// The server as its clients see it.
struct Peers<'a> {
    network: &'a Network,
    address: SocketAddr,
}

impl Peers<'_> {
    fn connect(&self, host: &Host) -> anyhow::Result<TcpStream> {
        Ok(host.run(|| TcpStream::connect_timeout(&self.address, STALL))??)
    }

    /// The server's sides of all connections.
    fn connections(&self) -> anyhow::Result<Vec<Socket>> {
        let port = self.address.port();
        Ok(self.network.server().run(|| resources::connections(port))??)
    }

    /// Keepalive does not apply while a reply is unacknowledged, and an acknowledgement may be
    /// delayed by 40 ms.
    fn expect_all_acknowledged(&self) -> anyhow::Result<()> {
        let acknowledged = || {
            let connections = self.connections();
            connections.is_ok_and(|all| all.iter().all(|one| one.unsent_bytes == 0))
        };
        ensure!(
            wait_until(STALL, acknowledged),
            "a reply was not acknowledged for {STALL:?}"
        );
        Ok(())
    }
}

fn send(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(MESSAGE)
}

fn expect_reply(mut stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    let mut reply = [0; MESSAGE.len()];
    stream.read_exact(&mut reply)?;
    ensure!(reply == MESSAGE, "another message came back: {reply:?}");
    Ok(())
}

/// No data, no error and no close.
fn expect_nothing(mut stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(GOES_ON))?;
    match stream.read(&mut [0; 1]) {
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Ok(()),
        Err(error) => bail!("it failed: {error}"),
        Ok(length) => bail!("a read returned {length}"),
    }
}

fn expect_error(
    mut stream: &TcpStream,
    due: Errno,
    start: Instant,
    within: Duration,
) -> anyhow::Result<Duration> {
    stream.set_read_timeout(Some(within))?;
    match stream.read(&mut [0; 1]) {
        Ok(length) => bail!("a read returned {length} instead of {due}"),
        Err(error) => check(&error, due, start, within),
    }
}

/// Checks an error and when it came; returns the time.
fn check(error: &io::Error, due: Errno, start: Instant, within: Duration) -> anyhow::Result<Duration> {
    let time = start.elapsed();
    ensure!(
        error.raw_os_error() == Some(due as i32) && time <= within,
        "after {time:?} there was `{error}`; expected is {due} within {within:?}"
    );
    Ok(time)
}

fn end_of<T>(scene: ScopedJoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    scene.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
