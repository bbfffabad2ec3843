//! Which datagrams a server does not answer, and the counts of dropped ones.
//!
//! The source address of a datagram can be forged. An attacker who forges the address of
//! another service makes the two answer each other for ever (CVE-2024-2169), so an echo
//! server must not answer every source. It cannot recognise an echo server on another
//! port, so by default it is reachable from its own host only.

use std::fmt;
use std::net::SocketAddr;

/// Lower ports belong to services; clients get higher ones. Some services answer any
/// datagram (echo 7, daytime 13, qotd 17, chargen 19, time 37), others answer an error with
/// an error (DNS 53, TFTP 69, NTP 123). The echo service of `inetd` has refused the whole
/// range since the nineties, and refusing it all cannot miss a service.
const FIRST_CLIENT_PORT: u16 = 1024;

/// Why the server dropped a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its source is the port of a service, which may answer the answer.
    Service,
    /// Its source port is the server's own: it comes from the server itself or from a similar
    /// one.
    OwnPort,
    /// It did not fit into the buffer, and a truncated answer would be wrong.
    TooLong,
    /// The answer could not be sent or delivered.
    Unsent,
    /// The receive queue was full.
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

/// Why the server on `port` must not answer a datagram from this source, if it must not.
pub fn refusal(source: SocketAddr, port: u16) -> Option<Reason> {
    match source.port() {
        own if own == port => Some(Reason::OwnPort),
        0..FIRST_CLIENT_PORT => Some(Reason::Service),
        _ => None,
    }
}

/// Counts dropped datagrams by reason; reports the first of each as it happens.
#[derive(Debug, Default)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    /// Counts one datagram; `detail` goes into the report.
    pub fn count(&mut self, reason: Reason, detail: impl fmt::Display) {
        if self.0[reason as usize] == 0 {
            complain!("echo-server: dropped a datagram {reason}: {detail} (reported once, all are counted)");
        }
        self.add(reason, 1);
    }

    /// Counts datagrams that the kernel has dropped.
    pub fn add(&mut self, reason: Reason, datagrams: u64) {
        self.0[reason as usize] += datagrams;
    }

    /// Whether no datagram was dropped.
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
    fn service_ports_and_the_own_port_are_refused_on_any_host() {
        let of = |text: &str| refusal(text.parse().unwrap(), 7007);
        for service in [0, 7, 11, 13, 17, 19, 37, 53, 69, 123, 1023] {
            assert_eq!(of(&format!("127.0.0.1:{service}")), Some(Reason::Service));
        }
        assert_eq!(of("192.0.2.1:7007"), Some(Reason::OwnPort));
        assert_eq!(of("[2001:db8::1]:7007"), Some(Reason::OwnPort));
        assert_eq!(of("192.0.2.1:1024"), None);
        // The more specific reason wins for a server on a low port.
        assert_eq!(refusal("127.0.0.1:7".parse().unwrap(), 7), Some(Reason::OwnPort));
    }

    #[test]
    fn the_summary_counts_dropped_datagrams_by_reason() {
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
    fn each_reason_has_its_own_counter() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
