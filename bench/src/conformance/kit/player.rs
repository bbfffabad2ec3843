//! Clients that follow their walks: one thread leads several, and waits for none of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sha2::digest::Output;
use sha2::{Digest, Sha256};

use super::checked::{Came, Checked, Pattern};
use super::client::STALL;
use super::walk::{Step, Walk};

/// Time without progress after which a client that only writes is taken to be stuck, and
/// reads: nobody has promised to take more.
const STUCK_AFTER: Duration = Duration::from_millis(50);

/// No longer than this is a step overdue.
const TICK_MS: u16 = 2;

/// Follows walks, so many at the same time, from this thread.
pub fn follow(
    mut due: VecDeque<&Walk>,
    open: usize,
    address: SocketAddr,
    pattern: &Pattern,
    start: Instant,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut walkers: Vec<Walker> = Vec::new();
    while !(walkers.is_empty() && due.is_empty()) {
        let is_time = |walk: &&Walk| start.elapsed() >= walk.begins;
        while walkers.len() < open && due.front().is_some_and(is_time) {
            walkers.extend(
                due.pop_front()
                    .map(|walk| Walker::new(walk, address))
                    .transpose()?,
            );
        }
        let mut going = Vec::with_capacity(walkers.len());
        for walker in walkers {
            going.extend(walker.advance(pattern, &mut buffer)?);
        }
        walkers = going;
        wait(&walkers)?;
    }
    Ok(())
}

/// Waits until one of them can go on, or for the next tick.
fn wait(walkers: &[Walker]) -> anyhow::Result<()> {
    let mut watched: Vec<_> = walkers
        .iter()
        .map(|walker| PollFd::new(walker.connection.as_fd(), walker.interest()))
        // An end or a reset is reported also to those who wait for nothing.
        .filter(|watched| !watched.events().is_empty())
        .collect();
    match poll(&mut watched, PollTimeout::from(TICK_MS)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A client on its way.
struct Walker<'a> {
    walk: &'a Walk,
    connection: Checked,
    /// The step that it is at, since when, and when a byte last moved.
    at: usize,
    since: Instant,
    moved: Instant,
    /// Where the bytes of its writes so far end.
    until: u64,
    stuck: bool,
    half_closed: bool,
    ended: bool,
    hash: Sha256,
}

impl<'a> Walker<'a> {
    fn new(walk: &'a Walk, address: SocketAddr) -> anyhow::Result<Self> {
        let mut walker = Walker {
            walk,
            connection: Checked::connect(address, walk.number, walk.narrow)?,
            at: 0,
            since: Instant::now(),
            moved: Instant::now(),
            until: 0,
            stuck: false,
            half_closed: false,
            ended: false,
            hash: Sha256::new(),
        };
        walker.begin(0);
        Ok(walker)
    }

    /// Does what can be done without waiting; returns nothing when the walk is over.
    fn advance(mut self, pattern: &Pattern, buffer: &mut [u8]) -> anyhow::Result<Option<Self>> {
        let walk = self.walk;
        loop {
            let (at, step) = (self.at, self.step());
            self.exchange(pattern, buffer).with_context(|| {
                let (number, all) = (walk.number, walk.steps.len());
                format!("connection {number} at step {} of {all}, {step}", at + 1)
            })?;
            if !self.is_done() {
                return Ok(Some(self));
            }
            match step {
                Step::HalfClose => {
                    // If the server has gone, reading will say so.
                    let _ = self.connection.half_close();
                    self.half_closed = true;
                }
                Step::Reset => {
                    self.connection.reset()?;
                    return Ok(None);
                }
                Step::End => {
                    ensure!(
                        self.hash.finalize() == due_hash(walk, pattern),
                        "connection {}: every byte that came was right, and their hash is wrong",
                        walk.number
                    );
                    return Ok(None);
                }
                _ => {}
            }
            self.begin(at + 1);
        }
    }

    fn begin(&mut self, at: usize) {
        self.at = at;
        self.stuck = false;
        (self.since, self.moved) = (Instant::now(), Instant::now());
        if let Step::Write { bytes, .. } = self.step() {
            self.until += bytes;
        }
    }

    fn step(&self) -> Step {
        self.walk.steps[self.at]
    }

    fn exchange(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> anyhow::Result<()> {
        let sent = self.connection.sent();
        self.connection.send(pattern, self.until)?;
        let mut has_moved = self.connection.sent() > sent;
        if self.reads() {
            match self.connection.receive(pattern, buffer)? {
                Came::Nothing => {}
                Came::Bytes(length) => {
                    self.hash.update(&buffer[..length]);
                    has_moved = true;
                }
                Came::End => {
                    let is_due = self.half_closed && self.all_is_back();
                    ensure!(is_due, "the server closed {}", self.connection.standing());
                    self.ended = true;
                }
            }
        }
        if has_moved {
            self.moved = Instant::now();
        }
        let waits = self.moved.elapsed();
        self.stuck |= waits > STUCK_AFTER;
        let is_idle = matches!(self.step(), Step::Pause { .. }) || self.is_done();
        ensure!(
            is_idle || waits <= STALL,
            "nothing moved for {STALL:?}, {}",
            self.connection.standing()
        );
        Ok(())
    }

    /// Whether it reads in this step.
    fn reads(&self) -> bool {
        !self.ended
            && match self.step() {
                Step::Write { reading, .. } => reading || self.stuck,
                Step::Pause { reading, .. } => reading,
                Step::CatchUp | Step::End => true,
                Step::HalfClose | Step::Reset => false,
            }
    }

    fn is_done(&self) -> bool {
        match self.step() {
            Step::Write { .. } => self.connection.sent() == self.until,
            Step::Pause { time, .. } => self.since.elapsed() >= time,
            Step::CatchUp => self.all_is_back(),
            Step::HalfClose | Step::Reset => true,
            Step::End => self.all_is_back() && self.ended == self.half_closed,
        }
    }

    fn all_is_back(&self) -> bool {
        self.connection.received() == self.connection.sent()
    }

    /// What it waits for.
    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::POLLIN, self.reads());
        interest.set(PollFlags::POLLOUT, self.connection.sent() < self.until);
        interest
    }
}

/// The hash of all that a walk sends.
fn due_hash(walk: &Walk, pattern: &Pattern) -> Output<Sha256> {
    let mut hash = Sha256::new();
    let mut position = 0;
    while position < walk.bytes() {
        let piece = pattern.piece(walk.number, position, walk.bytes() - position);
        hash.update(piece);
        position += piece.len() as u64;
    }
    hash.finalize()
}
