//! C29: random schedules.
//!
//! Each client plays a script that follows from the seed. Every byte is compared on arrival, so the
//! output of a connection that is reset is a prefix of its input; other connections get all of it,
//! which a hash checks again.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use anyhow::Context;

use crate::conformance::kit::client::{Client, LONGEST_DATAGRAM};
use crate::conformance::kit::payload::Pattern;
use crate::conformance::kit::script::{Script, Step, schedule};
use crate::conformance::kit::{Case, ServerUnderTest, player};

pub const CASE: Case = Case::new(
    "C29",
    "random walk",
    "Whatever clients write, pause, half-close and reset at random, is every byte right?",
    drive,
)
.connections(SCRIPTS as usize)
.over_udp(drive_datagrams)
.full_form(FULL_SCRIPTS as usize);

const SCRIPTS: u64 = 50;
const FULL_SCRIPTS: u64 = 500;

/// Threads that play scripts: connections of different threads act at the same moment.
const THREADS: usize = 3;

/// Unanswered datagrams may take this much of the receive buffer; the kernel drops what does not
/// fit.
const UNANSWERED_BYTES: usize = LONGEST_DATAGRAM + DATAGRAM_COST;

/// What a datagram takes in a receive buffer in addition to its bytes.
const DATAGRAM_COST: usize = 1024;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let seed = server.seed();
    let scripts = schedule(seed, server.by_scale(SCRIPTS, FULL_SCRIPTS));
    let open = server.served_of(scripts.len());
    let threads = THREADS.min(open);
    let (address, pattern, start) = (server.address(), &Pattern::default(), Instant::now());
    thread::scope(|scope| {
        let scripts = &scripts;
        let players: Vec<_> = (0..threads)
            .map(|thread| {
                let own = scripts.iter().skip(thread).step_by(threads).collect();
                scope.spawn(move || player::play(own, open / threads, address, pattern, start))
            })
            .collect();
        let results: Vec<_> = players.into_iter().map(|player| player.join()).collect();
        let mut results = results
            .into_iter()
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)));
        results.try_for_each(|result| result)
    })
    .with_context(|| format!("seed {seed}"))?;
    note(server, &scripts);
    Ok(())
}

fn note(server: &mut ServerUnderTest, scripts: &[Script]) {
    let resets = scripts.iter().filter(|script| !script.is_complete()).count();
    let bytes: u64 = scripts.iter().map(Script::bytes).sum();
    server.note(format!(
        "seed {}: {} scripts over {} MB, {resets} of them reset",
        server.seed(),
        scripts.len(),
        bytes / 1_000_000
    ));
}

/// A UDP client and its unanswered datagrams.
struct Correspondent<'a> {
    script: &'a Script,
    client: Client,
    position: u64,
    unanswered: VecDeque<&'a [u8]>,
}

/// The same scripts over UDP: a write is one datagram, and all clients take their next step in
/// turn, so that only the receive buffer limits what is on its way.
fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let seed = server.seed();
    let scripts = schedule(seed, server.by_scale(SCRIPTS, FULL_SCRIPTS));
    let pattern = Pattern::default();
    let mut crowd = Vec::new();
    for script in &scripts {
        crowd.push(Correspondent {
            script,
            client: server.connect()?,
            position: 0,
            unanswered: VecDeque::new(),
        });
    }
    let mut at = 0;
    while !crowd.is_empty() {
        for turn in 0..crowd.len() {
            let script = crowd[turn].script;
            take_step(&mut crowd, turn, at, &pattern).with_context(|| {
                let (step, number, all) = (script.steps[at], script.number, script.steps.len());
                format!("seed {seed}: client {number} at step {} of {all}, {step}", at + 1)
            })?;
        }
        at += 1;
        crowd.retain(|one| at < one.script.steps.len());
    }
    note(server, &scripts);
    Ok(())
}

fn take_step<'a>(
    crowd: &mut [Correspondent<'a>],
    turn: usize,
    at: usize,
    pattern: &'a Pattern,
) -> anyhow::Result<()> {
    match crowd[turn].script.steps[at] {
        Step::Write { bytes, reading } => {
            let one = &crowd[turn];
            let length = bytes.min(LONGEST_DATAGRAM as u64);
            let datagram = pattern.piece(one.script.number, one.position, length);
            let unanswered = crowd.iter().flat_map(|one| &one.unanswered);
            let held: usize = unanswered.map(|datagram| datagram.len() + DATAGRAM_COST).sum();
            if held + datagram.len() + DATAGRAM_COST > UNANSWERED_BYTES {
                crowd.iter_mut().try_for_each(Correspondent::catch_up)?;
            }
            let one = &mut crowd[turn];
            one.client.send(datagram)?;
            one.position += length;
            one.unanswered.push_back(datagram);
            if reading { one.catch_up() } else { Ok(()) }
        }
        // A pause delays all clients.
        Step::Pause { time, .. } => {
            thread::sleep(time / 10);
            Ok(())
        }
        Step::CatchUp | Step::End => crowd[turn].catch_up(),
        Step::HalfClose => Ok(()),
        Step::Reset => {
            // Closed with unread answers; the loop removes it after this turn.
            crowd[turn].unanswered.clear();
            Ok(())
        }
    }
}

impl Correspondent<'_> {
    /// Each datagram comes back unchanged and in order.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        while let Some(datagram) = self.unanswered.pop_front() {
            self.client
                .receive(datagram)
                .with_context(|| format!("a datagram of client {}", self.script.number))?;
        }
        Ok(())
    }
}
