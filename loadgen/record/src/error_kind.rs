//! The kinds of errors of connections and messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a connection, or over UDP a message, can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No server listens there.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The connection was not established, or the server did not close it, in time.
    TimedOut,
    /// A byte came back that differs from the one sent.
    WrongBytes,
    /// The peer ended the connection while an answer was due.
    EarlyEnd,
    /// No local port was free: a limit of this side, not of the server.
    NoLocalPort,
    /// Too many open files: a limit of this side, not of the server.
    TooManyOpenFiles,
    /// Over UDP: a message had no answer in time.
    Lost,
    /// Over UDP: an answer came too late, or a second time.
    Stale,
    /// Another error, which the example names.
    Other,
}

impl ErrorKind {
    /// The name in records, conditions and text.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Refused => "refused",
            ErrorKind::Reset => "reset",
            ErrorKind::TimedOut => "timed_out",
            ErrorKind::WrongBytes => "wrong_bytes",
            ErrorKind::EarlyEnd => "early_end",
            ErrorKind::NoLocalPort => "no_local_port",
            ErrorKind::TooManyOpenFiles => "too_many_open_files",
            ErrorKind::Lost => "lost",
            ErrorKind::Stale => "stale",
            ErrorKind::Other => "other",
        }
    }

    /// Whether it affects one message, and not its connection.
    pub fn is_of_a_message(self) -> bool {
        matches!(self, ErrorKind::Lost | ErrorKind::Stale)
    }

    /// Whether it may pass by itself: the connection can be opened again once the server, or the path to
    /// it, is back. Neither wrong bytes nor a limit of this side pass.
    pub fn may_pass(self) -> bool {
        let is_of_the_other_side = !self.is_local() && !self.is_of_a_message();
        is_of_the_other_side && self != ErrorKind::WrongBytes
    }

    /// Whether a limit of this side caused it.
    pub fn is_local(self) -> bool {
        matches!(self, ErrorKind::NoLocalPort | ErrorKind::TooManyOpenFiles)
    }
}
