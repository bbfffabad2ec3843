//! The lines to send: printable characters that end with a line feed, for servers that answer whole
//! lines. Such servers often decode and trim what they read, so there is no space and nothing that is
//! not ASCII.
//!
//! A line is a function of its connection, its number and its size, so one that is lost, repeated,
//! reordered or swapped between connections is detected. Its end is in one piece with its line feed:
//! in two pieces, even the shortest line would be two system calls and two packets.

use crate::pattern::{self, LONGEST_PIECE, PERIOD, STRIDE};

/// The longest end of a line that is in one piece. A longer line is several pieces anyway.
const LONGEST_END: u64 = 4096;

/// The size of the table of ends.
const MEMORY: u64 = 4 << 20;

/// The lines of all connections.
#[derive(Debug)]
pub struct Lines {
    /// Rows of text that end with a line feed each: the ends of lines.
    ends: Box<[u8]>,
    /// Bytes in a row.
    row_bytes: u64,
    /// How many there are: a prime, so that every step goes through all of them.
    rows: u64,
    /// One period of text, repeated until a piece fits anywhere: what is before the ends.
    heads: Box<[u8]>,
}

impl Lines {
    /// For lines of at most `largest` bytes.
    pub fn new(largest: u64) -> Self {
        let row_bytes = largest.clamp(1, LONGEST_END);
        let rows = largest_prime((MEMORY / row_bytes).min(PERIOD));
        let end = |k| match (k + 1) % row_bytes {
            0 => b'\n',
            _ => character(k),
        };
        let heads = match largest > LONGEST_END {
            true => (0..PERIOD + LONGEST_PIECE as u64)
                .map(|k| character(k % PERIOD))
                .collect(),
            false => Box::default(),
        };
        Lines {
            ends: (0..rows * row_bytes).map(end).collect(),
            row_bytes,
            rows,
            heads,
        }
    }

    /// The bytes of line `number` of a connection from `offset` on: all that are left of its
    /// `size`, or as many as are in one piece.
    pub fn piece(&self, connection: usize, number: u64, size: u64, offset: u64) -> &[u8] {
        let row = self.row(connection, number);
        let head = size.saturating_sub(self.row_bytes);
        if offset < head {
            let start = (row * STRIDE + offset) % PERIOD;
            let length = (head - offset).min(LONGEST_PIECE as u64);
            return &self.heads[start as usize..(start + length) as usize];
        }
        let end = (row + 1) * self.row_bytes;
        &self.ends[(end - (size - offset)) as usize..end as usize]
    }

    /// The row of a line. Connections that begin at the same row go through the rows by different
    /// steps.
    fn row(&self, connection: usize, number: u64) -> u64 {
        let connection = connection as u64;
        let start = connection % self.rows * STRIDE % self.rows;
        let step = 1 + connection / self.rows % (self.rows - 1);
        (start + number % self.rows * step) % self.rows
    }
}

/// A printable character that is not a space.
fn character(k: u64) -> u8 {
    b'!' + pattern::noise(k) % (b'~' - b'!' + 1)
}

fn largest_prime(most: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..=most)
        .rev()
        .find(is_prime)
        .expect("there are thousands of rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// A whole line, put together from its pieces.
    fn line(lines: &Lines, connection: usize, number: u64, size: u64) -> Vec<u8> {
        let mut line = Vec::new();
        while (line.len() as u64) < size {
            line.extend_from_slice(lines.piece(connection, number, size, line.len() as u64));
        }
        line
    }

    proptest! {
        #[test]
        fn a_line_ends_with_its_only_line_feed_and_is_text(
            (size, largest) in (1u64..9000).prop_flat_map(|largest| (1..=largest, Just(largest))),
            connection in 0usize..100_000,
            number in 0u64..1_000_000,
            offset in 0u64..9000,
        ) {
            let lines = Lines::new(largest);
            let whole = line(&lines, connection, number, size);
            let (last, text) = whole.split_last().unwrap();
            prop_assert_eq!(whole.len() as u64, size);
            prop_assert_eq!(*last, b'\n');
            prop_assert!(text.iter().all(u8::is_ascii_graphic));
            let offset = offset % size;
            let rest = lines.piece(connection, number, size, offset);
            prop_assert!(whole[offset as usize..].starts_with(rest) && !rest.is_empty());
            // A line that is not long is one piece.
            prop_assert!(size > LONGEST_END || offset as usize + rest.len() == whole.len());
        }
    }

    #[test]
    fn a_long_line_is_few_pieces() {
        let size = 1 << 20;
        let lines = Lines::new(size);
        let whole = line(&lines, 3, 5, size);
        assert_eq!(whole.len() as u64, size);
        assert!(!whole[..whole.len() - 1].contains(&b'\n'));
        assert_eq!(lines.piece(3, 5, size, 0).len(), LONGEST_PIECE);
        assert_eq!(
            lines.piece(3, 5, size, size - LONGEST_END).len() as u64,
            LONGEST_END
        );
    }

    #[test]
    fn lines_of_a_connection_and_of_others_differ() {
        for largest in [64, 4096] {
            let lines = Lines::new(largest);
            let some = |connection| (0..9).map(move |number| (connection, number));
            let of = |places: Vec<(usize, u64)>| -> usize {
                let lines: HashSet<_> = { places.into_iter() }
                    .map(|(connection, number)| line(&lines, connection, number, 64))
                    .collect();
                lines.len()
            };
            let rows = lines.rows as usize;
            assert_eq!(of((0..1000).map(|number| (7, number)).collect()), 1000);
            assert_eq!(of((0..1000).map(|connection| (connection, 3)).collect()), 1000);
            assert_eq!(
                of((0..20).flat_map(some).collect()),
                180,
                "neighbours are far apart"
            );
            // Two that begin with the same line go on with others.
            let same = |number| line(&lines, 7, number, 64) == line(&lines, 7 + rows, number, 64);
            assert!(same(0) && !(1..1000).any(same));
        }
    }
}
