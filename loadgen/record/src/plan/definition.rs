//! The plan of a load.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choices::{Arrivals, Engine, LoopKind, Transport, Wait};
use super::size::MessageSize;
use super::source::SourceRange;
use super::stages::{Stage, Stages};
#[cfg(feature = "clap")]
use crate::processors;
use crate::processors::Processors;
use crate::units::{Bytes, Rate, Time};

/// What is sent, and when.
#[cfg(feature = "clap")]
const LOAD: &str = "Load";
/// What sends it.
#[cfg(feature = "clap")]
const GENERATOR: &str = "Generator";

/// What a load is: the options of `loadgen run`, the keys of a scenario in a suite, and the plan
/// of a record are this one type.
///
/// The loop is closed unless `rate`, `stages` or `connect_rate` is given. A field that is absent
/// has the default of its loop; the methods return the effective values. A record holds these,
/// as [`Plan::complete`] makes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Connections, held open for the whole run or opened again and again [default: 64].
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "N", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,

    /// Additional idle connections, which send nothing; not over UDP.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Plan::default().idle, help_heading = LOAD))]
    pub idle: usize,

    /// Bytes in a message: 64B, uniform:16B..4KiB, or file:PATH with a size on each line.
    ///
    /// The sizes of a file are sent in turn; each connection starts at a different place. Over
    /// UDP all messages have one size, from 8B to 65507B.
    #[cfg_attr(feature = "clap", arg(long, value_name = "SIZE", default_value_t = Plan::default().size, value_parser = size_parser(), help_heading = LOAD))]
    pub size: MessageSize,

    /// Send lines: each message is printable text that ends with its only line feed, for servers
    /// that answer whole lines; not over UDP.
    #[cfg_attr(feature = "clap", arg(long, help_heading = LOAD))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lines: bool,

    /// Measured time [default: 10s].
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "TIME", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Time>,

    /// Time to run before measuring.
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value_t = Plan::default().warmup, help_heading = LOAD))]
    pub warmup: Time,

    /// Closed loop: messages that each connection keeps in flight.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Plan::default().depth, help_heading = LOAD))]
    pub depth: u32,

    /// Closed or partly open loop: time between an answer and the next message.
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value_t = Plan::default().think, help_heading = LOAD))]
    pub think: Time,

    /// Close each connection after this many messages and open another [default: never; 1 with
    /// --connect-rate].
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_connection: Option<u64>,

    /// Open loop: messages per second over all connections, such as 50k/s.
    #[cfg_attr(feature = "clap", arg(long, value_name = "RATE", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,

    /// Open loop: rates one after the other, such as 10s@10k/s,30s@50k/s; a ramp is
    /// 10s@1k/s..50k/s. The stages replace --duration.
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME@RATE,...", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,

    /// Partly open loop: new connections per second, such as 500/s. The number of concurrent
    /// connections follows from the rate and the server.
    #[cfg_attr(feature = "clap", arg(long, value_name = "RATE", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_rate: Option<Rate>,

    /// How a schedule is drawn [default: constant; poisson with --connect-rate].
    #[cfg_attr(feature = "clap", arg(long, value_enum, help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,

    /// Send datagrams: each connection is a connected UDP socket. In a closed loop it keeps one
    /// message in flight.
    #[cfg_attr(feature = "clap", arg(long, help_heading = LOAD))]
    pub udp: bool,

    /// Seed of arrivals and sizes.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Plan::default().seed, help_heading = LOAD))]
    pub seed: u64,

    /// Local addresses that the connections use in turn, such as 127.0.0.2-127.0.0.9; can be
    /// given several times [default: the system chooses].
    ///
    /// One address has about 28,000 ports for connections to one server.
    #[cfg_attr(feature = "clap", arg(id = "source", long = "source", value_name = "ADDRESS,...", value_delimiter = ',', help_heading = LOAD))]
    #[serde(rename = "source", alias = "sources", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRange>,

    /// Open connections again that the server ends, resets or refuses; closed and open loops whose
    /// connections stay open, not over UDP.
    ///
    /// For a server that restarts during the run. Messages that were on their way are sent again, and
    /// those that become due meanwhile wait: the time without a server is in the latencies. The load is
    /// valid if every connection comes back and is answered.
    #[cfg_attr(feature = "clap", arg(long, help_heading = LOAD))]
    #[serde(skip_serializing_if = "is_off")]
    pub reconnect: bool,

    /// Time limit for establishing a connection; not over UDP [default: 10s].
    ///
    /// The connections that are opened at the start have this time together, and 1ms more for each.
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Time>,

    /// UDP: time after which a message without an answer counts as lost, and the next is sent. A
    /// load that loses more than one message in a thousand is not valid [default: 200ms].
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", help_heading = LOAD))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_timeout: Option<Time>,

    /// Worker threads, which share the connections [default: one for each of --cpus, or 1].
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "N", help_heading = GENERATOR))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,

    /// Processors to pin the workers to, in turn, such as 2,3 or 0-3,8 [default: not pinned].
    #[cfg_attr(feature = "clap", arg(
        long,
        value_name = "CPU,...",
        value_parser = processors::parse,
        default_value = processors::NOT_PINNED,
        hide_default_value = true,
        help_heading = GENERATOR
    ))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Processors,

    /// I/O backend.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Plan::default().engine, help_heading = GENERATOR))]
    pub engine: Engine,

    /// Busy-poll instead of sleeping between events.
    ///
    /// This removes the generator's wake-up from all latencies. Each worker uses a whole
    /// processor, so give it one that the server does not need (--cpus).
    #[cfg_attr(feature = "clap", arg(long, help_heading = GENERATOR))]
    pub spin: bool,
}

fn is_off(option: &bool) -> bool {
    !option
}

/// The name of a file need not be UTF-8.
#[cfg(feature = "clap")]
fn size_parser() -> impl clap::builder::TypedValueParser<Value = MessageSize> {
    use clap::builder::TypedValueParser as _;
    clap::builder::OsStringValueParser::new().try_map(|argument| MessageSize::of_argument(&argument))
}

/// A closed loop of 64 connections with messages of 64 bytes, for ten seconds after one of
/// warm-up, on one thread that sleeps in epoll.
impl Default for Plan {
    fn default() -> Self {
        Plan {
            connections: None,
            idle: 0,
            size: MessageSize::Fixed(Bytes(64)),
            lines: false,
            duration: None,
            warmup: Time(Duration::from_secs(1)),
            depth: 1,
            think: Time::default(),
            messages_per_connection: None,
            rate: None,
            stages: None,
            connect_rate: None,
            arrivals: None,
            udp: false,
            seed: 1,
            sources: Vec::new(),
            reconnect: false,
            connect_timeout: None,
            answer_timeout: None,
            threads: None,
            cpus: Vec::new(),
            engine: Engine::default(),
            spin: false,
        }
    }
}

/// The defaults of the fields that are optional.
const CONNECTIONS: usize = 64;
const DURATION: Time = Time(Duration::from_secs(10));
const CONNECT_TIMEOUT: Time = Time(Duration::from_secs(10));

/// What Linux's TCP waits at least before it sends again (TCP_RTO_MIN). A shorter time takes
/// slow answers for lost ones; a longer one leaves a connection idle after a loss for much of a
/// short load.
const ANSWER_TIMEOUT: Time = Time(Duration::from_millis(200));

impl Plan {
    /// The loop that the fields describe.
    pub fn loop_kind(&self) -> LoopKind {
        match () {
            () if self.connect_rate.is_some() => LoopKind::PartlyOpen,
            () if self.rate.is_some() || self.stages.is_some() => LoopKind::Open,
            () => LoopKind::Closed,
        }
    }

    /// What the load is sent over.
    pub fn transport(&self) -> Transport {
        match self.udp {
            true => Transport::Udp,
            false => Transport::Tcp,
        }
    }

    /// What a worker does while nothing is ready.
    pub fn wait(&self) -> Wait {
        match self.spin {
            true => Wait::Spin,
            false => Wait::Sleep,
        }
    }

    /// Connections that are held open or opened again and again; 0 where they arrive by a
    /// schedule.
    pub fn connections(&self) -> usize {
        match self.loop_kind() {
            LoopKind::PartlyOpen => 0,
            _ => self.connections.unwrap_or(CONNECTIONS),
        }
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or(self.cpus.len().max(1))
    }

    /// Measured time.
    pub fn duration(&self) -> Time {
        match &self.stages {
            Some(stages) => Time(stages.duration()),
            None => self.duration.unwrap_or(DURATION),
        }
    }

    /// Messages after which a connection is closed; `None` where it stays open.
    pub fn messages_per_connection(&self) -> Option<u64> {
        match self.loop_kind() {
            LoopKind::PartlyOpen => Some(self.messages_per_connection.unwrap_or(1)),
            _ => self.messages_per_connection,
        }
    }

    /// How the schedule is drawn; `None` in a closed loop.
    pub fn arrivals(&self) -> Option<Arrivals> {
        match self.loop_kind() {
            LoopKind::Closed => None,
            LoopKind::Open => Some(self.arrivals.unwrap_or(Arrivals::Constant)),
            LoopKind::PartlyOpen => Some(self.arrivals.unwrap_or(Arrivals::Poisson)),
        }
    }

    /// The rates of the schedule over the measured time; empty in a closed loop.
    pub fn schedule(&self) -> Vec<Stage> {
        let steady = |rate| Stage {
            duration: self.duration(),
            from: rate,
            to: rate,
        };
        match &self.stages {
            Some(stages) => stages.list().to_vec(),
            None => self.rate.or(self.connect_rate).map(steady).into_iter().collect(),
        }
    }

    /// Time limit for establishing a connection.
    pub fn connect_timeout(&self) -> Time {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    /// UDP: time after which a message without an answer counts as lost.
    pub fn answer_timeout(&self) -> Time {
        self.answer_timeout.unwrap_or(ANSWER_TIMEOUT)
    }

    /// The same plan with the defaults that apply to it filled in.
    pub fn complete(&self) -> Plan {
        let lasts = self.stages.is_none();
        Plan {
            connections: (self.loop_kind() != LoopKind::PartlyOpen).then(|| self.connections()),
            duration: lasts.then(|| self.duration()),
            messages_per_connection: self.messages_per_connection(),
            arrivals: self.arrivals(),
            connect_timeout: (!self.udp).then(|| self.connect_timeout()),
            answer_timeout: self.udp.then(|| self.answer_timeout()),
            threads: Some(self.threads()),
            ..self.clone()
        }
    }
}
