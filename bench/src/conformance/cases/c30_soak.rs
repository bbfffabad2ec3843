//! C30: many connections and many bytes.
//!
//! All connections are open at the same time, each with a piece of random size on its way. Servers
//! with a process or a thread per connection get fewer; where a server serves fewer concurrently,
//! connections take turns.

use anyhow::{Context, bail};
use fastrand::Rng;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::Kind;
use crate::conformance::kit::payload::{LONGEST_PIECE, Pattern};
use crate::conformance::kit::script::length;
use crate::conformance::kit::verified_stream::{Received, VerifiedStream};
use crate::conformance::kit::wait::STALL;
use crate::conformance::kit::{Case, Scale, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C30",
    "soak",
    "Over a crowd of connections and gigabytes, is no byte lost, doubled or reordered?",
    drive,
)
.connections(QUICK.connections)
.over_udp(drive_datagrams)
.full_form(OF_WORKERS.connections)
.exclusive_in_full();

/// The size of a crowd.
#[derive(Clone, Copy)]
struct Size {
    connections: usize,
    bytes: u64,
}

const QUICK: Size = Size {
    connections: 200,
    bytes: 60_000_000,
};

const FULL: Size = Size {
    connections: 10_000,
    bytes: 10_000_000_000,
};

/// For a process or a thread per connection, and for UDP.
const OF_WORKERS: Size = Size {
    connections: 1000,
    bytes: 1_000_000_000,
};

/// What `select` has room for besides its own descriptors.
const OF_FEW_DESCRIPTORS: Size = Size {
    connections: 1000,
    ..FULL
};

/// One connection in this many takes little at a time, so that servers meet partial writes. In
/// small segments a gigabyte takes a minute: the full form has fewer, but still hundreds.
const NARROW: u64 = 2;
const NARROW_IN_FULL: u64 = 32;

/// The longest piece is two to this power, the longest write. The mean is a tenth: ten thousand of
/// the longest would exceed the kernel's limit for all TCP (net.ipv4.tcp_mem), where it drops
/// segments and connections wait for seconds.
const LARGEST_PIECE: u32 = LONGEST_PIECE.ilog2();

/// The maximum of events per wait.
const EVENTS: usize = 1024;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let seed = server.seed();
    let size = size(server);
    let pattern = Pattern::default();
    let share = size.bytes.div_ceil(size.connections as u64);
    let at_once = server.served_of(size.connections);
    server.require_descriptors_for(at_once)?;
    let numbers: Vec<_> = (0..size.connections as u64).collect();
    for numbers in numbers.chunks(at_once) {
        let crowd = Crowd::enter(server, numbers, share, &pattern)?;
        crowd.exchange().with_context(|| format!("seed {seed}"))?;
    }
    server.note(format!(
        "{} MB over {} connections, {at_once} of them at once",
        share * size.connections as u64 / 1_000_000,
        size.connections
    ));
    Ok(())
}

fn size(server: &ServerUnderTest) -> Size {
    let is = |kind| server.is(kind);
    match server.scale() {
        Scale::Quick => QUICK,
        Scale::Full if is(Kind::LowDescriptorsOnly) => OF_FEW_DESCRIPTORS,
        Scale::Full if is(Kind::WorkerPerConnection) || is(Kind::Sequential) || is(Kind::Datagram) => {
            OF_WORKERS
        }
        Scale::Full => FULL,
    }
}

/// Connections that are open together.
struct Crowd<'a> {
    pattern: &'a Pattern,
    epoll: Epoll,
    members: Vec<Member>,
    /// Bytes per connection.
    share: u64,
}

struct Member {
    connection: VerifiedStream,
    pieces: Rng,
    /// The end of the current piece.
    until: u64,
}

impl<'a> Crowd<'a> {
    fn enter(
        server: &ServerUnderTest,
        numbers: &[u64],
        share: u64,
        pattern: &'a Pattern,
    ) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut members = Vec::new();
        for &number in numbers {
            let narrow = number % server.by_scale(NARROW, NARROW_IN_FULL) == 0;
            let connection = VerifiedStream::connect(server.address(), number, narrow)
                .with_context(|| format!("connection {number} after {} others", members.len()))?;
            members.push(Member {
                connection,
                pieces: Rng::with_seed(server.seed() ^ number.wrapping_mul(0xd134_2543_de82_ef95)),
                until: 0,
            });
        }
        // Reports each as writable, which starts it. Edge-triggered, so that interest never
        // changes.
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        for (at, member) in members.iter().enumerate() {
            epoll.add(&member.connection, EpollEvent::new(edges, at as u64))?;
        }
        Ok(Crowd {
            pattern,
            epoll,
            members,
            share,
        })
    }

    /// Continues until each connection has its share back, and then closes all.
    fn exchange(mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; LONGEST_PIECE];
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let timeout = EpollTimeout::try_from(STALL)?;
        let mut left = self.members.len();
        while left > 0 {
            let ready = match self.epoll.wait(&mut events, timeout) {
                Ok(0) => bail!("nothing came back for {STALL:?}: {}", self.progress()),
                Err(nix::Error::EINTR) => 0,
                ready => ready?,
            };
            for event in &events[..ready] {
                let member = &mut self.members[event.data() as usize];
                let was_done = member.connection.received() == self.share;
                member
                    .advance(self.pattern, self.share, &mut buffer)
                    .with_context(|| format!("connection {}", member.connection.number()))?;
                left -= usize::from(!was_done && member.connection.received() == self.share);
            }
        }
        for member in self.members {
            let number = member.connection.number();
            let finished = member.connection.finish();
            finished.with_context(|| format!("connection {number}"))?;
        }
        Ok(())
    }

    /// How many connections are not done, and the progress of the first.
    fn progress(&self) -> String {
        let is_due = |member: &&Member| member.connection.received() < self.share;
        let due: Vec<_> = self.members.iter().filter(is_due).collect();
        match due.first() {
            Some(first) => {
                let (number, progress) = (first.connection.number(), first.connection.progress());
                format!("{} connections wait, such as {number}, {progress}", due.len())
            }
            None => "no connection waits".into(),
        }
    }
}

impl Member {
    /// Sends and receives without blocking.
    fn advance(&mut self, pattern: &Pattern, share: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
        let connection = &mut self.connection;
        loop {
            if connection.received() == self.until {
                self.until = share.min(self.until + length(&mut self.pieces, LARGEST_PIECE));
            }
            connection.send(pattern, self.until)?;
            match connection.receive(pattern, buffer)? {
                Received::Bytes(_) if connection.received() < share => {}
                Received::Bytes(_) | Received::Nothing => return Ok(()),
                Received::Eof => bail!("the server closed {}", connection.progress()),
            }
        }
    }
}

/// The longest datagram, and how many are on their way together: less than the receive buffer
/// holds.
const DATAGRAM_BYTES: u64 = 8192;
const TOGETHER: usize = 8;

/// A few clients at a time send one datagram each.
fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let Size { connections, bytes } = size(server);
    let pattern = Pattern::default();
    let mut rng = Rng::with_seed(server.seed());
    let mut crowd: Vec<Client> = (0..connections)
        .map(|_| server.connect())
        .collect::<anyhow::Result<_>>()?;
    let (mut back, mut first) = (0, 0);
    while back < bytes {
        let number = |at: usize| (first + at) % connections;
        let sizes: Vec<_> = (0..TOGETHER).map(|_| rng.u64(1..=DATAGRAM_BYTES)).collect();
        let datagram = |at: usize| pattern.piece(number(at) as u64, back, sizes[at]);
        for at in 0..TOGETHER {
            crowd[number(at)].send(datagram(at))?;
        }
        for at in 0..TOGETHER {
            crowd[number(at)]
                .receive(datagram(at))
                .with_context(|| format!("client {} after {back} bytes of all", number(at)))?;
        }
        back += sizes.iter().sum::<u64>();
        first += TOGETHER;
    }
    server.note(format!("{} MB over {connections} clients", back / 1_000_000));
    Ok(())
}
