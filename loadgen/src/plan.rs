//! From the plan of a load to one that can be carried out.
//!
//! Validation touches nothing: it binds no socket, raises no limit and writes no file. It reads
//! the file that a plan names for its sizes, and what this process may use.

mod bounds;
mod error;

use std::net::IpAddr;
use std::time::Duration;

use crate::address::Address;
use crate::affinity;
use crate::limits;
use crate::pacer::Pace;
use crate::sizes::Sizes;
use bounds::{DEEPEST, HIGHEST_RATE, LARGEST_DATAGRAM, LARGEST_MESSAGE, LONGEST, SMALLEST_DATAGRAM};
pub use error::PlanError;
use record::{Engine, LoopKind, Plan, Transport, Wait};

/// A hundred connects under way at once, each with a round trip of 100 ms, take this long for each.
const PER_CONNECTION: Duration = Duration::from_millis(1);

/// A plan and its target, checked and with all defaults filled in.
#[derive(Debug, Clone)]
pub struct CheckedPlan {
    words: Plan,
    pub(crate) target: Address,
    pub(crate) transport: Transport,
    pub(crate) loop_kind: LoopKind,
    /// The schedule of messages, or of connections; `None` in a closed loop.
    pub(crate) pace: Option<Pace>,
    /// Connections that are held open or opened again and again; 0 where they arrive by the
    /// schedule.
    pub(crate) connections: usize,
    /// Additional connections that send nothing.
    pub(crate) idle: usize,
    /// The most connections at a time, without the idle ones.
    pub(crate) most_connections: usize,
    pub(crate) threads: usize,
    pub(crate) sizes: Sizes,
    /// Whether each message is a line.
    pub(crate) lines: bool,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// Closed loop: messages that each connection keeps in flight; otherwise 1.
    pub(crate) depth: u32,
    /// Time between an answer and the next message.
    pub(crate) think: Duration,
    /// Messages after which a connection is closed; `None` where it stays open.
    pub(crate) messages_per_connection: Option<u64>,
    /// Whether connections that are lost are opened again.
    pub(crate) reconnect: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) engine: Engine,
    pub(crate) wait: Wait,
    /// Processors of the workers, in turn; empty if they are not pinned.
    pub(crate) cpus: Vec<usize>,
    /// Local addresses of the connections, in turn; empty if the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) seed: u64,
}

impl CheckedPlan {
    /// Checks that a plan makes sense, and that this process can carry it out against that
    /// target.
    pub fn new(plan: &Plan, target: Address) -> Result<Self, PlanError> {
        check_combinations(plan)?;
        let sizes = Sizes::read(&plan.size)?;
        let words = plan.complete();
        let stages = words.schedule();
        let checked = CheckedPlan {
            target,
            transport: words.transport(),
            loop_kind: words.loop_kind(),
            pace: words.arrivals().map(|arrivals| Pace {
                stages: stages.iter().map(Into::into).collect(),
                arrivals,
            }),
            connections: words.connections(),
            idle: words.idle,
            most_connections: 0,
            threads: words.threads(),
            sizes,
            lines: words.lines,
            warmup: words.warmup.0,
            duration: words.duration().0,
            depth: words.depth,
            think: words.think.0,
            messages_per_connection: words.messages_per_connection(),
            reconnect: words.reconnect,
            connect_timeout: words.connect_timeout().0,
            answer_timeout: words.answer_timeout().0,
            engine: words.engine,
            wait: words.wait(),
            cpus: words.cpus.clone(),
            sources: words.sources.iter().flat_map(|range| range.addresses()).collect(),
            seed: words.seed,
            words,
        };
        checked.check_counts()?;
        checked.check_messages()?;
        checked.check_times()?;
        checked.check_schedule()?;
        checked.check_addresses()?;
        checked.with_limits()
    }

    /// The plan in words, with all defaults filled in.
    pub fn words(&self) -> &Plan {
        &self.words
    }

    /// The server.
    pub fn target(&self) -> &Address {
        &self.target
    }

    /// Time limit for opening all connections at the start.
    pub(crate) fn connects_within(&self) -> Duration {
        let connections = (self.connections + self.idle) as u32;
        self.connect_timeout.saturating_add(PER_CONNECTION * connections)
    }

    /// Whether the connections stay open for the whole run.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.messages_per_connection.is_none()
    }

    /// The mean of the sizes that a file lists, in bytes; `None` if the plan's words have it.
    pub(crate) fn listed_mean_bytes(&self) -> Option<f64> {
        match self.sizes {
            Sizes::Listed { .. } => Some(self.sizes.mean()),
            _ => None,
        }
    }

    fn check_counts(&self) -> Result<(), PlanError> {
        let (threads, connections) = (self.threads, self.connections);
        if self.loop_kind != LoopKind::PartlyOpen {
            if connections == 0 {
                return Err(PlanError::Zero("the number of connections"));
            }
            if threads > connections {
                return Err(PlanError::IdleThreads { threads, connections });
            }
        }
        match (threads, self.messages_per_connection) {
            (0, _) => Err(PlanError::Zero("the number of threads")),
            (_, Some(0)) => Err(PlanError::Zero("the number of messages per connection")),
            _ => Ok(()),
        }
    }

    fn check_messages(&self) -> Result<(), PlanError> {
        let (smallest, largest) = self.sizes.bounds();
        let wrong = [smallest, largest]
            .into_iter()
            .find(|size| !(1..=LARGEST_MESSAGE).contains(size));
        if let Some(size) = wrong {
            return Err(PlanError::MessageSize(size));
        }
        if !(1..=DEEPEST).contains(&self.depth) {
            return Err(PlanError::Depth(self.depth));
        }
        if self.transport == Transport::Tcp {
            return Ok(());
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
        let is_limit = |time: Duration| !time.is_zero() && time <= LONGEST;
        if self.duration.is_zero() || self.duration.saturating_add(self.warmup) > LONGEST {
            return Err(PlanError::Duration(self.duration));
        }
        if !is_limit(self.connect_timeout) {
            return Err(PlanError::ConnectTimeout(self.connect_timeout));
        }
        if !is_limit(self.answer_timeout) {
            return Err(PlanError::AnswerTimeout(self.answer_timeout));
        }
        match self.think > LONGEST {
            true => Err(PlanError::Think(self.think)),
            false => Ok(()),
        }
    }

    fn check_schedule(&self) -> Result<(), PlanError> {
        let Some(pace) = &self.pace else {
            return Ok(());
        };
        let rates = pace.stages.iter().flat_map(|stage| [stage.from, stage.to]);
        if let Some(rate) = { rates }.find(|rate| *rate > HIGHEST_RATE) {
            return Err(PlanError::Rate(rate));
        }
        match pace.count_after(self.duration.as_secs_f64() * 1e9) < 1.0 {
            true => Err(PlanError::NothingDue(self.duration)),
            false => Ok(()),
        }
    }

    fn check_addresses(&self) -> Result<(), PlanError> {
        let target = match self.target {
            Address::Internet(target) => target,
            Address::Unix(_) => return self.check_unix(),
        };
        match self
            .sources
            .iter()
            .find(|address| address.is_ipv4() != target.is_ipv4())
        {
            Some(&address) => Err(PlanError::SourceFamily { address, target }),
            None => Ok(()),
        }
    }

    fn check_unix(&self) -> Result<(), PlanError> {
        let refused = |field, reason| Err(PlanError::OverUnix { field, reason });
        if self.transport == Transport::Udp {
            return refused("udp", "it carries streams, as TCP does");
        }
        match self.sources.is_empty() {
            true => Ok(()),
            false => refused("source", "its clients have no address and no port"),
        }
    }

    /// Checks what this process may use.
    fn with_limits(mut self) -> Result<Self, PlanError> {
        let allowed = affinity::allowed().unwrap_or_default();
        if let Some(&cpu) = self.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            return Err(PlanError::Processor { cpu, allowed });
        }
        let asked = self.connections.saturating_add(self.idle);
        let possible = limits::possible(asked, self.threads, limits::hard_limit())?;
        self.most_connections = match self.loop_kind {
            LoopKind::PartlyOpen => possible - self.idle,
            _ => self.connections,
        };
        Ok(self)
    }
}

/// Fields that contradict each other, or have no effect.
pub(crate) fn check_combinations(plan: &Plan) -> Result<(), PlanError> {
    let refused = |first, second, reason| {
        Err(PlanError::Contradiction {
            first,
            second,
            reason,
        })
    };
    let schedules: Vec<&str> = [
        ("rate", plan.rate.is_some()),
        ("stages", plan.stages.is_some()),
        ("connect_rate", plan.connect_rate.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    let schedule = match schedules[..] {
        [first, second, ..] => return refused(first, second, "a load has one schedule"),
        [only] => Some(only),
        [] => None,
    };
    if plan.arrivals.is_some() && schedule.is_none() {
        return Err(PlanError::Missing {
            field: "arrivals",
            needed: "a schedule: give `rate`, `stages` or `connect_rate`",
        });
    }
    if let Some(schedule) = schedule
        && plan.depth != 1
    {
        return refused(
            "depth",
            schedule,
            "only a closed loop keeps a number of messages in flight",
        );
    }
    if let (Some(schedule), LoopKind::Open) = (schedule, plan.loop_kind()) {
        if plan.think.0 > Duration::ZERO {
            return refused(
                "think",
                schedule,
                "in an open loop messages do not wait for answers",
            );
        }
        if plan.messages_per_connection.is_some() {
            return refused(
                "messages_per_connection",
                schedule,
                "an open loop keeps its connections; `connect_rate` opens and closes them",
            );
        }
    }
    if plan.stages.is_some() && plan.duration.is_some() {
        return refused("stages", "duration", "the load lasts as long as its stages");
    }
    if plan.connect_rate.is_some() && plan.connections.is_some() {
        return refused(
            "connect_rate",
            "connections",
            "the number of connections follows from the rate and the server",
        );
    }
    if plan.reconnect && plan.connect_rate.is_some() {
        return refused(
            "reconnect",
            "connect_rate",
            "each connection that arrives is a new one",
        );
    }
    if plan.reconnect && plan.messages_per_connection.is_some() {
        return refused(
            "reconnect",
            "messages_per_connection",
            "connections that are closed are replaced, those that fail too",
        );
    }
    if plan.engine == Engine::Mixed {
        return Err(PlanError::MixedEngine);
    }
    match plan.udp {
        true => check_datagrams(plan),
        false if plan.answer_timeout.is_some() => Err(PlanError::Missing {
            field: "answer_timeout",
            needed: "`udp`: over TCP no answer is lost",
        }),
        false => Ok(()),
    }
}

/// Fields that need connections, or more than one message in flight.
fn check_datagrams(plan: &Plan) -> Result<(), PlanError> {
    const REASON: &str = "UDP has no connections that open and close";
    let table = [
        (
            "lines",
            plan.lines,
            "a datagram is a message by itself, and needs no line feed",
        ),
        ("connect_rate", plan.connect_rate.is_some(), REASON),
        (
            "messages_per_connection",
            plan.messages_per_connection.is_some(),
            REASON,
        ),
        (
            "connect_timeout",
            plan.connect_timeout.is_some(),
            "a UDP socket connects at once",
        ),
        ("idle", plan.idle > 0, REASON),
        ("reconnect", plan.reconnect, REASON),
        (
            "depth",
            plan.depth > 1,
            "a connection has one message in flight; send at a `rate` for more",
        ),
    ];
    match table.into_iter().find(|(_, given, _)| *given) {
        Some((field, _, reason)) => Err(PlanError::Contradiction {
            first: field,
            second: "udp",
            reason,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
