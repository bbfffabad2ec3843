//! What to send: a validated value, nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::affinity;
use crate::record::{Discipline, PlanRecord, Transport};

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

/// How long an answer over UDP is waited for, where nothing else is said: what Linux's TCP
/// waits at least before it sends again (TCP_RTO_MIN). A shorter time takes slow answers
/// for lost ones; a longer one leaves the connection idle after a loss for much of a trial.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// What to ask of the load generator; [`Request::validate`] makes a [`Plan`] of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The server.
    pub target: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// Connections, held open over the whole run.
    pub connections: usize,
    /// Worker threads; each serves its share of the connections.
    pub threads: usize,
    /// Bytes in a message.
    pub message_bytes: u64,
    /// Time that is run and not counted.
    pub warmup: Duration,
    /// Time that is counted.
    pub duration: Duration,
    /// How long a connection may take to be established.
    pub connect_timeout: Duration,
    /// Over UDP: how long an answer is waited for until its message counts as lost.
    pub answer_timeout: Duration,
    /// Processors that the workers are pinned to, in turn; none leaves them free.
    pub cpus: Vec<usize>,
}

/// Why a request cannot be carried out; says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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

/// A request that can be carried out.
#[derive(Debug, Clone)]
pub struct Plan(Request);

impl Request {
    /// Checks the request, and raises the limit of descriptors as far as it needs.
    pub fn validate(self) -> Result<Plan, PlanError> {
        for (name, value) in [
            ("the number of connections", self.connections),
            ("the number of threads", self.threads),
        ] {
            if value == 0 {
                return Err(PlanError::Zero(name));
            }
        }
        if self.threads > self.connections {
            return Err(PlanError::IdleThreads {
                threads: self.threads,
                connections: self.connections,
            });
        }
        if self.message_bytes == 0 || self.message_bytes > LARGEST_MESSAGE {
            return Err(PlanError::MessageSize(self.message_bytes));
        }
        if self.transport == Transport::Udp {
            if !(SMALLEST_DATAGRAM..=LARGEST_DATAGRAM).contains(&self.message_bytes) {
                return Err(PlanError::DatagramSize(self.message_bytes));
            }
            if self.answer_timeout.is_zero() || self.answer_timeout > LONGEST {
                return Err(PlanError::AnswerTimeout(self.answer_timeout));
            }
        }
        if self.duration.is_zero() || self.duration.saturating_add(self.warmup) > LONGEST {
            return Err(PlanError::Duration(self.duration));
        }
        let allowed = affinity::allowed().unwrap_or_default();
        if let Some(&cpu) = self.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            return Err(PlanError::Processor { cpu, allowed });
        }
        let limit = raise_descriptor_limit();
        let possible = limit.saturating_sub(OWN_DESCRIPTORS);
        if self.connections as u64 > possible {
            return Err(PlanError::Descriptors {
                asked: self.connections,
                limit,
                possible,
            });
        }
        Ok(Plan(self))
    }
}

impl Plan {
    /// What was asked for.
    pub fn request(&self) -> &Request {
        &self.0
    }

    /// The plan in the plain numbers of the schema.
    pub fn record(&self) -> PlanRecord {
        PlanRecord {
            discipline: Discipline::Closed,
            connections: self.0.connections,
            threads: self.0.threads,
            message_bytes: self.0.message_bytes,
            warmup_s: self.0.warmup.as_secs_f64(),
            duration_s: self.0.duration.as_secs_f64(),
            transport: self.0.transport,
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
            target: "127.0.0.1:7007".parse().unwrap(),
            transport: Transport::Tcp,
            connections: 4,
            threads: 2,
            message_bytes: 64,
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            answer_timeout: ANSWER_TIMEOUT,
            cpus: Vec::new(),
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
        assert_eq!(refused(|r| r.message_bytes = 0), PlanError::MessageSize(0));
        assert!(matches!(
            refused(|r| r.message_bytes = 1 << 40),
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
                message_bytes,
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
