//! The transport protocols.

use std::fmt;

/// The transport protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Connections that carry a stream of bytes: TCP, or a Unix socket.
    Stream,
    /// Separate messages: UDP.
    Datagram,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Transport::Stream => "tcp",
            Transport::Datagram => "udp",
        })
    }
}
