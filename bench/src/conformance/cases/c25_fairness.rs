//! C25: one client that sends without pause.
//!
//! Two conditions define a fair share, and both must hold: each of ten ping-pong clients gets at
//! least a twentieth of the answers that it gets without the firehose, and a twentieth of those of
//! the best of the ten beside it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::conformance::kit::background_load::SetOnDrop;
use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C25",
    "fairness",
    "Beside a firehose, does each of ten ping-pong clients get a fair share?",
    drive,
)
.connections(CLIENTS + 1)
.exclusive()
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[
    Exemption::new(
        Kind::Sequential,
        "it serves one client at a time: while that one sends, the others wait",
    ),
    Exemption::new(
        Kind::Datagram,
        "what a firehose crowds out of the kernel's queue is lost, not late",
    ),
];

/// Clients that send and wait for the answer.
const CLIENTS: usize = 10;

/// A client must get at least one part in this many of its own answers, and of those of the best
/// client.
const SHARE: u64 = 20;

/// Time in which answers are counted, long enough for a twentieth to be a number. On a busy host it
/// is extended until each client has enough answers to share.
const WINDOW: Duration = Duration::from_millis(150);

/// Noise takes from either side, so one round in which all have their share is enough.
const ROUNDS: usize = 10;

/// From then on it is a firehose, past the start of the connection.
const FLOWING_BYTES: usize = 1 << 20;

/// One write of the firehose.
static PIECE: [u8; 256 << 10] = [7; 256 << 10];
const QUESTION: [u8; 64] = [b'?'; 64];

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let address = server.address();
    if server.concurrency() == Some(1) {
        let mut waiting = beside_firehose(address, |_| {
            let client = server.connect()?;
            client.send(&QUESTION)?;
            Ok(client)
        })?;
        let waited = waiting.receive(&QUESTION);
        return waited.context("the next client was not answered after the firehose had ended");
    }
    let mut crowd = server.connect_clients(CLIENTS)?;
    let mut round = 0;
    loop {
        round += 1;
        let start = Instant::now();
        let alone = answers(&mut crowd, &AtomicBool::new(false), |counts| {
            let can_share = || counts.iter().all(|count| count.load(Relaxed) >= SHARE);
            wait_until(STALL, || start.elapsed() >= WINDOW && can_share());
        })?;
        let window = start.elapsed();
        let beside = beside_firehose(address, |over| {
            answers(&mut crowd, over, |_| thread::sleep(window))
        })?;
        let shares = judge(&alone, &beside, window);
        if shares.is_ok() || round == ROUNDS {
            server.note(shares?);
            return Ok(());
        }
    }
}

/// Runs something while a client writes and reads as fast as it can.
fn beside_firehose<T>(
    address: SocketAddr,
    run: impl FnOnce(&AtomicBool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let stream = &TcpStream::connect(address)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let (over, moved) = (&AtomicBool::new(false), &AtomicUsize::new(0));
    thread::scope(|scope| {
        let writing = scope.spawn(move || -> anyhow::Result<()> {
            while !over.load(Relaxed) {
                { stream }.write_all(&PIECE)?;
            }
            Ok(stream.shutdown(Shutdown::Write)?)
        });
        let reading = scope.spawn(move || -> anyhow::Result<()> {
            let mut sink = vec![0; PIECE.len()];
            while let length @ 1.. = { stream }.read(&mut sink)? {
                moved.fetch_add(length, Relaxed);
            }
            Ok(())
        });
        let flows = wait_until(STALL, || moved.load(Relaxed) > FLOWING_BYTES);
        let raised = SetOnDrop(over);
        let done = run(over);
        drop(raised);
        let ends = [writing, reading].map(|end| end.join().expect("it returns its errors"));
        ends.into_iter()
            .collect::<anyhow::Result<()>>()
            .context("the firehose")?;
        ensure!(
            flows,
            "only {} bytes of a firehose came back in {STALL:?}",
            moved.load(Relaxed)
        );
        done
    })
}

/// Counts the answers of each client until `wait` returns.
fn answers(
    crowd: &mut [Client],
    over: &AtomicBool,
    wait: impl FnOnce(&[AtomicU64]),
) -> anyhow::Result<Vec<u64>> {
    let counts: Vec<_> = crowd.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        let ask = |(client, count)| scope.spawn(move || ask(client, count, over));
        let asking: Vec<_> = crowd.iter_mut().zip(&counts).map(ask).collect();
        wait(&counts);
        over.store(true, Relaxed);
        asking
            .into_iter()
            .try_for_each(|client| client.join().expect("it returns its errors"))
    })?;
    Ok(counts.into_iter().map(AtomicU64::into_inner).collect())
}

/// Asks until the window is over, and counts the answers within it.
fn ask(client: &mut Client, answers: &AtomicU64, over: &AtomicBool) -> anyhow::Result<()> {
    while !over.load(Relaxed) {
        client
            .echo(&QUESTION)
            .context("a client beside a firehose was not answered")?;
        answers.fetch_add(u64::from(!over.load(Relaxed)), Relaxed);
    }
    Ok(())
}

fn judge(alone: &[u64], beside: &[u64], window: Duration) -> anyhow::Result<String> {
    let best = beside.iter().copied().max().unwrap_or_default();
    for (number, (alone, beside)) in alone.iter().zip(beside).enumerate() {
        ensure!(
            *alone >= SHARE,
            "without a firehose there were only {alone} answers in {window:?}"
        );
        ensure!(
            beside * SHARE >= *alone && beside * SHARE >= best,
            "beside a firehose, client {} of {CLIENTS} got {beside} answers in {window:?}; it got {alone} without, \
             and the best client {best}",
            number + 1
        );
    }
    let sum = |answers: &[u64]| answers.iter().sum::<u64>();
    Ok(format!(
        "beside a firehose the ten got {} answers instead of {}",
        sum(beside),
        sum(alone)
    ))
}
