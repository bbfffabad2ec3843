//! C16: clients that write and never read.
//!
//! The case measures the cost of not reading, not the cost of a crowd: the same clients are first
//! connected and idle, and the server is compared with itself. Kernel buffers are bounded by the
//! kernel and not counted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C16",
    "never reads",
    "Does a client that writes 64 MiB and reads nothing cost the server less than 1 MiB, and the others nothing?",
    drive,
)
.over_udp(drive_datagrams)
.connections(SILENT + OTHERS)
.full_form(FULL_SILENT + OTHERS)
// A client may hold one buffer by contract: a quarter of the limit of the full form.
.arguments(&["--buffer", "16KiB"])
.exclusive()
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Sequential,
    "it serves one client at a time: while that one does not read, the others wait",
)];

/// Clients that never read.
const SILENT: usize = 1;
const FULL_SILENT: usize = 1_000;

/// Clients that are active meanwhile.
const OTHERS: usize = 10;

/// What each silent client tries to write.
const MESSAGE_BYTES: usize = 64 << 20;

/// Memory limit for the one, and for each of a thousand.
const BYTES: u64 = 1 << 20;
const FULL_BYTES: u64 = 64 << 10;

/// Allowed factor on the p99 of the others' latency.
const SLOWER: u32 = 2;

/// Below this the scheduler decides: an answer takes ten microseconds or a hundred, depending on
/// whether the threads run on one processor or two, and that lasts for a while.
const SCHEDULING: Duration = Duration::from_micros(250);

/// Echoes in a window; fewer if they take so long that the window would not end. Few milliseconds,
/// so that on a busy host some windows pass while neither side waits for a processor.
const ECHOES: usize = 200;
const FEWEST_ECHOES: usize = 100;
const WINDOW: Duration = Duration::from_millis(200);

/// Noise only adds latency, so the best of several windows counts, in a row and again in further
/// rounds: at least two, and more while the limit is exceeded.
const WINDOWS: usize = 25;
const ROUNDS: usize = 2;
const MOST_ROUNDS: usize = 30;

/// Shorter than the buffer, the longest datagram that is answered.
const DATAGRAM_BYTES: usize = 8 << 10;

/// Threads that fill connections, because each fill waits until the connection takes no more.
const FILLERS: usize = 64;

/// Time for the server to notice that the clients have gone. Of a thousand resets at once the
/// kernel drops some; the next probe of the server detects those clients.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// The message of the others.
const QUESTION: [u8; 64] = [b'?'; 64];

/// Measurements of the server in one state.
#[derive(Clone, Copy)]
struct Seen {
    bytes: u64,
    p99: Duration,
}

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    match server.concurrency() {
        Some(1) => the_next_one_waits(server),
        _ => compare(server, fill),
    }
}

/// The server sends to a full receive buffer, where datagrams are dropped.
fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    compare(server, flood)
}

/// The client blocks those behind it until it closes, within the same memory limit.
fn the_next_one_waits(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let silent = server.connect_clients(1)?;
    let idle = server.memory_bytes()?;
    fill(server, &silent)?;
    let grown = server.memory_bytes()?.saturating_sub(idle);
    ensure_memory_below(grown, 1, BYTES)?;
    let mut next = server.connect()?;
    next.send(&QUESTION)?;
    drop(silent);
    next.receive(&QUESTION)
        .context("the next client was not answered after the one that did not read had gone")
}

/// Compares the server before and after `occupy` until the best measurements of both decide.
fn compare(
    server: &mut ServerUnderTest,
    occupy: fn(&ServerUnderTest, &[Client]) -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let silent = server.by_scale(SILENT, FULL_SILENT);
    let most = server.by_scale(BYTES, FULL_BYTES);
    let mut others = server.connect_clients(OTHERS)?;
    let (mut idle_p99, mut stuck_p99) = (Duration::MAX, Duration::MAX);
    let (mut grown, mut sent) = (0, 0);
    for round in 1..=MOST_ROUNDS {
        let crowd = connect(server, silent)?;
        let idle = measure(server, &mut others)?;
        sent = occupy(server, &crowd)?;
        let stuck = measure(server, &mut others).with_context(|| {
            format!("beside {silent} clients that had sent {sent} bytes and did not read")
        })?;
        // Memory stays with the process, so the first round shows the growth.
        grown = grown.max(stuck.bytes.saturating_sub(idle.bytes));
        ensure_memory_below(grown, silent, most)?;
        (idle_p99, stuck_p99) = (idle_p99.min(idle.p99), stuck_p99.min(stuck.p99));
        if round >= ROUNDS && stuck_p99 <= allowed(idle_p99) {
            break;
        }
    }
    drop(others);
    // The checks after every case report what is not released by then.
    wait_until(GONE_WITHIN, || {
        server.resources().is_ok_and(|now| now == server.baseline())
    });
    server.note(format!(
        "{silent} that did not read had sent {sent} bytes and cost {} bytes each",
        grown / silent as u64
    ));
    server.note(format!(
        "the others' p99 was {stuck_p99:?} beside them, {idle_p99:?} before"
    ));
    ensure!(
        stuck_p99 <= allowed(idle_p99),
        "beside {silent} clients that did not read, the others' p99 was {stuck_p99:?}; it was {idle_p99:?} while those \
         were idle"
    );
    Ok(())
}

fn allowed(idle_p99: Duration) -> Duration {
    SCHEDULING.max(idle_p99 * SLOWER)
}

fn ensure_memory_below(grown: u64, silent: usize, most: u64) -> anyhow::Result<()> {
    let each = grown / silent as u64;
    ensure!(
        each <= most,
        "the server's memory grew by {each} bytes for each of {silent} clients that did not read; the limit is \
         {most}"
    );
    Ok(())
}

/// Clients that have had an echo. In a crowd, with small kernel buffers.
fn connect(server: &ServerUnderTest, clients: usize) -> anyhow::Result<Vec<Client>> {
    if clients == SILENT || server.is(Kind::Datagram) {
        return server.connect_clients(clients);
    }
    let connect = |_| {
        let mut client = Client::connect_narrow(server.address())?;
        client.echo(&QUESTION)?;
        Ok(client)
    };
    (0..clients).map(connect).collect()
}

/// Makes each client write until its connection is full; returns the sum of bytes.
fn fill(_: &ServerUnderTest, clients: &[Client]) -> anyhow::Result<usize> {
    let message = &vec![0; MESSAGE_BYTES];
    thread::scope(|scope| {
        let share = clients.len().div_ceil(FILLERS);
        let fillers: Vec<_> = clients
            .chunks(share)
            .map(|share| {
                scope.spawn(move || {
                    share
                        .iter()
                        .map(|client| client.fill(message))
                        .sum::<anyhow::Result<usize>>()
                })
            })
            .collect();
        fillers
            .into_iter()
            .map(|filler| filler.join().expect("filling does not panic"))
            .sum()
    })
}

/// Sends the same amount in datagrams, over all clients, and waits until the server has handled
/// them.
fn flood(server: &ServerUnderTest, clients: &[Client]) -> anyhow::Result<usize> {
    let datagram = [0; DATAGRAM_BYTES];
    let datagrams = MESSAGE_BYTES / DATAGRAM_BYTES / clients.len();
    for client in clients {
        (0..datagrams).try_for_each(|_| client.send(&datagram))?;
    }
    let answers = || {
        let fresh = server.connect_within(Duration::from_millis(100));
        fresh.and_then(|mut fresh| fresh.echo(&QUESTION)).is_ok()
    };
    ensure!(
        wait_until(STALL, answers),
        "after {datagrams} datagrams no client was answered for {STALL:?}"
    );
    Ok(clients.len() * datagrams * DATAGRAM_BYTES)
}

fn measure(server: &ServerUnderTest, others: &mut [Client]) -> anyhow::Result<Seen> {
    let windows: anyhow::Result<Vec<_>> = (0..WINDOWS).map(|_| p99(others)).collect();
    Ok(Seen {
        p99: windows?.into_iter().min().unwrap_or_default(),
        bytes: server.memory_bytes()?,
    })
}

/// The p99 of the others' latency. They take turns, so that none waits for another.
fn p99(others: &mut [Client]) -> anyhow::Result<Duration> {
    let mut times = Vec::with_capacity(ECHOES);
    let asking = others.len();
    let begun = Instant::now();
    for number in 0..ECHOES {
        if number >= FEWEST_ECHOES && begun.elapsed() > WINDOW {
            break;
        }
        let start = Instant::now();
        others[number % asking]
            .echo(&QUESTION)
            .context("another client was not answered")?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() * 99 / 100])
}
