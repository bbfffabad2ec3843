//! Why a plan cannot be carried out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::bounds::{DEEPEST, LARGEST_DATAGRAM, SMALLEST_DATAGRAM};
use crate::limits::TooFewDescriptors;
use crate::sizes::SizesError;

/// Why a plan cannot be carried out, and what to change. Fields have the names of
/// [`record::Plan`], which are also the options of the command line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A count of nothing.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Two fields contradict each other.
    #[error("`{first}` cannot be used with `{second}`: {reason}")]
    Contradiction {
        /// A field.
        first: &'static str,
        /// Another.
        second: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A field has no effect without another.
    #[error("`{field}` needs {needed}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What it needs.
        needed: &'static str,
    },
    /// More connections than one process can open.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// Workers without a connection.
    #[error("{threads} threads have only {connections} connections to share: use at most as many threads")]
    IdleThreads {
        /// Threads asked for.
        threads: usize,
        /// Connections asked for.
        connections: usize,
    },
    /// The sizes of the messages cannot be read.
    #[error(transparent)]
    Sizes(#[from] SizesError),
    /// An empty message cannot be echoed, and a huge one does not fit into memory.
    #[error("a message of {0} bytes cannot be sent: from 1B to 64MiB")]
    MessageSize(u64),
    /// A datagram that is too small or too large.
    #[error(
        "a message of {0} bytes cannot be sent over UDP: from {SMALLEST_DATAGRAM}B, so that its bytes differ from \
         those of the one before, to {LARGEST_DATAGRAM}B, the longest datagram"
    )]
    DatagramSize(u64),
    /// A depth of zero, or beyond any use.
    #[error("a connection cannot keep {0} messages in flight: from 1 to {DEEPEST}")]
    Depth(u32),
    /// Datagrams are recognised by their place in the pattern.
    #[error("over UDP all messages have one size: give a `size` such as 64B")]
    DatagramSizes,
    /// Every message would be lost, or none ever.
    #[error("an answer cannot come within {0:?}: more than 0s, and at most 24h")]
    AnswerTimeout(Duration),
    /// No connection could be established, or none would ever fail.
    #[error("a connection cannot be established within {0:?}: more than 0s, and at most 24h")]
    ConnectTimeout(Duration),
    /// Longer than any load.
    #[error("a think time of {0:?} is too long: at most 24h")]
    Think(Duration),
    /// A rate that no host sends.
    #[error("a rate of {0}/s cannot be sent: at most 10M/s")]
    Rate(f64),
    /// Nothing would be sent in the whole window.
    #[error("in {0:?} nothing would be due at this rate: raise it, or run for longer")]
    NothingDue(Duration),
    /// A source of another address family than the target.
    #[error("{address} is not of the family of the target {target}, so no connection can come from it")]
    SourceFamily {
        /// The source.
        address: IpAddr,
        /// The target.
        target: SocketAddr,
    },
    /// A field that makes no sense over a Unix socket.
    #[error("`{field}` cannot be used with the target of a Unix socket: {reason}")]
    OverUnix {
        /// The field.
        field: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A processor that the generator may not use.
    #[error("processor {cpu} is not one that this process may use: choose from {allowed:?}")]
    Processor {
        /// The processor asked for.
        cpu: usize,
        /// The processors that it may use.
        allowed: Vec<usize>,
    },
    /// No window, or one of days.
    #[error("a duration of {0:?} cannot be measured: more than 0s, and at most 24h with the warm-up")]
    Duration(Duration),
    /// The word of a merged record.
    #[error("`engine` cannot be mixed: choose epoll or uring")]
    MixedEngine,
}
