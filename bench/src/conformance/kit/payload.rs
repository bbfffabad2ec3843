//! Bytes that clients send, chosen so that a lost, doubled, swapped or foreign byte shows.

use anyhow::bail;

/// Bytes that contain every value and do not repeat: splitmix64 (Steele, Lea, Flood, 2014).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Period of the pattern: a prime, so that no message or buffer size is a multiple of it and
/// the loss of a whole message still shows.
const PERIOD: usize = 65_521;

/// The longest piece of the pattern; longer writes gain nothing.
pub const LONGEST_PIECE: usize = 256 * 1024;

/// Distance between the starting points of neighbouring connections: far apart, and different
/// for any [`PERIOD`] connections in a row.
const STRIDE: u64 = 40_503;

/// The byte stream of every connection: byte k of connection n is a function of k and n.
#[derive(Debug)]
pub struct Pattern(Vec<u8>);

impl Default for Pattern {
    /// Lays the bytes out so that every piece is contiguous.
    fn default() -> Self {
        let mut bytes = noise(0, PERIOD);
        bytes.extend_from_within(..);
        while bytes.len() < PERIOD + LONGEST_PIECE {
            bytes.extend_from_within(..PERIOD);
        }
        Pattern(bytes)
    }
}

impl Pattern {
    /// What connection `number` sends from `position` on, up to [`LONGEST_PIECE`].
    pub fn piece(&self, number: u64, position: u64, length: u64) -> &[u8] {
        let period = PERIOD as u64;
        let start = (number % period * STRIDE + position % period) % period;
        let length = length.min(LONGEST_PIECE as u64);
        &self.0[start as usize..][..length as usize]
    }
}

/// Compares what was received with what was sent; the error names the first wrong byte, and
/// `position` is that of the first byte of both.
pub fn compare(received: &[u8], sent: &[u8], position: u64) -> anyhow::Result<()> {
    if received == sent {
        return Ok(());
    }
    let same = received.iter().zip(sent).take_while(|(a, b)| a == b).count();
    bail!(
        "byte {} came back as {:#04x} instead of {:#04x}",
        position + same as u64,
        received[same],
        sent[same]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn noise_contains_every_value_and_depends_on_the_seed() {
        let bytes = noise(1, 65_536);
        assert_eq!(bytes.len(), 65_536);
        assert!((0..=255).all(|value| bytes.contains(&value)));
        assert_ne!(noise(2, 100), bytes[..100]);
    }

    proptest! {
        #[test]
        fn a_byte_of_the_pattern_does_not_depend_on_the_piece(
            number: u64, position in 0..u64::MAX / 2, within in 0..LONGEST_PIECE as u64
        ) {
            let pattern = Pattern::default();
            let whole = pattern.piece(number, position, u64::MAX);
            prop_assert_eq!(whole.len(), LONGEST_PIECE);
            prop_assert_eq!(pattern.piece(number, position + within, 1)[0], whole[within as usize]);
        }

        #[test]
        fn shifted_bytes_and_those_of_another_connection_differ(
            number in 0..20_000u64, other in 1..20_000u64, lost in 1..2 * LONGEST_PIECE as u64
        ) {
            prop_assume!(lost % PERIOD as u64 != 0);
            let pattern = Pattern::default();
            let right = pattern.piece(number, 0, 16);
            prop_assert_ne!(right, pattern.piece(number + other, 0, 16));
            prop_assert_ne!(right, pattern.piece(number, lost, 16));
        }
    }
}
