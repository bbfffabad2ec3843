//! The kinds of errors that connections and messages can have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can go wrong with a connection, or over UDP with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nobody listens there.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The connection was not established, or not closed by the server, in time.
    TimedOut,
    /// A byte came back that is not the one that was due.
    WrongBytes,
    /// The peer ended the connection while an answer was due.
    EarlyEnd,
    /// No local port was left: a limit of this side, not the server's.
    NoLocalPort,
    /// Too many open files: a limit of this side, not the server's.
    TooManyOpenFiles,
    /// Over UDP: a message had no answer in time, and the next was sent.
    Lost,
    /// Over UDP: an answer to an earlier message came, too late or a second time.
    Stale,
    /// Anything else; the example says what.
    Other,
}

impl ErrorKind {
    /// The name under which it is stored and shown.
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

    /// Whether it is about one message, and its connection went on.
    pub fn is_of_a_message(self) -> bool {
        matches!(self, ErrorKind::Lost | ErrorKind::Stale)
    }

    /// Whether this side caused it: such an error makes a load invalid.
    pub fn is_ours(self) -> bool {
        matches!(self, ErrorKind::NoLocalPort | ErrorKind::TooManyOpenFiles)
    }
}
