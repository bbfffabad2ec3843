//! What to send: a validated value, nothing else.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::affinity;
use crate::pacer::{Pace, Stage};
use crate::sizes::Sizes;
use record::{Arrivals, Discipline, PlanRecord, Transport};

/// Above this the buffers alone would fill a machine.
const LARGEST_MESSAGE: u64 = 64 << 20;

/// The longest datagram: what 16 bits count, without the headers of IPv4 and UDP.
const LARGEST_DATAGRAM: u64 = 65_507;

/// A datagram of fewer bytes does not tell which message it is the answer to: every eight
/// bytes of the pattern are found at one place only.
const SMALLEST_DATAGRAM: u64 = 8;

/// A forgotten zero should not load a host for days.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Descriptors that the program needs beside its connections, with room to spare.
const OWN_DESCRIPTORS: u64 = 64;

/// What an engine has beside its connections.
const DESCRIPTORS_OF_A_WORKER: u64 = 2;

/// How long an answer over UDP is waited for, where nothing else is said: what Linux's TCP
/// waits at least before it sends again (TCP_RTO_MIN). A shorter time takes slow answers
/// for lost ones; a longer one leaves the connection idle after a loss for much of a trial.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// Messages in flight on a connection beyond this fill no pipe that there is.
const DEEPEST: u32 = 65_536;

/// More is asked of no generator; a slip of the finger should not build a schedule of it.
const HIGHEST_RATE: f64 = 1e7;

/// What to ask of the load generator; [`Request::validate`] makes a [`Plan`] of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The server.
    pub target: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// When messages are due.
    pub discipline: Loop,
    /// Connections, held open over the whole run, or opened again and again. Where they
    /// arrive by themselves there are as many as that takes, and this is not looked at.
    pub connections: usize,
    /// Connections beside them that are open and send nothing.
    pub idle: usize,
    /// Worker threads; each serves its share of the connections.
    pub threads: usize,
    /// Bytes in a message.
    pub sizes: Sizes,
    /// Time that is run and not counted.
    pub warmup: Duration,
    /// Time that is counted; in an open loop what its stages last.
    pub duration: Duration,
    /// How long a connection may take to be established.
    pub connect_timeout: Duration,
    /// Over UDP: how long an answer is waited for until its message counts as lost.
    pub answer_timeout: Duration,
    /// How the kernel is talked to.
    pub engine: Engine,
    /// What is done while there is nothing to do.
    pub wait: Wait,
    /// Processors that the workers are pinned to, in turn; none leaves them free.
    pub cpus: Vec<usize>,
    /// Local addresses that the connections come from, in turn; none leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// Seed of what is drawn: arrivals and sizes.
    pub seed: u64,
}

/// When messages are due.
#[derive(Debug, Clone, PartialEq)]
pub enum Loop {
    /// When an answer is complete: each connection keeps `depth` messages in flight.
    Closed {
        /// Messages in flight on each connection.
        depth: u32,
        /// Time between an answer and the message that follows it.
        think: Duration,
        /// After so many messages a connection is closed and another opened in its place.
        messages_per_connection: Option<u64>,
    },
    /// By a schedule over all connections, whatever became of the messages before.
    Open(Pace),
    /// Connections come by a schedule; each sends its messages one after the other, and is
    /// closed.
    PartlyOpen {
        /// When connections are due.
        pace: Pace,
        /// Time between an answer and the message that follows it.
        think: Duration,
        /// Messages of each connection.
        messages_per_connection: u64,
    },
}

/// How the kernel is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Readiness: epoll_wait, then read and write.
    Epoll,
    /// Completion: io_uring, submissions and completions in batches.
    Uring,
}

/// What is done while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Sleep until something happens; the time to wake up is in every latency.
    Sleep,
    /// Ask again and again, which takes a whole processor for each worker.
    Spin,
}

/// Why a request cannot be carried out; says what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to do.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// More than one process can open.
    #[error(
        "{asked} connections need more descriptors than the {limit} that this process may open: \
         ask for {possible} or fewer, or raise the limit (`ulimit -n`, or LimitNOFILE= of a service)"
    )]
    Descriptors {
        /// Connections asked for.
        asked: usize,
        /// The hard limit of the process.
        limit: u64,
        /// Connections that it allows.
        possible: u64,
    },
    /// Workers without a connection.
    #[error("{threads} threads have only {connections} connections to share: use at most as many threads")]
    IdleThreads {
        /// Threads asked for.
        threads: usize,
        /// Connections asked for.
        connections: usize,
    },
    /// A message of no bytes cannot come back, and a huge one cannot be held.
    #[error("a message of {0} bytes cannot be sent: from 1B to 64MiB")]
    MessageSize(u64),
    /// A datagram has bounds of its own.
    #[error(
        "a message of {0} bytes cannot be sent over UDP: from {SMALLEST_DATAGRAM}B, so that its bytes tell it \
         from the one before, to {LARGEST_DATAGRAM}B, the longest datagram"
    )]
    DatagramSize(u64),
    /// Every message would be lost.
    #[error("an answer cannot come within {0:?}: more than 0s, and at most 24h")]
    AnswerTimeout(Duration),
    /// Deeper than anything.
    #[error("a connection cannot keep {0} messages in flight: from 1 to {DEEPEST}")]
    Depth(u32),
    /// More than one message in flight over UDP, where only one is waited for.
    #[error("over UDP a connection has one message in flight: leave the depth at 1, or send at a rate")]
    DatagramDepth,
    /// What only streams have.
    #[error("{0} needs connections that open and close, and UDP has none")]
    NoConnections(&'static str),
    /// Datagrams are recognised by where in the pattern they lie.
    #[error("over UDP all messages have one size: give --size one")]
    DatagramSizes,
    /// No connection comes about in no time, and none is waited for so long.
    #[error("a connection cannot be waited for {0:?}: more than 0s, and at most 24h")]
    ConnectTimeout(Duration),
    /// Nobody thinks for a day.
    #[error("a think time of {0:?} is too long: at most 24h")]
    Think(Duration),
    /// A rate that no host sends.
    #[error("a rate of {0}/s cannot be sent: at most 10M/s")]
    Rate(f64),
    /// Nothing would be sent in the whole window.
    #[error("in {0:?} nothing would be due at this rate: raise it, or run for longer")]
    NothingDue(Duration),
    /// Sources of another family than the target.
    #[error("{address} is not of the family of the target {target}, so no connection can come from it")]
    SourceFamily {
        /// The source.
        address: IpAddr,
        /// The target.
        target: SocketAddr,
    },
    /// Not an address of this host.
    #[error("connections cannot come from {address}: {error}; it must be an address of this host")]
    Source {
        /// The source.
        address: IpAddr,
        /// What the system said.
        error: String,
    },
    /// A processor that the generator may not run on.
    #[error("processor {cpu} is not one that this process may use: choose from {allowed:?}")]
    Processor {
        /// The processor asked for.
        cpu: usize,
        /// Those that there are.
        allowed: Vec<usize>,
    },
    /// No window, or one of days.
    #[error("a duration of {0:?} cannot be measured: more than 0s, and at most 24h with the warm-up")]
    Duration(Duration),
}

impl Request {
    /// A closed loop of 64 connections with messages of 64 bytes for ten seconds after one
    /// of warm-up, on one thread that sleeps in epoll.
    pub fn new(target: SocketAddr) -> Self {
        Request {
            target,
            transport: Transport::Tcp,
            discipline: Loop::closed(),
            connections: 64,
            idle: 0,
            threads: 1,
            sizes: Sizes::Fixed(64),
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: ANSWER_TIMEOUT,
            engine: Engine::Epoll,
            wait: Wait::Sleep,
            cpus: Vec::new(),
            sources: Vec::new(),
            seed: 1,
        }
    }

    /// Checks the request, and raises the limit of descriptors as far as it needs. The error
    /// says what cannot be done, and what to change.
    pub fn validate(mut self) -> Result<Plan, PlanError> {
        if let Some(pace) = self.discipline.pace() {
            self.duration = pace.duration();
        }
        self.check_counts()?;
        self.check_messages()?;
        self.check_times()?;
        self.check_sources()?;
        let allowed = affinity::allowed().unwrap_or_default();
        if let Some(&cpu) = self.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            return Err(PlanError::Processor { cpu, allowed });
        }
        let limit = raise_descriptor_limit();
        let possible = limit.saturating_sub(OWN_DESCRIPTORS + DESCRIPTORS_OF_A_WORKER * self.threads as u64);
        let asked = self.connections.saturating_add(self.idle);
        if asked as u64 > possible {
            return Err(PlanError::Descriptors {
                asked,
                limit,
                possible,
            });
        }
        let most_connections = match self.discipline {
            Loop::PartlyOpen { .. } => possible as usize - self.idle,
            _ => self.connections,
        };
        Ok(Plan {
            request: self,
            most_connections,
        })
    }

    /// Whether the connections stay open over the whole run.
    pub fn is_lasting(&self) -> bool {
        self.discipline.messages_per_connection().is_none()
    }

    fn check_counts(&mut self) -> Result<(), PlanError> {
        if matches!(self.discipline, Loop::PartlyOpen { .. }) {
            self.connections = 0;
        } else if self.connections == 0 {
            return Err(PlanError::Zero("the number of connections"));
        } else if self.threads > self.connections {
            return Err(PlanError::IdleThreads {
                threads: self.threads,
                connections: self.connections,
            });
        }
        match (self.threads, self.discipline.messages_per_connection()) {
            (0, _) => Err(PlanError::Zero("the number of threads")),
            (_, Some(0)) => Err(PlanError::Zero("the number of messages per connection")),
            _ => Ok(()),
        }
    }

    fn check_messages(&self) -> Result<(), PlanError> {
        let (smallest, largest) = self.sizes.bounds();
        if let Some(wrong) = [smallest, largest]
            .into_iter()
            .find(|size| !(1..=LARGEST_MESSAGE).contains(size))
        {
            return Err(PlanError::MessageSize(wrong));
        }
        let depth = match self.discipline {
            Loop::Closed { depth, .. } => depth,
            _ => 1,
        };
        if !(1..=DEEPEST).contains(&depth) {
            return Err(PlanError::Depth(depth));
        }
        if self.transport == Transport::Tcp {
            return Ok(());
        }
        if let Loop::PartlyOpen { .. } = self.discipline {
            return Err(PlanError::NoConnections("a rate of connections"));
        }
        if self.discipline.messages_per_connection().is_some() {
            return Err(PlanError::NoConnections("a number of messages per connection"));
        }
        if self.idle > 0 {
            return Err(PlanError::NoConnections("an idle connection"));
        }
        if depth > 1 {
            return Err(PlanError::DatagramDepth);
        }
        if !matches!(self.sizes, Sizes::Fixed(_)) {
            return Err(PlanError::DatagramSizes);
        }
        match (SMALLEST_DATAGRAM..=LARGEST_DATAGRAM).contains(&largest) {
            true => Ok(()),
            false => Err(PlanError::DatagramSize(largest)),
        }
    }

    fn check_times(&self) -> Result<(), PlanError> {
        if self.duration.is_zero() || self.duration.saturating_add(self.warmup) > LONGEST {
            return Err(PlanError::Duration(self.duration));
        }
        if self.connect_timeout.is_zero() || self.connect_timeout > LONGEST {
            return Err(PlanError::ConnectTimeout(self.connect_timeout));
        }
        if self.transport == Transport::Udp
            && (self.answer_timeout.is_zero() || self.answer_timeout > LONGEST)
        {
            return Err(PlanError::AnswerTimeout(self.answer_timeout));
        }
        if self.discipline.think() > LONGEST {
            return Err(PlanError::Think(self.discipline.think()));
        }
        let Some(pace) = self.discipline.pace() else {
            return Ok(());
        };
        let rates = pace.stages.iter().flat_map(|stage| [stage.from, stage.to]);
        if let Some(rate) = { rates }.find(|rate| !(0.0..=HIGHEST_RATE).contains(rate)) {
            return Err(PlanError::Rate(rate));
        }
        match pace.count_after(nanoseconds(self.duration)) < 1.0 {
            true => Err(PlanError::NothingDue(self.duration)),
            false => Ok(()),
        }
    }

    fn check_sources(&self) -> Result<(), PlanError> {
        for &address in &self.sources {
            if address.is_ipv4() != self.target.is_ipv4() {
                let target = self.target;
                return Err(PlanError::SourceFamily { address, target });
            }
            std::net::UdpSocket::bind((address, 0)).map_err(|error| PlanError::Source {
                address,
                error: error.to_string(),
            })?;
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

impl Loop {
    /// One message in flight on each connection, all the time.
    pub fn closed() -> Self {
        Loop::Closed {
            depth: 1,
            think: Duration::ZERO,
            messages_per_connection: None,
        }
    }

    /// Messages at one rate for so long.
    pub fn open(rate: f64, duration: Duration, arrivals: Arrivals) -> Self {
        Loop::Open(Pace {
            stages: vec![Stage::steady(duration, rate)],
            arrivals,
        })
    }

    /// The schedule, where there is one.
    pub fn pace(&self) -> Option<&Pace> {
        match self {
            Loop::Closed { .. } => None,
            Loop::Open(pace) | Loop::PartlyOpen { pace, .. } => Some(pace),
        }
    }

    /// After how many messages a connection is closed, where it is.
    pub fn messages_per_connection(&self) -> Option<u64> {
        match *self {
            Loop::Closed {
                messages_per_connection,
                ..
            } => messages_per_connection,
            Loop::Open(_) => None,
            Loop::PartlyOpen {
                messages_per_connection,
                ..
            } => Some(messages_per_connection),
        }
    }

    /// The time between an answer and the next message.
    pub fn think(&self) -> Duration {
        match *self {
            Loop::Closed { think, .. } | Loop::PartlyOpen { think, .. } => think,
            Loop::Open(_) => Duration::ZERO,
        }
    }
}

/// A request that can be carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    request: Request,
    most_connections: usize,
}

impl Plan {
    /// What was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// How many connections there can be at a time, without the idle ones.
    pub fn most_connections(&self) -> usize {
        self.most_connections
    }

    /// The plan in the plain numbers of the schema.
    pub fn record(&self) -> PlanRecord {
        let request = &self.request;
        let fixed = matches!(request.sizes, Sizes::Fixed(_));
        let pace = request.discipline.pace();
        PlanRecord {
            discipline: match request.discipline {
                Loop::Closed { .. } => Discipline::Closed,
                Loop::Open(_) => Discipline::Open,
                Loop::PartlyOpen { .. } => Discipline::PartlyOpen,
            },
            connections: request.connections,
            threads: request.threads,
            message_bytes: request.sizes.mean().round() as u64,
            sizes: (!fixed).then(|| request.sizes.to_string()),
            warmup_s: request.warmup.as_secs_f64(),
            duration_s: request.duration.as_secs_f64(),
            transport: request.transport,
            depth: match request.discipline {
                Loop::Closed { depth, .. } => depth,
                _ => 1,
            },
            think_s: request.discipline.think().as_secs_f64(),
            messages_per_connection: request.discipline.messages_per_connection(),
            stages: pace.map_or_else(Vec::new, Pace::record),
            arrivals: pace.map(|pace| pace.arrivals),
            idle: request.idle,
            sources: request.sources.clone(),
            seed: request.seed,
        }
    }
}

/// The descriptors that this process may open, after raising the soft limit to the hard.
fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            connections: 4,
            threads: 2,
            ..Request::new("127.0.0.1:7007".parse().unwrap())
        }
    }

    #[test]
    fn a_sensible_request_is_a_plan() {
        assert!(request().validate().is_ok());
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let refused = |change: fn(&mut Request)| {
            let mut request = request();
            change(&mut request);
            request.validate().unwrap_err()
        };
        assert!(matches!(refused(|r| r.connections = 0), PlanError::Zero(_)));
        assert!(matches!(refused(|r| r.threads = 0), PlanError::Zero(_)));
        assert!(matches!(
            refused(|r| r.threads = 5),
            PlanError::IdleThreads {
                threads: 5,
                connections: 4
            }
        ));
        assert_eq!(refused(|r| r.sizes = Sizes::Fixed(0)), PlanError::MessageSize(0));
        assert!(matches!(
            refused(|r| r.sizes = Sizes::Uniform(1, 1 << 40)),
            PlanError::MessageSize(_)
        ));
        assert!(matches!(
            refused(|r| r.duration = Duration::ZERO),
            PlanError::Duration(_)
        ));
        assert!(matches!(
            refused(|r| r.warmup = Duration::MAX),
            PlanError::Duration(_)
        ));
    }

    #[test]
    fn a_datagram_has_bounds_that_a_stream_has_not() {
        let of = |message_bytes, transport| {
            let request = Request {
                sizes: Sizes::Fixed(message_bytes),
                transport,
                ..request()
            };
            request.validate().err()
        };
        for size in [1, 7, 65_508, 64 << 20] {
            assert_eq!(of(size, Transport::Tcp), None);
            assert_eq!(of(size, Transport::Udp), Some(PlanError::DatagramSize(size)));
        }
        for size in [8, 65_507] {
            assert_eq!(of(size, Transport::Udp), None);
        }
    }

    #[test]
    fn too_many_connections_are_refused_with_the_limit_and_the_way_to_raise_it() {
        let error = Request {
            connections: usize::MAX,
            ..request()
        }
        .validate()
        .unwrap_err();
        let PlanError::Descriptors { limit, possible, .. } = error else {
            panic!("{error}")
        };
        assert!(possible < limit);
        let text = error.to_string();
        assert!(
            text.contains(&limit.to_string()) && text.contains("ulimit -n"),
            "{text}"
        );
    }
}
