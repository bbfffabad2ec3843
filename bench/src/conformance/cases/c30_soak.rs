//! C30: many connections and many bytes.
//!
//! All connections are open at the same time, and each has a piece on its way, of any size.
//! A design that gives each a process or a thread gets fewer of them; of one that serves fewer
//! at once than there are, they come in turns.

use anyhow::{Context, bail};
use fastrand::Rng;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use servers::by_design::Kind;

use super::checked::{Came, Checked, LONGEST_PIECE, Pattern};
use super::client::{Client, STALL};
use super::walk::length;
use super::{Case, Running, Scale};

pub const CASE: Case = Case::new(
    "C30",
    "soak",
    "Over a crowd of connections and gigabytes, is no byte lost, doubled or reordered?",
    drive,
)
.room(QUICK.connections)
.over_datagrams(drive_datagrams)
.full(OF_WORKERS.connections)
.alone_in_full();

/// How much of a crowd it is.
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

/// For what has a process or a thread for each connection, and for datagrams.
const OF_WORKERS: Size = Size {
    connections: 1000,
    bytes: 1_000_000_000,
};

/// What `select` has room for beside its own descriptors.
const OF_FEW_DESCRIPTORS: Size = Size {
    connections: 1000,
    ..FULL
};

/// Of so many, one takes little at a time, so that servers meet writes that are taken in part.
/// In small segments a gigabyte takes a minute: in full there are fewer, and still hundreds.
const NARROW: u64 = 2;
const NARROW_IN_FULL: u64 = 32;

/// Pieces have up to two to the power of this many bytes, which is as long as a write can be.
/// The mean is a tenth of that: ten thousand of the longest would take more than the kernel has for all TCP
/// (net.ipv4.tcp_mem), beyond which it drops segments, and connections wait for seconds.
const LARGEST_PIECE: u32 = LONGEST_PIECE.ilog2();

/// Most events that one look takes; the others come with the next.
const EVENTS: usize = 1024;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let seed = running.seed();
    let size = size(running);
    let pattern = Pattern::new();
    let share = size.bytes.div_ceil(size.connections as u64);
    let at_once = running.served_of(size.connections);
    running.require_descriptors_for(at_once)?;
    let numbers: Vec<_> = (0..size.connections as u64).collect();
    for numbers in numbers.chunks(at_once) {
        let crowd = Crowd::enter(running, numbers, share, &pattern)?;
        crowd.exchange().with_context(|| format!("seed {seed}"))?;
    }
    running.saw(format!(
        "{} MB over {} connections, {at_once} of them at once",
        share * size.connections as u64 / 1_000_000,
        size.connections
    ));
    Ok(())
}

fn size(running: &Running) -> Size {
    let is = |kind| running.kinds().contains(&kind);
    match running.scale() {
        Scale::Quick => QUICK,
        Scale::Full if is(Kind::LowDescriptors) => OF_FEW_DESCRIPTORS,
        Scale::Full if is(Kind::WorkerEach) || is(Kind::OneAtATime) || is(Kind::Datagrams) => OF_WORKERS,
        Scale::Full => FULL,
    }
}

/// Connections that are open together.
struct Crowd<'a> {
    pattern: &'a Pattern,
    epoll: Epoll,
    members: Vec<Member>,
    /// Where each is done.
    share: u64,
}

struct Member {
    connection: Checked,
    pieces: Rng,
    /// Where the piece on its way ends.
    until: u64,
}

impl<'a> Crowd<'a> {
    fn enter(running: &Running, numbers: &[u64], share: u64, pattern: &'a Pattern) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut members = Vec::new();
        for &number in numbers {
            let narrow = number % running.pick(NARROW, NARROW_IN_FULL) == 0;
            let connection = Checked::connect(running.address(), number, narrow)
                .with_context(|| format!("connection {} beside {} others", number, members.len()))?;
            members.push(Member {
                connection,
                pieces: Rng::with_seed(running.seed() ^ number.wrapping_mul(0xd134_2543_de82_ef95)),
                until: 0,
            });
        }
        // Reports each as ready to write, which is its start. Edges: nothing has to be told
        // about who waits for what.
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

    /// Goes on until each has its share back, and then ends all of them.
    fn exchange(mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; LONGEST_PIECE];
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let timeout = EpollTimeout::try_from(STALL)?;
        let mut left = self.members.len();
        while left > 0 {
            let ready = match self.epoll.wait(&mut events, timeout) {
                Ok(0) => bail!("nothing came back for {STALL:?}: {}", self.standing()),
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

    /// Of those that are not done, how many there are and where the first stands.
    fn standing(&self) -> String {
        let is_due = |member: &&Member| member.connection.received() < self.share;
        let due: Vec<_> = self.members.iter().filter(is_due).collect();
        match due.first() {
            Some(first) => {
                let (number, standing) = (first.connection.number(), first.connection.standing());
                format!("{} connections wait, such as {number}, {standing}", due.len())
            }
            None => "no connection waits".into(),
        }
    }
}

impl Member {
    /// Sends and receives what can be without waiting.
    fn advance(&mut self, pattern: &Pattern, share: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
        let connection = &mut self.connection;
        loop {
            if connection.received() == self.until {
                self.until = share.min(self.until + length(&mut self.pieces, LARGEST_PIECE));
            }
            connection.send(pattern, self.until)?;
            match connection.receive(pattern, buffer)? {
                Came::Bytes(_) if connection.received() < share => {}
                Came::Bytes(_) | Came::Nothing => return Ok(()),
                Came::End => bail!("the server closed {}", connection.standing()),
            }
        }
    }
}

/// The longest datagram of the crowd, and how many are on their way together: fewer bytes than
/// the kernel's queue has room for.
const DATAGRAM_BYTES: u64 = 8192;
const TOGETHER: usize = 8;

/// Without connections there are neither shares nor ends; a few clients at a time send one
/// datagram each.
fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let Size { connections, bytes } = size(running);
    let pattern = Pattern::new();
    let mut rng = Rng::with_seed(running.seed());
    let mut crowd: Vec<Client> = (0..connections)
        .map(|_| running.client())
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
    running.saw(format!("{} MB over {connections} clients", back / 1_000_000));
    Ok(())
}
