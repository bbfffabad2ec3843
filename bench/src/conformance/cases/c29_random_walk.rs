//! C29: schedules that nobody would think of.
//!
//! Every client follows a walk that the seed has drawn for it ([`super::walk`]). Every byte is
//! compared as it comes, so that what comes back on a connection that is reset is a prefix of
//! what was sent; on the others it is all of it, which a hash of each says once more.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use anyhow::Context;

use super::checked::Pattern;
use super::client::{Client, LONGEST_DATAGRAM};
use super::walk::{Step, Walk, schedule};
use super::{Case, Running, walker};

pub const CASE: Case = Case::new(
    "C29",
    "random walk",
    "Whatever clients write, pause, half-close and reset at random, is every byte right?",
    drive,
)
.room(WALKS as usize)
.over_datagrams(drive_datagrams)
.full(FULL_WALKS as usize);

const WALKS: u64 = 50;
const FULL_WALKS: u64 = 500;

/// Threads that walk: connections of different ones get at the server at the same moment.
const THREADS: usize = 3;

/// Datagrams hold so many bytes until they are answered: the kernel drops what its queue has
/// no room for.
const UNANSWERED_BYTES: usize = LONGEST_DATAGRAM + DATAGRAM_COST;

/// What a datagram takes up in a queue beside its bytes.
const DATAGRAM_COST: usize = 1024;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let seed = running.seed();
    let walks = schedule(seed, running.pick(WALKS, FULL_WALKS));
    let open = running.served_of(walks.len());
    let threads = THREADS.min(open);
    let (address, pattern, start) = (running.address(), &Pattern::new(), Instant::now());
    thread::scope(|scope| {
        let walks = &walks;
        let walkers: Vec<_> = (0..threads)
            .map(|thread| {
                let own = walks.iter().skip(thread).step_by(threads).collect();
                scope.spawn(move || walker::follow(own, open / threads, address, pattern, start))
            })
            .collect();
        let results: Vec<_> = walkers.into_iter().map(|walker| walker.join()).collect();
        let mut results = results
            .into_iter()
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)));
        results.try_for_each(|result| result)
    })
    .with_context(|| format!("seed {seed}"))?;
    note(running, &walks);
    Ok(())
}

fn note(running: &mut Running, walks: &[Walk]) {
    let resets = walks.iter().filter(|walk| !walk.is_whole()).count();
    let bytes: u64 = walks.iter().map(Walk::bytes).sum();
    running.saw(format!(
        "seed {}: {} walks over {} MB, {resets} of them reset",
        running.seed(),
        walks.len(),
        bytes / 1_000_000
    ));
}

/// A client without a connection, and its datagrams that are not answered yet.
struct Correspondent<'a> {
    walk: &'a Walk,
    client: Client,
    position: u64,
    unanswered: VecDeque<&'a [u8]>,
}

/// The same walks as far as they make sense: what a step writes is one datagram, and all
/// take their next step in turn, so that only the kernel's queue bounds what is on its way.
fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let seed = running.seed();
    let walks = schedule(seed, running.pick(WALKS, FULL_WALKS));
    let pattern = Pattern::new();
    let mut crowd = Vec::new();
    for walk in &walks {
        crowd.push(Correspondent {
            walk,
            client: running.client()?,
            position: 0,
            unanswered: VecDeque::new(),
        });
    }
    let mut at = 0;
    while !crowd.is_empty() {
        for turn in 0..crowd.len() {
            let walk = crowd[turn].walk;
            take_step(&mut crowd, turn, at, &pattern).with_context(|| {
                let (step, number, all) = (walk.steps[at], walk.number, walk.steps.len());
                format!("seed {seed}: client {number} at step {} of {all}, {step}", at + 1)
            })?;
        }
        at += 1;
        crowd.retain(|one| at < one.walk.steps.len());
    }
    note(running, &walks);
    Ok(())
}

fn take_step<'a>(
    crowd: &mut [Correspondent<'a>],
    turn: usize,
    at: usize,
    pattern: &'a Pattern,
) -> anyhow::Result<()> {
    match crowd[turn].walk.steps[at] {
        Step::Write { bytes, reading } => {
            let one = &crowd[turn];
            let length = bytes.min(LONGEST_DATAGRAM as u64);
            let datagram = pattern.piece(one.walk.number, one.position, length);
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
        // It holds up everybody.
        Step::Pause { time, .. } => {
            thread::sleep(time / 10);
            Ok(())
        }
        Step::CatchUp | Step::End => crowd[turn].catch_up(),
        Step::HalfClose => Ok(()),
        Step::Reset => {
            // Closed with answers that nobody will read; the crowd forgets it after this turn.
            crowd[turn].unanswered.clear();
            Ok(())
        }
    }
}

impl Correspondent<'_> {
    /// Each datagram comes back as it was, and in their order.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        while let Some(datagram) = self.unanswered.pop_front() {
            self.client
                .receive(datagram)
                .with_context(|| format!("a datagram of client {}", self.walk.number))?;
        }
        Ok(())
    }
}
