//! What a server of datagrams does not answer, and the account of it.
//!
//! A datagram says where it comes from and cannot prove it. Whoever forges the address of
//! another service there makes the two answer each other for ever (CVE-2024-2169), so an
//! echo server must know whom not to answer. Two echo servers on ports of their own choice
//! cannot know that of each other, so this one is reached from its own host only, unless
//! its user permits more.

use std::fmt;
use std::net::SocketAddr;

/// Ports below this one belong to services; clients are given higher ones. Some of those
/// services answer whatever comes (echo 7, daytime 13, qotd 17, chargen 19, time 37),
/// others answer an error with an error (DNS 53, TFTP 69, NTP 123); `inetd` has refused
/// the whole range to its own echo since the nineties, and so is nothing forgotten here.
const FIRST_CLIENT_PORT: u16 = 1024;

/// Why a datagram was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It came from the port of a service, which may answer the answer.
    Service,
    /// It came from the port that this server has: from itself or from another of its
    /// kind.
    OwnPort,
    /// It did not fit into the buffer, and half of it would be a wrong answer.
    TooLong,
    /// The answer could not be sent, or did not arrive.
    Unsent,
    /// The kernel's queue was full.
    QueueFull,
    /// It arrived after the stop.
    Stopped,
}

impl Reason {
    const ALL: [Reason; 6] = [
        Reason::Service,
        Reason::OwnPort,
        Reason::TooLong,
        Reason::Unsent,
        Reason::QueueFull,
        Reason::Stopped,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Reason::Service => "from the port of a service, which might answer for ever",
            Reason::OwnPort => "from the port of this server, which would be a loop",
            Reason::TooLong => "longer than --buffer",
            Reason::Unsent => "whose answer could not be sent",
            Reason::QueueFull => "for which the queue had no room (net.core.rmem_max)",
            Reason::Stopped => "after the stop",
        })
    }
}

/// Why a datagram of that origin must not be answered by the server on `port`.
pub fn refusal(source: SocketAddr, port: u16) -> Option<Reason> {
    match source.port() {
        own if own == port => Some(Reason::OwnPort),
        0..FIRST_CLIENT_PORT => Some(Reason::Service),
        _ => None,
    }
}

/// How many datagrams were dropped, by reason; says the first of each as it comes.
#[derive(Debug, Default)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    /// Counts one; `detail` is what is known of it.
    pub fn count(&mut self, reason: Reason, detail: impl fmt::Display) {
        if self.0[reason as usize] == 0 {
            eprintln!("echo-server: dropped a datagram {reason}: {detail} (said once, and counted)");
        }
        self.add(reason, 1);
    }

    /// Counts those that the kernel has dropped.
    pub fn add(&mut self, reason: Reason, datagrams: u64) {
        self.0[reason as usize] += datagrams;
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let all: u64 = self.0.iter().sum();
        write!(f, "{all} datagram{} dropped", if all == 1 { "" } else { "s" })?;
        let counts = Reason::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0);
        for (number, (reason, count)) in counts.enumerate() {
            write!(f, "{} {count} {reason}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_servers_of_the_same_port_are_not_answered_wherever_they_are() {
        let of = |text: &str| refusal(text.parse().unwrap(), 7007);
        for service in [0, 7, 11, 13, 17, 19, 37, 53, 69, 123, 1023] {
            assert_eq!(of(&format!("127.0.0.1:{service}")), Some(Reason::Service));
        }
        assert_eq!(of("192.0.2.1:7007"), Some(Reason::OwnPort));
        assert_eq!(of("[2001:db8::1]:7007"), Some(Reason::OwnPort));
        assert_eq!(of("192.0.2.1:1024"), None);
        // Of a server on a low port too, it is said what it is.
        assert_eq!(refusal("127.0.0.1:7".parse().unwrap(), 7), Some(Reason::OwnPort));
    }

    #[test]
    fn what_was_dropped_is_told_by_reason() {
        let mut drops = Drops::default();
        assert!(drops.is_empty());
        drops.count(Reason::TooLong, "");
        drops.add(Reason::QueueFull, 4);
        drops.count(Reason::TooLong, "");
        assert_eq!(
            drops.to_string(),
            "6 datagrams dropped: 2 longer than --buffer; 4 for which the queue had no room (net.core.rmem_max)"
        );
    }

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
