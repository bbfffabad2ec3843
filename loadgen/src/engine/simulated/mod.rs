//! An engine without sockets: a scripted server in virtual time, for tests.
//!
//! Several engines, one for each worker, share a [`Server`] and a clock that a driver
//! advances. Nothing here takes time except what the [`Script`] says.

mod script;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::IpAddr;

use fastrand::Rng;
use nix::errno::Errno;

use super::failure::Failure;
use super::interface::{Engine, Event, Until};
use crate::clock::Clock;
use record::Transport;

pub use script::{Fate, Fault, Latency, Queue, Script};

/// A clock that stands still until a driver sets it.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock<'a> {
    pub now: &'a Cell<u64>,
    /// How much later it is after each look at the clock.
    pub tick_ns: u64,
}

impl Clock for VirtualClock<'_> {
    fn now_ns(self) -> u64 {
        self.now.replace(self.now.get() + self.tick_ns)
    }
}

/// The server, and the limits of the host; shared by the engines of all workers.
pub struct Server {
    script: Script,
    random: Rng,
    /// When the window begins; stalls are known from then on.
    window_ns: Option<u64>,
    busy_until_ns: u64,
    connects: usize,
    /// When the connections in the queue will be accepted.
    queued: VecDeque<u64>,
    /// Connects that found the queue full.
    pub turned_away: u64,
    datagrams: usize,
    open: usize,
    /// When ports become free, of those that are in TIME_WAIT.
    waiting_ports: VecDeque<u64>,
    /// Whole messages of `message_bytes` whose right bytes were delivered.
    pub delivered: u64,
    /// The size that `delivered` counts in.
    pub message_bytes: u64,
}

impl Server {
    pub fn new(script: Script) -> Self {
        Server {
            random: Rng::with_seed(script.seed),
            script,
            window_ns: None,
            busy_until_ns: 0,
            connects: 0,
            queued: VecDeque::new(),
            turned_away: 0,
            datagrams: 0,
            open: 0,
            waiting_ports: VecDeque::new(),
            delivered: 0,
            message_bytes: 64,
        }
    }

    /// The window begins at this time.
    pub fn open_window(&mut self, start_ns: u64) {
        self.window_ns = Some(start_ns);
    }

    /// A time, or the end of the stall that it lies in.
    fn awake_at(&self, time_ns: u64) -> u64 {
        let Some(start_ns) = self.window_ns else {
            return time_ns;
        };
        let stall = self
            .script
            .stalls
            .iter()
            .find(|(begin_ns, end_ns)| (start_ns + begin_ns..start_ns + end_ns).contains(&time_ns));
        stall.map_or(time_ns, |(_, end_ns)| start_ns + end_ns)
    }

    /// Whether there is a server.
    fn is_there(&self, time_ns: u64) -> bool {
        let mut outages = self.script.outages.iter();
        !outages.any(|(begin_ns, end_ns)| (*begin_ns..*end_ns).contains(&time_ns))
    }

    /// When the server dies for the `number`th time.
    fn dies_at(&self, number: usize) -> u64 {
        let outage = self.script.outages.get(number);
        outage.map_or(u64::MAX, |(begin_ns, _)| *begin_ns)
    }

    /// When the server reads what was sent now, and when the answer arrives.
    fn answer_at(&mut self, now_ns: u64) -> (u64, u64) {
        let read_ns = self.awake_at(now_ns.max(self.busy_until_ns));
        let served_ns = self.awake_at(read_ns + self.script.service_ns);
        if self.script.service_ns > 0 {
            self.busy_until_ns = served_ns;
        }
        let latency_ns = match self.script.latency {
            Latency::Constant(ns) => ns,
            Latency::Uniform(first, last) => self.random.u64(first..=last),
            Latency::Growing(first, per_second) => {
                let since_ns = self
                    .window_ns
                    .map_or(0, |start_ns| now_ns.saturating_sub(start_ns));
                first + (per_second as u128 * u128::from(since_ns) / 1_000_000_000) as u64
            }
        };
        (read_ns, self.awake_at(served_ns + latency_ns))
    }

    /// When a connection that comes now is accepted; an error if the queue is full.
    fn accepted_at(&mut self, now_ns: u64) -> io::Result<u64> {
        let Some(Queue { room, accept_ns }) = self.script.queue else {
            return Ok(now_ns);
        };
        let last_ns = self.queued.back().copied().unwrap_or(0);
        while self
            .queued
            .front()
            .is_some_and(|&accepted_ns| accepted_ns <= now_ns)
        {
            self.queued.pop_front();
        }
        if self.queued.len() >= room {
            self.turned_away += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let accepted_ns = self.awake_at(last_ns.max(now_ns) + accept_ns);
        self.queued.push_back(accepted_ns);
        Ok(accepted_ns)
    }

    fn take_port(&mut self, now_ns: u64) -> io::Result<()> {
        while self
            .waiting_ports
            .front()
            .is_some_and(|&free_ns| free_ns <= now_ns)
        {
            self.waiting_ports.pop_front();
        }
        if self.open >= self.script.descriptors {
            return Err(Errno::EMFILE.into());
        }
        if self.open + self.waiting_ports.len() >= self.script.ports {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        self.open += 1;
        Ok(())
    }

    fn give_port_back(&mut self, now_ns: u64, time_wait: bool) {
        self.open -= 1;
        if time_wait {
            self.waiting_ports.push_back(now_ns + self.script.time_wait_ns);
        }
    }
}

/// The engine of one worker.
pub struct Simulated<'a> {
    clock: VirtualClock<'a>,
    server: &'a RefCell<Server>,
    slots: Vec<Connection>,
    /// What will happen, and when, in the order in which it was caused.
    future: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: std::collections::HashMap<u64, (usize, u64, Happening)>,
    caused: u64,
    /// What has happened and is not handled.
    ready: VecDeque<(usize, u64, Happening)>,
    /// Slots that already have a send in this batch.
    early: Vec<(usize, u64, Happening)>,
    batch: u64,
    /// How often the server has died.
    deaths: usize,
    /// The bytes of the event that is being handled.
    held: Vec<u8>,
}

#[derive(Debug, Default)]
struct Connection {
    fault: Option<Fault>,
    /// When the server accepts it, and nothing is answered before.
    accepted_ns: u64,
    generation: u64,
    is_open: bool,
    established: bool,
    /// Bytes that the server has not read.
    unread: usize,
    blocked: bool,
    batch: u64,
    /// Bytes that the server has returned, faults apart.
    returned: u64,
    /// Right bytes that were delivered, up to the first fault.
    right: u64,
    is_wrong: bool,
    /// Answers of a stream arrive in order.
    last_answer_ns: u64,
    shut_down: bool,
    ended: bool,
}

#[derive(Debug)]
enum Happening {
    /// The connect has ended, or there is room again.
    Room,
    /// The server has read this many bytes.
    Read(usize),
    /// Bytes arrive; the number says how many of them are right.
    Arrives(Vec<u8>, u64),
    Ends,
    Returned(usize),
    Fails(Errno),
}

impl<'a> Simulated<'a> {
    pub fn new(server: &'a RefCell<Server>, clock: VirtualClock<'a>) -> Self {
        Simulated {
            clock,
            server,
            slots: Vec::new(),
            future: BinaryHeap::new(),
            happenings: std::collections::HashMap::new(),
            caused: 0,
            ready: VecDeque::new(),
            early: Vec::new(),
            batch: 1,
            deaths: 0,
            held: Vec::new(),
        }
    }

    /// When the next wait would end by an event.
    pub fn next_event_ns(&self) -> u64 {
        let next = self.future.peek();
        let next_ns = next.map_or(u64::MAX, |Reverse((time_ns, _))| *time_ns);
        match self.ready.is_empty() && self.early.is_empty() {
            true => next_ns.min(self.server.borrow().dies_at(self.deaths)),
            false => self.clock.now_ns(),
        }
    }

    /// The server dies: what was on its way is lost, and every connection with it.
    fn die(&mut self) {
        self.deaths += 1;
        self.server.borrow_mut().busy_until_ns = 0;
        for (slot, connection) in self.slots.iter_mut().enumerate() {
            // One that is being refused does not notice.
            if connection.is_open && connection.fault != Some(Fault::Refused) {
                connection.generation += 1;
                connection.ended = true;
                let end = match connection.established && slot % 2 == 1 {
                    true => Happening::Ends,
                    false => Happening::Fails(Errno::ECONNRESET),
                };
                self.ready.push_back((slot, connection.generation, end));
            }
        }
    }

    fn happens(&mut self, time_ns: u64, slot: usize, what: Happening) {
        self.caused += 1;
        self.future.push(Reverse((time_ns, self.caused)));
        let generation = self.slots[slot].generation;
        self.happenings.insert(self.caused, (slot, generation, what));
    }

    /// The server returns bytes of a stream, with the fault of the connection.
    fn return_bytes(&mut self, slot: usize, bytes: &[u8], time_ns: u64) {
        let connection = &mut self.slots[slot];
        let time_ns = time_ns.max(connection.last_answer_ns);
        connection.last_answer_ns = time_ns;
        let start = connection.returned;
        connection.returned += bytes.len() as u64;
        let at = |position: u64| {
            let within = (start..start + bytes.len() as u64).contains(&position);
            within.then(|| (position - start) as usize)
        };
        let mut out = bytes.to_vec();
        let mut then = None;
        let mut right = bytes.len();
        match connection.fault {
            Some(Fault::Silent(position)) if start >= position => out.clear(),
            _ if connection.is_wrong => right = 0,
            Some(Fault::Lost(position)) => {
                if let Some(at) = at(position) {
                    out.remove(at);
                    right = at;
                }
            }
            Some(Fault::Doubled(position)) => {
                if let Some(at) = at(position) {
                    out.insert(at, out[at]);
                    right = at + 1;
                }
            }
            Some(Fault::Wrong(position)) => {
                if let Some(at) = at(position) {
                    out[at] ^= 1;
                    right = at;
                }
            }
            Some(Fault::Silent(position)) => {
                if let Some(at) = at(position) {
                    out.truncate(at);
                    right = at;
                }
            }
            Some(Fault::Ends(position)) | Some(Fault::Resets(position)) => {
                if let Some(at) = at(position) {
                    out.truncate(at);
                    right = at;
                    then = Some(match connection.fault {
                        Some(Fault::Ends(_)) => Happening::Ends,
                        _ => Happening::Fails(Errno::ECONNRESET),
                    });
                }
            }
            _ => {}
        }
        connection.is_wrong |= right < out.len() || right < bytes.len();
        if then.is_some() {
            connection.ended = true;
        }
        let mut right_left = right;
        let piece = self.server.borrow().script.piece;
        for piece in out.chunks(piece) {
            let right = right_left.min(piece.len());
            right_left -= right;
            self.happens(time_ns, slot, Happening::Arrives(piece.to_vec(), right as u64));
        }
        if let Some(end) = then {
            self.happens(time_ns, slot, end);
        }
    }

    fn send_datagram(&mut self, slot: usize, bytes: &[u8]) {
        let now_ns = self.clock.now_ns();
        let (fate, answer_ns) = {
            let mut server = self.server.borrow_mut();
            let fate = server.script.fates[server.datagrams % server.script.fates.len()];
            server.datagrams += 1;
            (fate, server.answer_at(now_ns).1)
        };
        let size = bytes.len() as u64;
        let whole = |right| Happening::Arrives(bytes.to_vec(), right);
        match fate {
            Fate::Answered => self.happens(answer_ns, slot, whole(size)),
            Fate::Dropped => {}
            Fate::Late(more_ns) => self.happens(answer_ns + more_ns, slot, whole(0)),
            Fate::Doubled => {
                self.happens(answer_ns, slot, whole(size));
                self.happens(answer_ns, slot, whole(0));
            }
            Fate::Wrong => self.happens(answer_ns, slot, Happening::Arrives(b"no echo".to_vec(), 0)),
        }
    }
}

impl<'a> Engine<'a> for Simulated<'a> {
    type Clock = VirtualClock<'a>;

    fn connect(&mut self, slot: usize, _: Option<IpAddr>) -> io::Result<()> {
        let now_ns = self.clock.now_ns();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, Connection::default);
        }
        assert!(!self.slots[slot].is_open, "the slot is free");
        let mut server = self.server.borrow_mut();
        let accepted_ns = server.accepted_at(now_ns)?;
        server.take_port(now_ns)?;
        let fault = match server.is_there(now_ns) {
            true => server.script.faults[server.connects % server.script.faults.len()],
            false => Fault::Refused,
        };
        server.connects += 1;
        let outcome_ns = now_ns + server.script.connect_ns;
        drop(server);
        self.slots[slot] = Connection {
            fault: Some(fault),
            accepted_ns,
            generation: self.slots[slot].generation + 1,
            is_open: true,
            blocked: true,
            ..Connection::default()
        };
        if fault != Fault::NeverConnects {
            self.happens(outcome_ns, slot, Happening::Room);
        }
        Ok(())
    }

    fn established(&mut self, slot: usize) -> Result<(), Failure> {
        match self.slots[slot].fault {
            Some(Fault::Refused) => Err(io::Error::from(Errno::ECONNREFUSED).into()),
            _ => {
                self.slots[slot].established = true;
                Ok(())
            }
        }
    }

    fn shut_down(&mut self, slot: usize) -> io::Result<()> {
        let connection = &mut self.slots[slot];
        assert!(connection.established && !connection.shut_down);
        connection.shut_down = true;
        if !connection.ended && connection.fault != Some(Fault::NeverCloses) {
            let last_ns = connection.last_answer_ns;
            let read_ns = self.clock.now_ns().max(connection.accepted_ns);
            let (_, end_ns) = self.server.borrow_mut().answer_at(read_ns);
            self.happens(end_ns.max(last_ns), slot, Happening::Ends);
        }
        Ok(())
    }

    fn remove(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        if !std::mem::take(&mut connection.is_open) {
            return;
        }
        connection.generation += 1;
        let mut server = self.server.borrow_mut();
        if server.script.transport == Transport::Tcp {
            server.delivered += connection.right / server.message_bytes;
        }
        server.give_port_back(self.clock.now_ns(), connection.shut_down);
    }

    fn send(&mut self, slot: usize, bytes: &'a [u8]) -> io::Result<usize> {
        let connection = &mut self.slots[slot];
        assert!(connection.established && !connection.shut_down, "{connection:?}");
        let (room, transport, batches) = {
            let script = &self.server.borrow().script;
            (script.room, script.transport, script.batches)
        };
        if transport == Transport::Udp {
            self.send_datagram(slot, bytes);
            return Ok(bytes.len());
        }
        if connection.blocked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if batches && connection.batch == self.batch {
            let generation = connection.generation;
            self.early.push((slot, generation, Happening::Room));
            return Ok(0);
        }
        connection.batch = self.batch;
        let taken = bytes.len().min(room - connection.unread);
        if taken < bytes.len() {
            connection.blocked = true;
            if batches {
                let (generation, rest) = (connection.generation, bytes.len() - taken);
                self.early.push((slot, generation, Happening::Returned(rest)));
            }
        }
        connection.unread += taken;
        let reads = match connection.fault {
            Some(Fault::StopsReading(position)) => connection.returned < position,
            _ => true,
        };
        if reads && !connection.ended && taken > 0 {
            let read_ns = self.clock.now_ns().max(connection.accepted_ns);
            let (read_ns, answer_ns) = self.server.borrow_mut().answer_at(read_ns);
            self.happens(read_ns, slot, Happening::Read(taken));
            self.return_bytes(slot, &bytes[..taken], answer_ns);
        }
        match (taken, batches) {
            (_, true) => Ok(bytes.len()),
            (0, false) => Err(io::ErrorKind::WouldBlock.into()),
            (_, false) => Ok(taken),
        }
    }

    /// The clock is set already.
    fn wait(&mut self, _: Until) -> io::Result<()> {
        self.batch += 1;
        self.ready.extend(self.early.drain(..));
        let now_ns = self.clock.now_ns();
        while let Some(&Reverse((time_ns, number))) = self.future.peek() {
            if time_ns > now_ns {
                break;
            }
            self.future.pop();
            let happening = self.happenings.remove(&number).expect("it was caused");
            self.ready.push_back(happening);
        }
        while self.server.borrow().dies_at(self.deaths) <= now_ns {
            self.die();
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Event<'_>> {
        loop {
            let (slot, generation, happening) = self.ready.pop_front()?;
            let connection = &mut self.slots[slot];
            if connection.generation != generation {
                continue;
            }
            match happening {
                Happening::Room => {
                    connection.blocked = false;
                    return Some(Event::Room(slot));
                }
                Happening::Read(bytes) => {
                    connection.unread -= bytes;
                    if connection.established && std::mem::take(&mut connection.blocked) {
                        return Some(Event::Room(slot));
                    }
                }
                Happening::Arrives(bytes, right) => {
                    connection.right += right;
                    let mut server = self.server.borrow_mut();
                    if server.script.transport == Transport::Udp && right > 0 {
                        server.delivered += 1;
                    }
                    self.held = bytes;
                    return Some(Event::Received(slot, &self.held));
                }
                Happening::Ends => return Some(Event::Received(slot, &[])),
                Happening::Returned(bytes) => {
                    // The server has read meanwhile: that room was of no use before.
                    if !connection.blocked {
                        self.ready.push_front((slot, generation, Happening::Room));
                    }
                    return Some(Event::Returned(slot, bytes));
                }
                Happening::Fails(errno) => return Some(Event::Failed(slot, errno.into())),
            }
        }
    }
}

impl Drop for Simulated<'_> {
    fn drop(&mut self) {
        for slot in 0..self.slots.len() {
            self.remove(slot);
        }
    }
}
