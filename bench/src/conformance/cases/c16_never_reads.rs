//! C16: clients that write and never read.
//!
//! What it costs is asked that they do not read, not what a crowd costs: the same clients
//! are first connected and idle, and the server is compared with itself. What the kernel
//! holds for a connection is bounded by the kernel, and not counted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use servers::by_design::Kind;

use super::client::{Client, STALL, wait_until};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C16",
    "never reads",
    "Does a client that writes 64 MiB and reads nothing cost the server less than 1 MiB, and the others nothing?",
    drive,
)
.over_datagrams(drive_datagrams)
.room(SILENT + OTHERS)
.full(FULL_SILENT + OTHERS)
// A buffer is what a client may hold, by contract: a quarter of what is allowed at full scale.
.arguments(&["--buffer", "16KiB"])
.alone();

/// Clients that never read.
const SILENT: usize = 1;
const FULL_SILENT: usize = 1_000;

/// Clients that go on meanwhile.
const OTHERS: usize = 10;

/// What each of the silent ones would write.
const MESSAGE_BYTES: usize = 64 << 20;

/// The most memory for the one, and for each of a thousand.
const BYTES: u64 = 1 << 20;
const FULL_BYTES: u64 = 64 << 10;

/// How much longer the others may wait for their answers, which is said of the 99th of 100.
const SLOWER: u32 = 2;

/// Below that it is the scheduler that decides: an answer takes ten microseconds or a hundred
/// as it puts the threads on one processor or on two, and keeps to that for a while.
const SCHEDULING: Duration = Duration::from_micros(250);

/// Answers that make a window, enough for ten of them to be beyond the 99th percentile; fewer
/// where they take so long that the window would not end.
const ECHOES: usize = 1_000;
const FEWEST_ECHOES: usize = 100;
const WINDOW: Duration = Duration::from_millis(200);

/// Noise only adds, so that the best of several windows counts, one after another and again
/// in further rounds: two at least, and at most so many where the bound does not hold yet.
const WINDOWS: usize = 5;
const ROUNDS: usize = 2;
const MOST_ROUNDS: usize = 10;

/// Less than the buffer, which is the longest datagram that is answered.
const DATAGRAM_BYTES: usize = 8 << 10;

/// Clients are filled by so many threads, since each waits until nothing goes any more.
const FILLERS: usize = 64;

/// Time for the server to notice that they have gone. The kernel drops resets where a
/// thousand come at once, and then the server's next probe has to find out.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// What the others ask.
const QUESTION: [u8; 64] = [b'?'; 64];

/// What one state of the server was seen to cost.
#[derive(Clone, Copy)]
struct Seen {
    bytes: u64,
    p99: Duration,
}

fn drive(running: &mut Running) -> anyhow::Result<()> {
    match running.at_once() {
        Some(1) => the_next_one_waits(running),
        _ => compare(running, fill),
    }
}

/// A server of datagrams sends to a queue that is full, and what it sends is dropped.
fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    compare(running, flood)
}

/// A client is in the way of those behind it until it ends, and costs no more than anywhere.
fn the_next_one_waits(running: &mut Running) -> anyhow::Result<()> {
    let silent = running.crowd(1)?;
    let idle = running.memory_bytes()?;
    fill(running, &silent)?;
    let grown = running.memory_bytes()?.saturating_sub(idle);
    ensure_little(grown, 1, BYTES)?;
    let mut next = running.client()?;
    next.send(&QUESTION)?;
    drop(silent);
    next.receive(&QUESTION)
        .context("the next client was not answered after the one that does not read had gone")
}

/// Puts the server before and after `occupy` side by side until the best of each say
/// whether it holds.
fn compare(
    running: &mut Running,
    occupy: fn(&Running, &[Client]) -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let silent = running.pick(SILENT, FULL_SILENT);
    let most = running.pick(BYTES, FULL_BYTES);
    let mut others = running.crowd(OTHERS)?;
    let (mut idle_p99, mut stuck_p99) = (Duration::MAX, Duration::MAX);
    let (mut grown, mut sent) = (0, 0);
    for round in 1..=MOST_ROUNDS {
        let crowd = connect(running, silent)?;
        let idle = look(running, &mut others)?;
        sent = occupy(running, &crowd)?;
        let stuck = look(running, &mut others)
            .with_context(|| format!("beside {silent} that had sent {sent} bytes and did not read"))?;
        // The memory is the server's for good once it has had it: the first round shows it.
        grown = grown.max(stuck.bytes.saturating_sub(idle.bytes));
        ensure_little(grown, silent, most)?;
        (idle_p99, stuck_p99) = (idle_p99.min(idle.p99), stuck_p99.min(stuck.p99));
        if round >= ROUNDS && stuck_p99 <= allowed(idle_p99) {
            break;
        }
    }
    drop(others);
    // What is not given back by then, every case ends with finding.
    wait_until(GONE_WITHIN, || {
        running.holdings().is_ok_and(|now| now == running.baseline())
    });
    running.saw(format!(
        "{silent} that did not read had sent {sent} bytes and cost {} bytes each",
        grown / silent as u64
    ));
    running.saw(format!(
        "the others' p99 was {stuck_p99:?} beside them, and {idle_p99:?} before"
    ));
    ensure!(
        stuck_p99 <= allowed(idle_p99),
        "beside {silent} clients that did not read, the others' p99 was {stuck_p99:?}, and {idle_p99:?} while those \
         were idle"
    );
    Ok(())
}

fn allowed(idle_p99: Duration) -> Duration {
    SCHEDULING.max(idle_p99 * SLOWER)
}

fn ensure_little(grown: u64, silent: usize, most: u64) -> anyhow::Result<()> {
    let each = grown / silent as u64;
    ensure!(
        each <= most,
        "the server's memory grew by {each} bytes for each of {silent} that sent and did not read, where {most} are \
         allowed"
    );
    Ok(())
}

/// Clients that have had an echo. A thousand of them ask little of the kernel.
fn connect(running: &Running, clients: usize) -> anyhow::Result<Vec<Client>> {
    if clients == SILENT || running.kinds().contains(&Kind::Datagrams) {
        return running.crowd(clients);
    }
    let connect = |_| {
        let mut client = Client::connect_narrow(running.address())?;
        client.echo(&QUESTION)?;
        Ok(client)
    };
    (0..clients).map(connect).collect()
}

/// Lets each write as far as it goes, and returns how much all have.
fn fill(_: &Running, clients: &[Client]) -> anyhow::Result<usize> {
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

/// Sends it in datagrams, all clients together so much, and waits until the server is through with them.
fn flood(running: &Running, clients: &[Client]) -> anyhow::Result<usize> {
    let datagram = [0; DATAGRAM_BYTES];
    let datagrams = MESSAGE_BYTES / DATAGRAM_BYTES / clients.len();
    for client in clients {
        (0..datagrams).try_for_each(|_| client.send(&datagram))?;
    }
    let answers = || {
        let fresh = running.client_within(Duration::from_millis(100));
        fresh.and_then(|mut fresh| fresh.echo(&QUESTION)).is_ok()
    };
    ensure!(
        wait_until(STALL, answers),
        "after {datagrams} datagrams nobody was answered for {STALL:?}"
    );
    Ok(clients.len() * datagrams * DATAGRAM_BYTES)
}

fn look(running: &Running, others: &mut [Client]) -> anyhow::Result<Seen> {
    let windows: anyhow::Result<Vec<_>> = (0..WINDOWS).map(|_| p99(others)).collect();
    Ok(Seen {
        p99: windows?.into_iter().min().unwrap_or_default(),
        bytes: running.memory_bytes()?,
    })
}

/// Of what the others wait for their answers. They ask in turn, so that none waits for
/// another.
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
