//! The epoll engine: one readiness loop per worker, many connections in each.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use socket2::Socket;

use super::conversation::{Conversation, Received};
use super::latch::Arrival;
use super::tally::Tally;
use super::{Run, dial, nanos};
use crate::affinity;
use crate::pattern::LONGEST_PIECE;
use crate::record::{ErrorKind, Transport};

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// The longest sleep: an early end is noticed within this.
const GLANCE_MS: u64 = 20;

/// The longest sleep before the load has begun: its begin is noticed within this.
const PRIMING_GLANCE_MS: u64 = 1;

/// Runs worker number `index`: connects its share, talks until the window closes,
/// and keeps the connections open until everybody has counted.
pub fn work(run: &Run, index: usize, stop: &AtomicBool, arrival: Arrival) -> io::Result<Tally> {
    let mut tally = Tally::new();
    let mut worker = prepare(run, index, stop, &mut tally)?;
    drop(arrival);
    run.connected.wait();
    worker.talk(run, &mut tally)?;
    run.counted.wait();
    tally.answered = worker
        .connections
        .iter()
        .filter(|c| c.conversation.answered)
        .count() as u64;
    Ok(tally)
}

fn prepare(run: &Run, index: usize, stop: &AtomicBool, tally: &mut Tally) -> io::Result<Worker> {
    let request = run.plan.request();
    if !request.cpus.is_empty() {
        affinity::pin(&[request.cpus[index % request.cpus.len()]])?;
    }
    // Worker i has the connections i, i + threads, i + 2 threads, ...
    let share = (index..request.connections).step_by(request.threads);
    let sockets = dial::dial(request, share.len(), stop, tally)?;
    tally.open = sockets.len() as u64;
    run.live.fetch_add(sockets.len(), Relaxed);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let connections: Vec<_> = sockets
        .into_iter()
        .zip(share)
        .map(|(socket, number)| Connection {
            socket: Some(socket),
            conversation: Conversation::new(number, request.sizes.bounds().1, request.transport),
            watches_output: false,
            primed: false,
            reached: false,
        })
        .collect();
    for (at, connection) in connections.iter().enumerate() {
        if let Some(socket) = &connection.socket {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        }
    }
    let buffer = vec![0; request.sizes.bounds().1.clamp(64 * 1024, LONGEST_PIECE as u64) as usize];
    Ok(Worker {
        epoll,
        connections,
        buffer,
    })
}

struct Worker {
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

struct Connection {
    /// Gone once the connection has failed.
    socket: Option<Socket>,
    conversation: Conversation,
    watches_output: bool,
    /// Whether it was answered and waits for the load to begin.
    primed: bool,
    /// Whether anything came back yet.
    reached: bool,
}

/// Why a connection cannot go on.
enum Failure {
    System(io::Error),
    Kind(ErrorKind, &'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::System(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Failure::System(error.into())
    }
}

impl Worker {
    /// Sends the first message on every connection, the following ones once the load has
    /// begun, and answers readiness until the window closes.
    fn talk(&mut self, run: &Run, tally: &mut Tally) -> io::Result<()> {
        for at in 0..self.connections.len() {
            self.handle(at, run, tally, |worker, _| worker.begin(at, run));
        }
        let request = run.plan.request();
        // Over TCP nothing is ever overdue: the kernel sends again, or reports an error.
        let patience_ns = (request.transport == Transport::Udp).then(|| nanos(request.answer_timeout));
        let mut look_ns = 0;
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut cpu_before = None;
        let mut loading = false;
        loop {
            if !loading && run.loading.load(Relaxed) {
                loading = true;
                self.load(run, tally);
            }
            let now_ns = run.clock.now_ns();
            if now_ns >= run.start_ns.load(Relaxed) && cpu_before.is_none() {
                cpu_before = Some(cpu_time());
            }
            let end_ns = run.end_ns.load(Relaxed);
            if now_ns >= end_ns {
                break;
            }
            let left_ns = (end_ns - now_ns).min(patience_ns.unwrap_or(u64::MAX));
            let ready = match self.epoll.wait(&mut events, timeout(left_ns, loading)) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..ready] {
                let at = event.data() as usize;
                let flags = event.events();
                self.handle(at, run, tally, |worker, tally| {
                    worker.ready(at, flags, run, tally)
                });
            }
            // Everything that had come by `now_ns` has been read, unless more was ready.
            if let Some(patience_ns) = patience_ns
                && now_ns >= look_ns
                && ready < EVENTS
            {
                self.give_up_overdue(now_ns, patience_ns, run, tally);
                look_ns = now_ns + patience_ns.min(GLANCE_MS * 1_000_000);
            }
        }
        tally.cpu = cpu_before.map_or(Duration::ZERO, |before| cpu_time().saturating_sub(before));
        Ok(())
    }

    /// Sends the second message on every connection whose first was answered.
    fn load(&mut self, run: &Run, tally: &mut Tally) {
        for at in 0..self.connections.len() {
            if std::mem::take(&mut self.connections[at].primed) {
                self.handle(at, run, tally, |worker, _| worker.begin(at, run));
            }
        }
    }

    /// Counts the messages whose answer has been waited for long enough, and sends the next.
    fn give_up_overdue(&mut self, now_ns: u64, patience_ns: u64, run: &Run, tally: &mut Tally) {
        for at in 0..self.connections.len() {
            let Connection {
                socket, conversation, ..
            } = &mut self.connections[at];
            if socket.is_some() && conversation.is_overdue(now_ns, patience_ns) {
                conversation.leave();
                let patience = Duration::from_nanos(patience_ns);
                tally.error(ErrorKind::Lost, format_args!("no answer within {patience:?}"));
                self.handle(at, run, tally, |worker, _| worker.begin(at, run));
            }
        }
    }

    /// Does a step with a connection, and on failure counts it and closes.
    fn handle(
        &mut self,
        at: usize,
        run: &Run,
        tally: &mut Tally,
        step: impl FnOnce(&mut Self, &mut Tally) -> Result<(), Failure>,
    ) {
        if let Err(failure) = step(self, tally) {
            match failure {
                Failure::System(error) => tally.io_error(&error),
                Failure::Kind(kind, example) => tally.error(kind, example),
            }
            let connection = &mut self.connections[at];
            connection.socket = None;
            // Over UDP that nobody is there shows only now.
            if run.plan.request().transport == Transport::Udp && !connection.reached {
                tally.open -= 1;
            }
            run.live.fetch_sub(1, Relaxed);
        }
    }

    fn ready(&mut self, at: usize, flags: EpollFlags, run: &Run, tally: &mut Tally) -> Result<(), Failure> {
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.send(at, run)?;
        }
        // Errors and hang-ups show in the read.
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
            self.receive(at, run, tally)?;
        }
        Ok(())
    }

    /// Starts the next message; its clock runs from here.
    fn begin(&mut self, at: usize, run: &Run) -> Result<(), Failure> {
        self.connections[at].conversation.start(run.clock.now_ns());
        self.send(at, run)
    }

    /// Sends as much of the message as fits, and watches for room if that is not all.
    fn send(&mut self, at: usize, run: &Run) -> Result<(), Failure> {
        let connection = &mut self.connections[at];
        let Some(socket) = &mut connection.socket else {
            return Ok(());
        };
        let mut blocked = false;
        loop {
            let unsent = connection.conversation.unsent(&run.pattern);
            if unsent.is_empty() || blocked {
                break;
            }
            match socket.write(unsent) {
                Ok(length) => connection.conversation.sent(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if blocked != connection.watches_output {
            connection.watches_output = blocked;
            let output = if blocked {
                EpollFlags::EPOLLOUT
            } else {
                EpollFlags::empty()
            };
            self.epoll.modify(
                &*socket,
                &mut EpollEvent::new(EpollFlags::EPOLLIN | output, at as u64),
            )?;
        }
        Ok(())
    }

    /// Reads once, checks every byte, and when the answer is complete records its
    /// latency and sends the next message.
    fn receive(&mut self, at: usize, run: &Run, tally: &mut Tally) -> Result<(), Failure> {
        let connection = &mut self.connections[at];
        let Some(socket) = &mut connection.socket else {
            return Ok(());
        };
        let length = match socket.read(&mut self.buffer) {
            // Over UDP that is an answer, and a wrong one.
            Ok(0) if run.plan.request().transport == Transport::Tcp => {
                return Err(Failure::Kind(
                    ErrorKind::EarlyEnd,
                    "the server ended the connection",
                ));
            }
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let now_ns = run.clock.now_ns();
        connection.reached = true;
        match connection
            .conversation
            .receive(&self.buffer[..length], &run.pattern)
        {
            Received::Partial => Ok(()),
            Received::Stale => {
                tally.error(
                    ErrorKind::Stale,
                    "an answer to an earlier message, late or repeated",
                );
                Ok(())
            }
            Received::Wrong => Err(Failure::Kind(
                ErrorKind::WrongBytes,
                "bytes came back that were not due",
            )),
            Received::Complete { started_ns } => {
                if now_ns >= run.start_ns.load(Relaxed) && now_ns < run.end_ns.load(Relaxed) {
                    tally.service.saturating_record(now_ns - started_ns);
                    connection.conversation.answered = true;
                }
                if !run.loading.load(Relaxed) {
                    connection.primed = true;
                    run.primed.fetch_add(1, Relaxed);
                    return Ok(());
                }
                self.begin(at, run)
            }
        }
    }
}

/// Rounds up, so that the last wait does not poll until the window closes.
fn timeout(left_ns: u64, loading: bool) -> EpollTimeout {
    let longest = if loading { GLANCE_MS } else { PRIMING_GLANCE_MS };
    EpollTimeout::from(left_ns.div_ceil(1_000_000).min(longest) as u16)
}

/// CPU time that this thread has used.
fn cpu_time() -> Duration {
    let micros = |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    getrusage(UsageWho::RUSAGE_THREAD).map_or(Duration::ZERO, |usage| {
        Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
    })
}
