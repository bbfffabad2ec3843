//! C15: hosts that crash, reboot or cannot be reached.
//!
//! What a client's side sees is the kernel's doing and the same for every server: it shows
//! that the hosts are gone in the way that they should be. The server's side is the
//! server's own: with `--keepalive` the kernel tells it, by an error on each connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{iter, panic};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use socket2::{SockRef, TcpKeepalive};

use super::client::{STALL, wait_until};
use super::fault::network::{Fault, Host, Network};
use super::observe::{self, Connection};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C15",
    "peer gone",
    "Do both sides learn in the stated time, and by the right error, that the other host has crashed, rebooted or cannot be reached?",
    drive,
)
.room(CONNECTIONS + 1)
.arguments(&["--keepalive", "1s"])
.network(HOSTS);

/// One that crashes, one that reboots, one that comes out of reach, one that is so for a
/// while, and the one of a client to which nothing happens.
const HOSTS: usize = 5;

/// Three with the host that crashes, and one with each of the next three.
const CONNECTIONS: usize = 6;

/// So many of them are lost without a word to the server.
const LOST: usize = 4;

/// What the server is told, and what a client sets: the idle time, and the time between the
/// three probes, so that the end comes after four of it.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// How long a client lets data be outstanding. Where nothing is set, Linux takes 15 minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(3);

/// The same where a router says that the host is out of reach: at each word of it the kernel
/// tries again sooner (RFC 6069), and gives up up to two seconds later.
const USER_TIMEOUT_OUT_OF_REACH: Duration = Duration::from_secs(1);

/// Before that nobody can know of a crash: both times above are longer.
const NOT_BEFORE: Duration = Duration::from_millis(2500);

/// By then everybody knows: twice what the times above come to.
const LEARNT_WITHIN: Duration = Duration::from_secs(8);

/// A reset, or a router's word, takes milliseconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// A connection that does not end in this time goes on: the router has answered the data and
/// the first retransmission by then.
const GOES_ON: Duration = Duration::from_millis(300);

const MESSAGE: &[u8] = b"are you there?\n";

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let network = running.network().context("the case has asked for a network")?;
    let server = &Server {
        network,
        address: running.address(),
    };
    let [crashed, rebooted, unreachable, away, _] = network.clients() else {
        bail!("the case has asked for {HOSTS} hosts");
    };
    let to_away = server.connect(away)?;
    let [idle, timed, busy] = [(); 3].map(|()| server.connect(crashed));
    let (idle, timed, busy) = (idle?, timed?, busy?);
    let (to_rebooted, to_unreachable) = (server.connect(rebooted)?, server.connect(unreachable)?);
    // What is not served yet waits in the backlog, where the kernel looks after it already.
    let all = [&to_away, &idle, &timed, &busy, &to_rebooted, &to_unreachable];
    for stream in all.into_iter().take(running.served_of(CONNECTIONS)) {
        send(stream)?;
        expect_reply(stream).context("before anything had happened")?;
    }
    server.expect_all_acknowledged()?;
    network.impose(Fault::Crashed, crashed)?;
    let start = Instant::now();
    let saw: Vec<String> = thread::scope(|scope| {
        let stories = [
            scope.spawn(move || after_crash(start, &idle, &timed, &busy)),
            scope.spawn(move || after_reboot(server, rebooted, &to_rebooted)),
            scope.spawn(move || out_of_reach(server, unreachable, &to_unreachable)),
            scope.spawn(move || out_of_reach_for_a_while(server, away, &to_away)),
        ];
        let own = serves_and_gives_back(running, server, start);
        let clients = stories.into_iter().map(end_of);
        clients.chain(iter::once(own)).collect::<anyhow::Result<_>>()
    })?;
    saw.into_iter().for_each(|what| running.saw(what));
    Ok(())
}

/// The server's host has crashed: clients learn it by keepalive if they are idle, and by a
/// time-out if they have sent something.
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
        ensure!(time >= NOT_BEFORE, "{time:?} after a crash nobody can know of it");
        Ok(time)
    };
    // In the order in which they are due.
    let timed = learns(timed).context("a client that sends after a crash, with a time-out")?;
    let idle = learns(idle).context("a client that is idle after a crash, with keepalive")?;
    expect_nothing(busy).context("a client with data outstanding, for which keepalive does nothing")?;
    Ok(format!(
        "clients of a crashed host saw ETIMEDOUT after {timed:.1?} by a time-out and {idle:.1?} by keepalive"
    ))
}

/// The server's host is back and knows nothing of the connection. After that it is the
/// server which finds such a host: the client's has had its reset.
fn after_reboot(server: &Server, host: &Host, stream: &TcpStream) -> anyhow::Result<String> {
    server.network.impose(Fault::Rebooted, host)?;
    send(stream)?;
    expect_error(stream, Errno::ECONNRESET, Instant::now(), ANSWERED_WITHIN)
        .context("a client that sends after a reboot")?;
    server.network.lift(Fault::Rebooted, host)?;
    Ok("of a rebooted one ECONNRESET at the next send".into())
}

/// The server's host cannot be reached.
fn out_of_reach(server: &Server, host: &Host, stream: &TcpStream) -> anyhow::Result<String> {
    server.network.impose(Fault::Unreachable, host)?;
    let start = Instant::now();
    match server.connect(host) {
        Ok(_) => bail!("a client has connected to a host that is out of reach"),
        Err(error) => check(&error.downcast()?, Errno::EHOSTUNREACH, start, ANSWERED_WITHIN)?,
    };
    SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT_OUT_OF_REACH))?;
    send(stream)?;
    expect_error(stream, Errno::EHOSTUNREACH, Instant::now(), LEARNT_WITHIN)
        .context("a client that sends to a host which is out of reach")?;
    Ok("of one out of reach EHOSTUNREACH".into())
}

/// The server's host cannot be reached for a while, which a connection outlives.
fn out_of_reach_for_a_while(server: &Server, host: &Host, stream: &TcpStream) -> anyhow::Result<String> {
    server.network.impose(Fault::Unreachable, host)?;
    send(stream)?;
    expect_nothing(stream).context("a connection to a host that may come in reach again")?;
    server.network.lift(Fault::Unreachable, host)?;
    expect_reply(stream).context("after the host had come in reach again")?;
    Ok("of one that came in reach again their reply".into())
}

/// The server lives on, serves others, and gives back what the lost connections took, once
/// it can know that they are lost.
fn serves_and_gives_back(running: &Running, server: &Server, start: Instant) -> anyhow::Result<String> {
    if running.at_once() != Some(1) {
        let served = running
            .client_within(NOT_BEFORE)
            .and_then(|mut client| client.echo(MESSAGE));
        served.context("a client from another host, beside those that were lost")?;
    }
    thread::sleep(NOT_BEFORE.saturating_sub(start.elapsed()));
    let connections = server.connections()?;
    let held = connections.iter().filter(|one| one.is_established()).count();
    ensure!(
        held >= LOST || start.elapsed() > 3 * KEEPALIVE,
        "{:?} after a crash the server had kept {held} of {LOST} lost connections, before their third probe",
        start.elapsed()
    );
    let given_back = || running.holdings().is_ok_and(|now| now == running.baseline());
    ensure!(
        wait_until(LEARNT_WITHIN.saturating_sub(start.elapsed()), given_back),
        "{LEARNT_WITHIN:?} after the hosts of its clients had gone the server had not given everything back: {}",
        running.holdings()?.difference(&running.baseline())
    );
    Ok(format!(
        "the server gave back what they took after {:.1?}",
        start.elapsed()
    ))
}

/// The server as its clients find it.
struct Server<'a> {
    network: &'a Network,
    address: SocketAddr,
}

impl Server<'_> {
    fn connect(&self, host: &Host) -> anyhow::Result<TcpStream> {
        Ok(host.run(|| TcpStream::connect_timeout(&self.address, STALL))??)
    }

    /// Its sides of all connections.
    fn connections(&self) -> anyhow::Result<Vec<Connection>> {
        let port = self.address.port();
        Ok(self.network.server().run(|| observe::connections(port))??)
    }

    /// An acknowledgement may be put off for 40 ms, and keepalive is for connections that are
    /// idle: with a reply outstanding.
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

/// Neither a byte nor an error nor the end.
fn expect_nothing(mut stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(GOES_ON))?;
    match stream.read(&mut [0; 1]) {
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Ok(()),
        Err(error) => bail!("it was ended by an error: {error}"),
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
        Ok(length) => bail!("a read returned {length} where {due} was due"),
        Err(error) => check(&error, due, start, within),
    }
}

/// How long it took until the error came that was due.
fn check(error: &io::Error, due: Errno, start: Instant, within: Duration) -> anyhow::Result<Duration> {
    let time = start.elapsed();
    ensure!(
        error.raw_os_error() == Some(due as i32) && time <= within,
        "after {time:?} there was `{error}` where {due} was due within {within:?}"
    );
    Ok(time)
}

fn end_of<T>(story: ScopedJoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    story.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
