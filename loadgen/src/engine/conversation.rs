//! One connection's conversation: what to send, and whether what came back is right.
//!
//! No socket and no clock here: an engine moves the bytes and brings the time.

use crate::pattern::Pattern;

/// A connection in a closed loop: one message is on its way or the next one is due.
#[derive(Debug)]
pub struct Conversation {
    /// Position in the pattern of the message that is on its way.
    message: u64,
    message_bytes: u64,
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
    /// Not the bytes that were due, or more than were due.
    Wrong,
}

impl Conversation {
    /// The conversation of connection number `connection`.
    pub fn new(connection: usize, message_bytes: u64) -> Self {
        Conversation {
            message: Pattern::start(connection),
            message_bytes,
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
    pub fn receive(&mut self, mut input: &[u8], pattern: &Pattern) -> Received {
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
        self.message += self.message_bytes;
        self.sent = 0;
        self.received = 0;
        Received::Complete {
            started_ns: self.started_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        let mut conversation = Conversation::new(3, 600_000);
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
        let mut conversation = Conversation::new(0, 64);
        let first = send_all(&mut conversation, &pattern);
        assert_eq!(
            conversation.receive(&[&first[..], &first].concat(), &pattern),
            Received::Wrong
        );

        let mut conversation = Conversation::new(0, 64);
        send_all(&mut conversation, &pattern);
        conversation.receive(&first, &pattern);
        send_all(&mut conversation, &pattern);
        assert_eq!(conversation.receive(&first, &pattern), Received::Wrong);
    }

    #[test]
    fn an_answer_before_its_question_is_wrong() {
        let pattern = Pattern::new();
        let mut conversation = Conversation::new(0, 64);
        let due = conversation.unsent(&pattern)[..8].to_vec();
        assert_eq!(conversation.receive(&due, &pattern), Received::Wrong);
    }

    #[test]
    fn single_bytes_of_swapped_connections_are_wrong_within_a_few_messages() {
        let pattern = Pattern::new();
        let (mut left, mut right) = (Conversation::new(0, 1), Conversation::new(1, 1));
        let caught = (0..8).any(|_| {
            send_all(&mut left, &pattern);
            let theirs = send_all(&mut right, &pattern);
            right.receive(&theirs, &pattern);
            left.receive(&theirs, &pattern) == Received::Wrong
        });
        assert!(caught);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_right_bytes_is_right(
            size in 1u64..5000, connection in 0usize..100_000, cuts in prop::collection::vec(1usize..700, 1..40)
        ) {
            let pattern = Pattern::new();
            let mut conversation = Conversation::new(connection, size);
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
            let mut conversation = Conversation::new(9, size);
            let mut message = send_all(&mut conversation, &pattern);
            let at = at % message.len();
            message[at] ^= flip;
            prop_assert_eq!(conversation.receive(&message, &pattern), Received::Wrong);
        }
    }
}
