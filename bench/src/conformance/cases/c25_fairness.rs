//! C25: one client that sends without end.
//!
//! What a fair share is, two readings say, and both have to hold: each of ten clients that
//! ask and wait for the answer gets at least a twentieth of the answers that it gets without
//! the firehose, and at least a twentieth of what the best of the ten gets beside it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::client::{Client, STALL, wait_until};
use super::load::RaisedAtEnd;
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C25",
    "fairness",
    "Beside one firehose, does each of ten ping-pong clients get a fair share?",
    drive,
)
.room(CLIENTS + 1)
.alone();

/// Clients that ask and wait for the answer.
const CLIENTS: usize = 10;

/// The smallest part of its own, and of the best one's answers, that a client has to get.
const SHARE: u64 = 20;

/// Time in which answers are counted: so long that a twentieth of them is a number.
const WINDOW: Duration = Duration::from_millis(150);

/// Noise only takes away, and from one side as well as the other: one round of so many in
/// which all have their share is enough.
const ROUNDS: usize = 10;

/// From then on it is a firehose: the beginning of the connection is behind it.
const FLOWING_BYTES: usize = 1 << 20;

/// What the firehose writes at once, and what is asked.
static PIECE: [u8; 256 << 10] = [7; 256 << 10];
const QUESTION: [u8; 64] = [b'?'; 64];

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let address = running.address();
    if running.at_once() == Some(1) {
        let mut waiting = beside_firehose(address, |_| {
            let client = running.client()?;
            client.send(&QUESTION)?;
            Ok(client)
        })?;
        let waited = waiting.receive(&QUESTION);
        return waited.context("the next client was not answered after the firehose had ended");
    }
    let mut crowd = running.crowd(CLIENTS)?;
    let mut round = 0;
    loop {
        round += 1;
        let alone = answers(&mut crowd, &AtomicBool::new(false))?;
        let beside = beside_firehose(address, |over| answers(&mut crowd, over))?;
        let shares = judge(&alone, &beside);
        if shares.is_ok() || round == ROUNDS {
            running.saw(shares?);
            return Ok(());
        }
    }
}

/// Does something while a client writes and reads as fast as it can.
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
        let raised = RaisedAtEnd(over);
        let done = run(over);
        drop(raised);
        let ends = [writing, reading].map(|end| end.join().expect("it returns its errors"));
        ends.into_iter()
            .collect::<anyhow::Result<()>>()
            .context("the firehose")?;
        ensure!(
            flows,
            "of a firehose {} bytes came back in {STALL:?}",
            moved.load(Relaxed)
        );
        done
    })
}

/// How many answers each gets in a window.
fn answers(crowd: &mut [Client], over: &AtomicBool) -> anyhow::Result<Vec<u64>> {
    thread::scope(|scope| {
        let ask = |client| scope.spawn(|| ask(client, over));
        let asking: Vec<_> = crowd.iter_mut().map(ask).collect();
        thread::sleep(WINDOW);
        over.store(true, Relaxed);
        let answers = asking
            .into_iter()
            .map(|client| client.join().expect("it returns its errors"));
        answers.collect()
    })
}

/// Asks until it is over; the answers that came by then.
fn ask(client: &mut Client, over: &AtomicBool) -> anyhow::Result<u64> {
    let mut answers = 0;
    while !over.load(Relaxed) {
        client
            .echo(&QUESTION)
            .context("a client beside a firehose was not answered")?;
        answers += u64::from(!over.load(Relaxed));
    }
    Ok(answers)
}

fn judge(alone: &[u64], beside: &[u64]) -> anyhow::Result<String> {
    let best = beside.iter().copied().max().unwrap_or_default();
    for (number, (alone, beside)) in alone.iter().zip(beside).enumerate() {
        ensure!(
            *alone >= SHARE,
            "without a firehose there were {alone} answers in {WINDOW:?}, too few to share"
        );
        ensure!(
            beside * SHARE >= *alone && beside * SHARE >= best,
            "beside a firehose, client {} of {CLIENTS} got {beside} answers in {WINDOW:?}, where it got {alone} \
             without, and another one {best}",
            number + 1
        );
    }
    let sum = |answers: &[u64]| answers.iter().sum::<u64>();
    Ok(format!(
        "beside a firehose the ten got {} answers where they had got {}",
        sum(beside),
        sum(alone)
    ))
}
