//! The bytes to send: byte k of a connection is a function of the connection and of k.
//!
//! A single byte that is lost, repeated, reordered or swapped between connections is detected,
//! whatever the size of the messages. A check is one comparison of memory, since the expected
//! bytes are always in one piece. Where messages are lines, their bytes depend on them: see [`Lines`].

use crate::lines::Lines;
use crate::plan::CheckedPlan;

/// The period of the pattern in bytes: a prime, so no size of message or buffer falls into step
/// with it and hides a message that is lost whole.
pub const PERIOD: u64 = 65_521;

/// The longest piece: longer writes gain nothing.
pub const LONGEST_PIECE: usize = 256 * 1024;

/// Distance between the starting points of connections. Every number that the prime does not
/// divide spreads [`PERIOD`] connections over as many points; this one puts neighbours far apart.
pub const STRIDE: u64 = 40_503;

/// The bytes of all connections.
#[derive(Debug)]
pub struct Pattern {
    bytes: Box<[u8]>,
    lines: Option<Lines>,
}

impl Pattern {
    /// One period of noise, repeated until a piece fits anywhere.
    pub fn new() -> Self {
        let period: Vec<u8> = (0..PERIOD).map(noise).collect();
        let endless = period.iter().copied().cycle();
        Pattern {
            bytes: endless.take(PERIOD as usize + LONGEST_PIECE).collect(),
            lines: None,
        }
    }

    /// The bytes that a plan sends.
    pub fn of(plan: &CheckedPlan) -> Self {
        let (_, largest) = plan.sizes.bounds();
        Pattern {
            lines: plan.lines.then(|| Lines::new(largest)),
            ..Pattern::new()
        }
    }

    /// The lines to send, if messages are lines.
    pub fn lines(&self) -> Option<&Lines> {
        self.lines.as_ref()
    }

    /// Where the stream of a connection starts.
    pub fn start(connection: usize) -> u64 {
        connection as u64 % PERIOD * STRIDE % PERIOD
    }

    /// The bytes from `position` on, at most [`LONGEST_PIECE`] of them.
    pub fn piece(&self, position: u64, length: u64) -> &[u8] {
        let start = (position % PERIOD) as usize;
        &self.bytes[start..start + length.min(LONGEST_PIECE as u64) as usize]
    }
}

/// The top byte of splitmix64 (Steele, Lea, Flood, 2014).
pub fn noise(k: u64) -> u8 {
    let mut z = (k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_byte_depends_only_on_its_position() {
        let pattern = Pattern::new();
        let whole = pattern.piece(PERIOD - 10, 1000);
        for k in [0, 9, 10, 11, 999] {
            assert_eq!(pattern.piece(PERIOD - 10 + k, 1), &whole[k as usize..=k as usize]);
        }
    }

    #[test]
    fn connections_start_apart() {
        let starts: HashSet<u64> = (0..60_000).map(Pattern::start).collect();
        assert_eq!(starts.len(), 60_000);
    }

    #[test]
    fn eight_bytes_occur_at_one_position_only() {
        let pattern = Pattern::new();
        let places: HashSet<&[u8]> = (0..PERIOD).map(|k| pattern.piece(k, 8)).collect();
        assert_eq!(places.len() as u64, PERIOD);
    }

    #[test]
    fn shifted_and_swapped_streams_differ_in_nearly_every_byte() {
        let pattern = Pattern::new();
        let stream = |connection, shift| pattern.piece(Pattern::start(connection) + shift, 4096);
        for (left, right) in [
            (stream(0, 0), stream(1, 0)),
            (stream(7, 0), stream(7, 1)),
            (stream(7, 0), stream(7, 64)),
        ] {
            let same = left.iter().zip(right).filter(|(a, b)| a == b).count();
            assert!(same < 64, "{same} of 4096 bytes are the same");
        }
    }
}
