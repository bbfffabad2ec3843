//! Plays scripts: one thread plays several and blocks on none of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sha2::digest::Output;
use sha2::{Digest, Sha256};

use super::payload::Pattern;
use super::script::{Script, Step};
use super::verified_stream::{Received, VerifiedStream};
use super::wait::STALL;

/// Time without progress after which a client that only writes starts to read: a server may
/// refuse to take more.
const STUCK_AFTER: Duration = Duration::from_millis(50);

/// The longest delay of a step.
const TICK_MS: u16 = 2;

/// Plays scripts on this thread, up to `open` at the same time.
pub fn play(
    mut due: VecDeque<&Script>,
    open: usize,
    address: SocketAddr,
    pattern: &Pattern,
    start: Instant,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut players: Vec<Player> = Vec::new();
    while !(players.is_empty() && due.is_empty()) {
        let is_time = |script: &&Script| start.elapsed() >= script.begins;
        while players.len() < open && due.front().is_some_and(is_time) {
            players.extend(
                due.pop_front()
                    .map(|script| Player::new(script, address))
                    .transpose()?,
            );
        }
        let mut playing = Vec::with_capacity(players.len());
        for player in players {
            playing.extend(player.advance(pattern, &mut buffer)?);
        }
        players = playing;
        wait(&players)?;
    }
    Ok(())
}

/// Waits until a player can continue, or for the next tick.
fn wait(players: &[Player]) -> anyhow::Result<()> {
    let mut watched: Vec<_> = players
        .iter()
        .map(|player| PollFd::new(player.connection.as_fd(), player.interest()))
        // poll(2) reports a close even without interest.
        .filter(|watched| !watched.events().is_empty())
        .collect();
    match poll(&mut watched, PollTimeout::from(TICK_MS)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A client that plays a script.
struct Player<'a> {
    script: &'a Script,
    connection: VerifiedStream,
    /// The current step, since when, and when a byte last moved.
    at: usize,
    since: Instant,
    moved: Instant,
    /// The position at which its writes so far end.
    until: u64,
    stuck: bool,
    half_closed: bool,
    ended: bool,
    hash: Sha256,
}

impl<'a> Player<'a> {
    fn new(script: &'a Script, address: SocketAddr) -> anyhow::Result<Self> {
        let mut player = Player {
            script,
            connection: VerifiedStream::connect(address, script.number, script.narrow)?,
            at: 0,
            since: Instant::now(),
            moved: Instant::now(),
            until: 0,
            stuck: false,
            half_closed: false,
            ended: false,
            hash: Sha256::new(),
        };
        player.begin(0);
        Ok(player)
    }

    /// Does what is possible without blocking; returns `None` at the end of the script.
    fn advance(mut self, pattern: &Pattern, buffer: &mut [u8]) -> anyhow::Result<Option<Self>> {
        let script = self.script;
        loop {
            let (at, step) = (self.at, self.step());
            self.exchange(pattern, buffer).with_context(|| {
                let (number, all) = (script.number, script.steps.len());
                format!("connection {number} at step {} of {all}, {step}", at + 1)
            })?;
            if !self.is_done() {
                return Ok(Some(self));
            }
            match step {
                Step::HalfClose => {
                    // If the server has closed, reading reports it.
                    let _ = self.connection.half_close();
                    self.half_closed = true;
                }
                Step::Reset => {
                    self.connection.reset()?;
                    return Ok(None);
                }
                Step::End => {
                    ensure!(
                        self.hash.finalize() == expected_hash(script, pattern),
                        "connection {}: every byte was right on arrival, but the hash of all is wrong",
                        script.number
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
        self.script.steps[self.at]
    }

    fn exchange(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> anyhow::Result<()> {
        let sent = self.connection.sent();
        self.connection.send(pattern, self.until)?;
        let mut has_moved = self.connection.sent() > sent;
        if self.reads() {
            match self.connection.receive(pattern, buffer)? {
                Received::Nothing => {}
                Received::Bytes(length) => {
                    self.hash.update(&buffer[..length]);
                    has_moved = true;
                }
                Received::Eof => {
                    let is_due = self.half_closed && self.all_is_back();
                    ensure!(is_due, "the server closed {}", self.connection.progress());
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
            "no byte moved for {STALL:?}, {}",
            self.connection.progress()
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

    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::POLLIN, self.reads());
        interest.set(PollFlags::POLLOUT, self.connection.sent() < self.until);
        interest
    }
}

/// The hash of everything that a script sends.
fn expected_hash(script: &Script, pattern: &Pattern) -> Output<Sha256> {
    let mut hash = Sha256::new();
    let mut position = 0;
    while position < script.bytes() {
        let piece = pattern.piece(script.number, position, script.bytes() - position);
        hash.update(piece);
        position += piece.len() as u64;
    }
    hash.finalize()
}
