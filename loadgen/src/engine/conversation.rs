//! One connection's conversation: what to send, and whether what came back is right.
//!
//! No socket and no clock here: an engine moves the bytes and brings the time.

use crate::pattern::Pattern;
use crate::record::Transport;

/// How many messages back an answer is recognised for what it is: further back than any
/// network keeps a datagram at one message in flight.
const EARLIER: u64 = 4096;

/// A connection in a closed loop: one message is on its way or the next one is due.
#[derive(Debug)]
pub struct Conversation {
    /// Position in the pattern of the message that is on its way.
    message: u64,
    message_bytes: u64,
    transport: Transport,
    /// How many messages came before it.
    number: u64,
    sent: u64,
    received: u64,
    /// When the first byte of the message was handed to the kernel.
    started_ns: u64,
    /// Whether an answer was complete within the window.
    pub answered: bool,
}

/// What received bytes meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Right so far; more of the message is to come.
    Partial,
    /// Right, and the message is complete: it was sent at this time.
    Complete {
        /// When its first byte was handed to the kernel, in nanoseconds.
        started_ns: u64,
    },
    /// The answer to a message before: it is late, or there for the second time. Only
    /// where messages can be lost.
    Stale,
    /// Not the bytes that were due, or more than were due.
    Wrong,
}

impl Conversation {
    /// The conversation of connection number `connection`.
    pub fn new(connection: usize, message_bytes: u64, transport: Transport) -> Self {
        Conversation {
            message: Pattern::start(connection),
            message_bytes,
            transport,
            number: 0,
            sent: 0,
            received: 0,
            started_ns: 0,
            answered: false,
        }
    }

    /// Starts the message that is due.
    pub fn start(&mut self, now_ns: u64) {
        self.started_ns = now_ns;
    }

    /// What to send next; empty when the message is out.
    pub fn unsent<'a>(&self, pattern: &'a Pattern) -> &'a [u8] {
        pattern.piece(self.message + self.sent, self.message_bytes - self.sent)
    }

    /// Takes note that the kernel took the next `length` bytes.
    pub fn sent(&mut self, length: usize) {
        self.sent += length as u64;
    }

    /// Checks what came back. After `Complete` the next message is due.
    pub fn receive(&mut self, input: &[u8], pattern: &Pattern) -> Received {
        match self.transport {
            Transport::Tcp => self.receive_bytes(input, pattern),
            Transport::Udp => self.receive_message(input, pattern),
        }
    }

    /// Whether the answer to a message that was sent has been waited for so long.
    pub fn is_overdue(&self, now_ns: u64, patience_ns: u64) -> bool {
        self.sent > 0 && now_ns.saturating_sub(self.started_ns) >= patience_ns
    }

    /// Leaves the message, answered or given up: the next one is due.
    pub fn leave(&mut self) {
        self.message += self.message_bytes;
        self.number += 1;
        self.sent = 0;
        self.received = 0;
    }

    /// A datagram is a whole message, of this connection, or it is wrong.
    fn receive_message(&mut self, input: &[u8], pattern: &Pattern) -> Received {
        let is_from = |position| input == pattern.piece(position, self.message_bytes);
        if self.sent > 0 && is_from(self.message) {
            self.leave();
            return Received::Complete {
                started_ns: self.started_ns,
            };
        }
        let earlier = 1..=self.number.min(EARLIER);
        match { earlier }.any(|back| is_from(self.message - back * self.message_bytes)) {
            true => Received::Stale,
            false => Received::Wrong,
        }
    }

    /// Of a stream any part of the message may come at once, and nothing else.
    fn receive_bytes(&mut self, mut input: &[u8], pattern: &Pattern) -> Received {
        // Nothing can come back that was not sent.
        if self.received + input.len() as u64 > self.sent {
            return Received::Wrong;
        }
        while !input.is_empty() {
            let due = pattern.piece(self.message + self.received, input.len() as u64);
            if &input[..due.len()] != due {
                return Received::Wrong;
            }
            self.received += due.len() as u64;
            input = &input[due.len()..];
        }
        if self.received < self.message_bytes {
            return Received::Partial;
        }
        self.leave();
        Received::Complete {
            started_ns: self.started_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn over_tcp(connection: usize, message_bytes: u64) -> Conversation {
        Conversation::new(connection, message_bytes, Transport::Tcp)
    }

    fn send_all(conversation: &mut Conversation, pattern: &Pattern) -> Vec<u8> {
        let mut out = Vec::new();
        while !conversation.unsent(pattern).is_empty() {
            out.extend_from_slice(conversation.unsent(pattern));
            conversation.sent(conversation.unsent(pattern).len());
        }
        out
    }

    #[test]
    fn an_echo_completes_the_message_with_the_time_of_its_start() {
        let pattern = Pattern::new();
        let mut conversation = over_tcp(3, 600_000);
        conversation.start(42);
        let message = send_all(&mut conversation, &pattern);
        assert_eq!(message.len(), 600_000);
        assert_eq!(conversation.receive(&message[..1], &pattern), Received::Partial);
        assert_eq!(
            conversation.receive(&message[1..], &pattern),
            Received::Complete { started_ns: 42 }
        );
        assert_ne!(
            send_all(&mut conversation, &pattern),
            message,
            "the next message is another one"
        );
    }

    #[test]
    fn a_repeated_message_is_wrong() {
        let pattern = Pattern::new();
        let mut conversation = over_tcp(0, 64);
        let first = send_all(&mut conversation, &pattern);
        assert_eq!(
            conversation.receive(&[&first[..], &first].concat(), &pattern),
            Received::Wrong
        );

        let mut conversation = over_tcp(0, 64);
        send_all(&mut conversation, &pattern);
        conversation.receive(&first, &pattern);
        send_all(&mut conversation, &pattern);
        assert_eq!(conversation.receive(&first, &pattern), Received::Wrong);
    }

    #[test]
    fn an_answer_before_its_question_is_wrong() {
        let pattern = Pattern::new();
        let mut conversation = over_tcp(0, 64);
        let due = conversation.unsent(&pattern)[..8].to_vec();
        assert_eq!(conversation.receive(&due, &pattern), Received::Wrong);
    }

    #[test]
    fn single_bytes_of_swapped_connections_are_wrong_within_a_few_messages() {
        let pattern = Pattern::new();
        let (mut left, mut right) = (over_tcp(0, 1), over_tcp(1, 1));
        let caught = (0..8).any(|_| {
            send_all(&mut left, &pattern);
            let theirs = send_all(&mut right, &pattern);
            right.receive(&theirs, &pattern);
            left.receive(&theirs, &pattern) == Received::Wrong
        });
        assert!(caught);
    }

    #[test]
    fn a_datagram_is_told_from_those_before_and_wrong_when_it_is_none_of_them() {
        let pattern = Pattern::new();
        for size in [8, 64, 65_507] {
            let mut conversation = Conversation::new(3, size, Transport::Udp);
            let first = send_all(&mut conversation, &pattern);
            assert!(!conversation.is_overdue(9, 10) && conversation.is_overdue(10, 10));
            conversation.leave();
            assert!(!conversation.is_overdue(u64::MAX, 10), "nothing is on its way");
            assert_eq!(conversation.receive(&first, &pattern), Received::Stale);

            conversation.start(42);
            let second = send_all(&mut conversation, &pattern);
            assert_eq!(conversation.receive(&first, &pattern), Received::Stale);
            let answered = Received::Complete { started_ns: 42 };
            assert_eq!(conversation.receive(&second, &pattern), answered);
            assert_eq!(conversation.receive(&second, &pattern), Received::Stale);

            let third = send_all(&mut conversation, &pattern);
            assert_eq!(conversation.receive(&third[1..], &pattern), Received::Wrong);
            assert_eq!(
                conversation.receive(&[&third[..], b"x"].concat(), &pattern),
                Received::Wrong
            );
            assert_eq!(conversation.receive(b"", &pattern), Received::Wrong);
            let theirs = send_all(&mut Conversation::new(4, size, Transport::Udp), &pattern);
            assert_eq!(conversation.receive(&theirs, &pattern), Received::Wrong);
        }
    }

    #[test]
    fn an_answer_that_was_not_asked_for_yet_is_wrong() {
        let pattern = Pattern::new();
        let mut conversation = Conversation::new(0, 64, Transport::Udp);
        let due = conversation.unsent(&pattern).to_vec();
        assert_eq!(conversation.receive(&due, &pattern), Received::Wrong);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_right_bytes_is_right(
            size in 1u64..5000, connection in 0usize..100_000, cuts in prop::collection::vec(1usize..700, 1..40)
        ) {
            let pattern = Pattern::new();
            let mut conversation = over_tcp(connection, size);
            let mut cuts = cuts.iter().cycle();
            for _ in 0..3 {
                let message = send_all(&mut conversation, &pattern);
                let mut rest = &message[..];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                    let expected = if after.is_empty() {
                        Received::Complete { started_ns: 0 }
                    } else {
                        Received::Partial
                    };
                    prop_assert_eq!(conversation.receive(piece, &pattern), expected);
                    rest = after;
                }
            }
        }

        #[test]
        fn any_wrong_byte_is_seen(size in 1u64..5000, at in 0usize..5000, flip in 1u8..) {
            let pattern = Pattern::new();
            let mut conversation = over_tcp(9, size);
            let mut message = send_all(&mut conversation, &pattern);
            let at = at % message.len();
            message[at] ^= flip;
            prop_assert_eq!(conversation.receive(&message, &pattern), Received::Wrong);
        }
    }
}
