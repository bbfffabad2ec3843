//! The choices of a plan, each a word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the next message of a connection is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoopKind {
    /// When the answer to the message before is complete: measures capacity.
    Closed,
    /// By a schedule that does not depend on the answers, as for independent users.
    Open,
    /// Connections arrive by a schedule; within each, the next message is due when the answer
    /// to the one before is complete.
    PartlyOpen,
}

/// What a server speaks, and so what a load is sent over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Connections that carry streams of bytes.
    #[default]
    Tcp,
    /// Datagrams: separate messages, which can be lost.
    Udp,
}

/// How a schedule draws its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly spaced
    Constant,
    /// Exponential gaps, as from many independent users
    Poisson,
}

/// The I/O backend of the generator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Readiness: epoll_wait, then read and write
    #[default]
    Epoll,
    /// Completion: io_uring, with submissions and completions in batches
    Uring,
    /// Merged loads of generators with different backends; not to be asked for.
    #[cfg_attr(feature = "clap", value(skip))]
    Mixed,
}

/// What a worker does while nothing is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Sleep until an event; every latency includes the wake-up.
    #[default]
    Sleep,
    /// Busy-poll, which takes a whole processor for each worker.
    Spin,
    /// Merged loads of generators that waited differently.
    Mixed,
}

/// `epoll`, `uring` or `mixed`.
impl std::fmt::Display for Engine {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(match self {
            Engine::Epoll => "epoll",
            Engine::Uring => "uring",
            Engine::Mixed => "mixed",
        })
    }
}
