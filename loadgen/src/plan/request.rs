//! The request that [`CheckedPlan`] replaces; for callers that have not moved yet.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{CheckedPlan, PlanError};
use crate::pacer::{Pace, Stage};
use crate::sizes::Sizes;
use record::units::{Bytes, Rate, Time};
use record::{Arrivals, Engine, LoopKind, MessageSize, Transport, Wait};

/// The former name.
pub type Plan = CheckedPlan;

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
            answer_timeout: Duration::from_millis(200),
            engine: Engine::Epoll,
            wait: Wait::Sleep,
            cpus: Vec::new(),
            sources: Vec::new(),
            seed: 1,
        }
    }

    /// Checks the request.
    pub fn validate(self) -> Result<CheckedPlan, PlanError> {
        let mut plan = record::Plan {
            idle: self.idle,
            size: match &self.sizes {
                Sizes::Fixed(size) => MessageSize::Fixed(Bytes(*size)),
                Sizes::Uniform(first, last) => MessageSize::Uniform(Bytes(*first), Bytes(*last)),
                Sizes::Listed { name, .. } => MessageSize::Listed(name.clone()),
            },
            duration: Some(Time(self.duration)),
            warmup: Time(self.warmup),
            think: Time(self.discipline.think()),
            messages_per_connection: self.discipline.messages_per_connection(),
            arrivals: self.discipline.pace().map(|pace| pace.arrivals),
            udp: self.transport == Transport::Udp,
            seed: self.seed,
            sources: self.sources.iter().copied().map(Into::into).collect(),
            threads: Some(self.threads),
            cpus: self.cpus.clone(),
            engine: self.engine,
            spin: self.wait == Wait::Spin,
            ..record::Plan::default()
        };
        match plan.udp {
            true => plan.answer_timeout = Some(Time(self.answer_timeout)),
            false => plan.connect_timeout = Some(Time(self.connect_timeout)),
        }
        match &self.discipline {
            Loop::Closed { depth, .. } => {
                plan.depth = *depth;
                plan.connections = Some(self.connections);
            }
            Loop::Open(pace) => {
                plan.connections = Some(self.connections);
                let stages: Vec<_> = pace.stages.iter().map(words).collect();
                match stages[..] {
                    [stage] if stage.from == stage.to => {
                        (plan.rate, plan.duration) = (Some(stage.from), Some(stage.duration));
                    }
                    _ => (plan.stages, plan.duration) = (record::Stages::new(stages), None),
                }
            }
            Loop::PartlyOpen { pace, .. } => {
                let stage = words(&pace.stages[0]);
                (plan.connect_rate, plan.duration) = (Some(stage.from), Some(stage.duration));
            }
        }
        super::check_combinations(&plan)?;
        CheckedPlan::with_sizes(&plan, self.target, self.sizes)
    }

    /// Whether the connections stay open over the whole run.
    pub fn is_lasting(&self) -> bool {
        self.discipline.messages_per_connection().is_none()
    }

    pub(super) fn of(plan: &CheckedPlan) -> Self {
        let (think, messages_per_connection) = (plan.think, plan.messages_per_connection);
        Request {
            target: plan.target,
            transport: plan.transport,
            discipline: match (plan.loop_kind, &plan.pace) {
                (LoopKind::Open, Some(pace)) => Loop::Open(pace.clone()),
                (LoopKind::PartlyOpen, Some(pace)) => Loop::PartlyOpen {
                    pace: pace.clone(),
                    think,
                    messages_per_connection: messages_per_connection.unwrap_or(1),
                },
                _ => Loop::Closed {
                    depth: plan.depth,
                    think,
                    messages_per_connection,
                },
            },
            connections: plan.connections,
            idle: plan.idle,
            threads: plan.threads,
            sizes: plan.sizes.clone(),
            warmup: plan.warmup,
            duration: plan.duration,
            connect_timeout: plan.connect_timeout,
            answer_timeout: plan.answer_timeout,
            engine: plan.engine,
            wait: plan.wait,
            cpus: plan.cpus.clone(),
            sources: plan.sources.clone(),
            seed: plan.seed,
        }
    }
}

fn words(stage: &Stage) -> record::Stage {
    record::Stage {
        duration: Time(stage.duration),
        from: Rate::new(stage.from).expect("a rate is above 0"),
        to: Rate::new(stage.to).expect("a rate is above 0"),
    }
}

impl CheckedPlan {
    /// The request that it was.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// How many connections there can be at a time, without the idle ones.
    pub fn most_connections(&self) -> usize {
        self.most_connections
    }
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
