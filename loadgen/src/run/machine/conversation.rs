//! The messages of one connection: what to send, and whether the answers are right.

use std::collections::VecDeque;

use super::wrong;
use crate::pattern::Pattern;
use record::Transport;

/// An answer is recognised as late up to this many messages back: further than any network delays
/// a datagram.
const EARLIER: u64 = 4096;

/// The messages of a connection, in order; any number of them may be outstanding.
#[derive(Debug)]
pub struct Conversation {
    transport: Transport,
    /// Number of the connection.
    connection: usize,
    /// Position in the pattern of the first byte.
    start: u64,
    /// Messages begun so far.
    pub begun: u64,
    /// Position in the pattern where the last message ends.
    end: u64,
    /// The kernel has everything before this position.
    sent: u64,
    /// Of a stream, everything before this position has come back.
    received: u64,
    /// Bytes in the last message.
    last_bytes: u64,
    /// Messages without an answer, in order.
    outstanding: VecDeque<Message>,
    /// How many of them, from the front, are answered and not taken.
    complete: usize,
    /// How many of them, from the back, the kernel has no byte of.
    waiting: usize,
}

/// A message and its times, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// When it was due.
    pub intended_ns: u64,
    /// When the kernel accepted its first byte; 0 before that.
    pub sent_ns: u64,
    /// Whether it was due within the window.
    pub of_window: bool,
    /// When it was sent on a connection that was lost, or was due while there was none; otherwise 0.
    earlier_ns: u64,
    /// Its number on the connection, from 0.
    number: u64,
    start: u64,
    end: u64,
}

impl Message {
    /// When it was first sent, or was due if there was no connection then; 0 before that.
    pub fn first_sent_ns(&self) -> u64 {
        match self.earlier_ns {
            0 => self.sent_ns,
            earlier_ns => earlier_ns,
        }
    }
}

/// The meaning of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// They were expected. Messages that they complete can be [taken](Conversation::take_complete).
    Right,
    /// The answer to an earlier message, late or repeated. Only where messages can be lost.
    Stale,
    /// Other bytes than expected, or more.
    Wrong,
}

impl Conversation {
    /// The messages of connection number `connection`.
    pub fn new(connection: usize, transport: Transport) -> Self {
        let start = Pattern::start(connection);
        Conversation {
            transport,
            connection,
            start,
            begun: 0,
            end: start,
            sent: start,
            received: start,
            last_bytes: 0,
            outstanding: VecDeque::new(),
            complete: 0,
            waiting: 0,
        }
    }

    /// Begins the next message; its response time runs from `intended_ns`.
    pub fn begin(&mut self, intended_ns: u64, bytes: u64, of_window: bool) {
        self.push(intended_ns, bytes, of_window, 0);
    }

    /// The same for a message that is due while there is no connection, and counts as sent then.
    pub fn begin_without_connection(&mut self, intended_ns: u64, bytes: u64, of_window: bool) {
        self.push(intended_ns, bytes, of_window, intended_ns);
    }

    /// The messages without an answer, as those of another connection that replaces this one. They
    /// are to be sent there from their beginning.
    pub fn on_another(&self, connection: usize) -> Self {
        let mut next = Conversation::new(connection, self.transport);
        for message in self.unanswered() {
            let earlier_ns = match message.first_sent_ns() {
                0 => message.intended_ns,
                first_sent_ns => first_sent_ns,
            };
            let bytes = message.end - message.start;
            next.push(message.intended_ns, bytes, message.of_window, earlier_ns);
        }
        next
    }

    fn push(&mut self, intended_ns: u64, bytes: u64, of_window: bool, earlier_ns: u64) {
        let start = self.end;
        let number = self.begun;
        self.end += bytes;
        self.last_bytes = bytes;
        self.begun += 1;
        self.waiting += 1;
        self.outstanding.push_back(Message {
            intended_ns,
            sent_ns: 0,
            of_window,
            earlier_ns,
            number,
            start,
            end: self.end,
        });
    }

    /// What to send next; empty if the kernel has everything.
    pub fn unsent<'a>(&self, pattern: &'a Pattern) -> &'a [u8] {
        let end = match self.transport {
            Transport::Tcp => self.end,
            // A datagram is one message.
            Transport::Udp => self.next_to_send().map_or(self.sent, |message| message.end),
        };
        self.piece(self.sent, end - self.sent, pattern)
    }

    /// The bytes from `position` on, at most `length` of them, and as many as are in one piece. A
    /// message lies there that is not answered.
    fn piece<'a>(&self, position: u64, length: u64, pattern: &'a Pattern) -> &'a [u8] {
        let Some(lines) = pattern.lines() else {
            return pattern.piece(position, length);
        };
        let at = self
            .outstanding
            .partition_point(|message| message.end <= position);
        let Some(line) = self.outstanding.get(at).filter(|_| length > 0) else {
            return &[];
        };
        let (size, offset) = (line.end - line.start, position - line.start);
        let piece = lines.piece(self.connection, line.number, size, offset);
        &piece[..piece.len().min(length as usize)]
    }

    /// The kernel accepted the next `length` bytes at `now_ns`.
    pub fn sent(&mut self, length: usize, now_ns: u64) {
        self.sent += length as u64;
        while self.waiting > 0 {
            let at = self.outstanding.len() - self.waiting;
            let message = &mut self.outstanding[at];
            if message.start >= self.sent {
                break;
            }
            message.sent_ns = now_ns;
            self.waiting -= 1;
        }
    }

    /// The kernel returned the last `length` bytes.
    pub fn returned(&mut self, length: usize) {
        self.sent -= length as u64;
        // Messages that it has no byte of any more wait again.
        let sent = self.sent;
        let waiting = self
            .outstanding
            .iter_mut()
            .rev()
            .take_while(|message| message.start >= sent);
        self.waiting = waiting.map(|message| message.sent_ns = 0).count();
    }

    /// Checks received bytes.
    pub fn receive(&mut self, input: &[u8], pattern: &Pattern) -> Received {
        match self.transport {
            Transport::Tcp => self.receive_bytes(input, pattern),
            Transport::Udp => self.receive_datagram(input, pattern),
        }
    }

    /// What is wrong with bytes that [`Conversation::receive`] has found wrong.
    pub fn explain(&self, input: &[u8], pattern: &Pattern) -> String {
        let (offset, from, until) = match self.transport {
            Transport::Tcp => (self.received - self.start, self.received, self.sent),
            // The oldest message; the order of datagrams is not known.
            Transport::Udp => match self.outstanding.front() {
                Some(message) => (0, message.start, message.end),
                None => (0, self.sent, self.sent),
            },
        };
        let mut expected = Vec::new();
        while expected.len() < input.len() && from + (expected.len() as u64) < until {
            let at = from + expected.len() as u64;
            let length = (until - at).min((input.len() - expected.len()) as u64);
            expected.extend_from_slice(self.piece(at, length, pattern));
        }
        wrong::describe(offset, &expected, input)
    }

    /// The next message whose answer is complete.
    pub fn take_complete(&mut self) -> Option<Message> {
        if self.complete == 0 {
            return None;
        }
        self.complete -= 1;
        self.outstanding.pop_front()
    }

    /// Gives up the oldest message if it was sent `patience_ns` ago or earlier.
    pub fn give_up(&mut self, now_ns: u64, patience_ns: u64) -> Option<Message> {
        let oldest = self.sent_and_unanswered().next()?;
        let is_overdue = now_ns.saturating_sub(oldest.sent_ns) >= patience_ns;
        is_overdue.then(|| self.outstanding.pop_front())?
    }

    /// The messages that the kernel has accepted bytes of, oldest first.
    pub fn sent_and_unanswered(&self) -> impl Iterator<Item = &Message> {
        self.outstanding
            .iter()
            .take(self.outstanding.len() - self.waiting)
    }

    /// The messages without an answer, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = &Message> {
        self.outstanding.iter()
    }

    /// How many messages the kernel has no byte of.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn next_to_send(&self) -> Option<&Message> {
        self.outstanding.get(self.outstanding.len() - self.waiting)
    }

    /// A datagram is a whole message of this connection, or wrong.
    fn receive_datagram(&mut self, input: &[u8], pattern: &Pattern) -> Received {
        let is_from = |start| input == pattern.piece(start, input.len() as u64);
        let answered = self.sent_and_unanswered().position(|message| {
            (message.end - message.start) as usize == input.len() && is_from(message.start)
        });
        if let Some(message) = answered.and_then(|at| self.outstanding.remove(at)) {
            self.outstanding.push_front(message);
            self.complete = 1;
            return Received::Right;
        }
        // All messages have one size.
        let size = input.len() as u64;
        let mut earlier = 1..=(self.begun - self.waiting as u64).min(EARLIER);
        match size == self.last_bytes && earlier.any(|back| is_from(self.sent - back * size)) {
            true => Received::Stale,
            false => Received::Wrong,
        }
    }

    /// A stream returns any part of what was sent, in order.
    fn receive_bytes(&mut self, mut input: &[u8], pattern: &Pattern) -> Received {
        // Bytes cannot come back before they are sent.
        let end = self.received + input.len() as u64;
        if end > self.sent {
            return Received::Wrong;
        }
        let mut position = self.received;
        while !input.is_empty() {
            let due = self.piece(position, input.len() as u64, pattern);
            if &input[..due.len()] != due {
                return Received::Wrong;
            }
            position += due.len() as u64;
            input = &input[due.len()..];
        }
        self.received = end;
        let answered = |message: &&Message| message.end <= self.received;
        self.complete += self
            .outstanding
            .iter()
            .skip(self.complete)
            .take_while(answered)
            .count();
        Received::Right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::CheckedPlan;
    use proptest::prelude::*;
    use record::Plan;

    fn over_tcp(connection: usize) -> Conversation {
        Conversation::new(connection, Transport::Tcp)
    }

    /// Begins a message at time 0 and sends all that is unsent at time 1.
    fn send(conversation: &mut Conversation, bytes: u64, pattern: &Pattern) -> Vec<u8> {
        conversation.begin(0, bytes, false);
        send_all(conversation, 1, pattern)
    }

    fn send_all(conversation: &mut Conversation, now_ns: u64, pattern: &Pattern) -> Vec<u8> {
        let mut out = Vec::new();
        while !conversation.unsent(pattern).is_empty() {
            out.extend_from_slice(conversation.unsent(pattern));
            conversation.sent(conversation.unsent(pattern).len(), now_ns);
        }
        out
    }

    fn times(message: Option<Message>) -> Option<(u64, u64)> {
        message.map(|message| (message.intended_ns, message.sent_ns))
    }

    #[test]
    fn an_echo_completes_the_message_with_its_times() {
        let pattern = Pattern::new();
        let mut conversation = over_tcp(3);
        conversation.begin(40, 600_000, false);
        let message = send_all(&mut conversation, 42, &pattern);
        assert_eq!(message.len(), 600_000);
        assert_eq!(conversation.receive(&message[..1], &pattern), Received::Right);
        assert_eq!(conversation.take_complete(), None);
        assert_eq!(conversation.receive(&message[1..], &pattern), Received::Right);
        assert_eq!(times(conversation.take_complete()), Some((40, 42)));
        assert_eq!(conversation.take_complete(), None);
        assert_ne!(
            send(&mut conversation, 600_000, &pattern),
            message,
            "the next message has other bytes"
        );
    }

    #[test]
    fn a_message_that_waits_for_room_is_sent_when_its_first_byte_is() {
        let pattern = Pattern::new();
        let mut conversation = over_tcp(0);
        conversation.begin(1, 10, false);
        conversation.begin(2, 10, false);
        conversation.begin(3, 10, false);
        assert_eq!(
            conversation.unsent(&pattern).len(),
            30,
            "messages that are due are sent together"
        );
        conversation.sent(11, 5);
        assert_eq!(conversation.waiting(), 1);
        conversation.returned(3);
        assert_eq!(conversation.unsent(&pattern).len(), 22);
        assert_eq!(
            conversation.waiting(),
            2,
            "the kernel has no byte of the second any more"
        );
        conversation.sent(22, 9);
        let echo = pattern.piece(Pattern::start(0), 30);
        assert_eq!(conversation.receive(echo, &pattern), Received::Right);
        let all: Vec<_> = std::iter::from_fn(|| times(conversation.take_complete())).collect();
        assert_eq!(all, [(1, 5), (2, 9), (3, 9)]);
    }

    #[test]
    fn messages_that_move_to_another_connection_are_sent_there_whole_and_keep_their_first_times() {
        let pattern = Pattern::new();
        let mut lost = over_tcp(0);
        for intended_ns in 1..=4 {
            lost.begin(intended_ns, 10, false);
        }
        // The second is on its way in part, the third and the fourth are not.
        lost.sent(15, 7);
        lost.receive(pattern.piece(Pattern::start(0), 10), &pattern);
        assert_eq!(times(lost.take_complete()), Some((1, 7)));
        let mut next = lost.on_another(9);
        next.begin_without_connection(20, 10, false);
        let mut last = next.on_another(5);
        assert_eq!((last.waiting(), last.sent_and_unanswered().count()), (4, 0));
        assert_eq!(last.unsent(&pattern), pattern.piece(Pattern::start(5), 40));
        let message = send_all(&mut last, 30, &pattern);
        assert_eq!(last.receive(&message, &pattern), Received::Right);
        let first_times: Vec<_> = std::iter::from_fn(|| last.take_complete())
            .map(|message| (message.intended_ns, message.first_sent_ns(), message.sent_ns))
            .collect();
        assert_eq!(first_times, [(2, 7, 30), (3, 3, 30), (4, 4, 30), (20, 20, 30)]);
    }

    #[test]
    fn a_repeated_message_is_wrong() {
        let pattern = Pattern::new();
        let mut conversation = over_tcp(0);
        let first = send(&mut conversation, 64, &pattern);
        assert_eq!(
            conversation.receive(&[&first[..], &first].concat(), &pattern),
            Received::Wrong
        );

        let mut conversation = over_tcp(0);
        send(&mut conversation, 64, &pattern);
        conversation.receive(&first, &pattern);
        send(&mut conversation, 64, &pattern);
        assert_eq!(conversation.receive(&first, &pattern), Received::Wrong);
    }

    #[test]
    fn an_answer_before_its_message_is_sent_is_wrong() {
        let pattern = Pattern::new();
        for transport in [Transport::Tcp, Transport::Udp] {
            let mut conversation = Conversation::new(0, transport);
            conversation.begin(0, 64, false);
            let due = conversation.unsent(&pattern).to_vec();
            assert_eq!(conversation.receive(&due, &pattern), Received::Wrong);
        }
    }

    #[test]
    fn single_bytes_of_swapped_connections_are_wrong_within_a_few_messages() {
        let pattern = Pattern::new();
        let (mut left, mut right) = (over_tcp(0), over_tcp(1));
        let caught = (0..8).any(|_| {
            send(&mut left, 1, &pattern);
            let theirs = send(&mut right, 1, &pattern);
            right.receive(&theirs, &pattern);
            left.receive(&theirs, &pattern) == Received::Wrong
        });
        assert!(caught);
    }

    #[test]
    fn a_late_datagram_is_recognised_and_any_other_is_wrong() {
        let pattern = Pattern::new();
        for size in [8, 64, 65_507] {
            let mut conversation = Conversation::new(3, Transport::Udp);
            let first = send(&mut conversation, size, &pattern);
            assert_eq!(conversation.give_up(10, 10), None);
            assert_eq!(times(conversation.give_up(11, 10)), Some((0, 1)));
            assert_eq!(conversation.give_up(u64::MAX, 10), None, "nothing is outstanding");
            assert_eq!(conversation.receive(&first, &pattern), Received::Stale);

            let second = send(&mut conversation, size, &pattern);
            assert_eq!(conversation.receive(&first, &pattern), Received::Stale);
            assert_eq!(conversation.receive(&second, &pattern), Received::Right);
            assert_eq!(times(conversation.take_complete()), Some((0, 1)));
            assert_eq!(conversation.receive(&second, &pattern), Received::Stale);

            let third = send(&mut conversation, size, &pattern);
            assert_eq!(conversation.receive(&third[1..], &pattern), Received::Wrong);
            assert_eq!(
                conversation.receive(&[&third[..], b"x"].concat(), &pattern),
                Received::Wrong
            );
            assert_eq!(conversation.receive(b"", &pattern), Received::Wrong);
            let theirs = send(&mut Conversation::new(4, Transport::Udp), size, &pattern);
            assert_eq!(conversation.receive(&theirs, &pattern), Received::Wrong);
        }
    }

    #[test]
    fn datagrams_may_overtake_each_other() {
        let pattern = Pattern::new();
        let mut conversation = Conversation::new(0, Transport::Udp);
        conversation.begin(1, 64, false);
        conversation.begin(2, 64, false);
        let first = conversation.unsent(&pattern).to_vec();
        assert_eq!(first.len(), 64, "a datagram is one message");
        let both = send_all(&mut conversation, 5, &pattern);
        for (answer, intended) in [(&both[64..], 2), (&first[..], 1)] {
            assert_eq!(conversation.receive(answer, &pattern), Received::Right);
            assert_eq!(times(conversation.take_complete()), Some((intended, 5)));
            assert_eq!(conversation.take_complete(), None);
        }
    }

    #[test]
    fn lines_come_back_cut_anywhere_and_a_changed_line_feed_is_wrong() {
        let plan = Plan {
            lines: true,
            size: "uniform:1B..9000B".parse().unwrap(),
            ..Plan::default()
        };
        let plan = CheckedPlan::new(&plan, "127.0.0.1:7".parse().unwrap()).unwrap();
        let pattern = Pattern::of(&plan);
        for cut in [1, 2, 5, 4096, 100_000] {
            let mut conversation = over_tcp(70_000);
            let sizes = [1, 2, 64, 64, 9000, 1];
            sizes
                .iter()
                .for_each(|&bytes| conversation.begin(0, bytes, false));
            let sent = send_all(&mut conversation, 1, &pattern);
            let lines: Vec<&[u8]> = sent.split_inclusive(|&byte| byte == b'\n').collect();
            let lengths: Vec<u64> = lines.iter().map(|line| line.len() as u64).collect();
            assert_eq!(lengths, sizes);
            assert_ne!(lines[2], lines[3], "the next line has other characters");
            for piece in sent.chunks(cut) {
                assert_eq!(conversation.receive(piece, &pattern), Received::Right);
            }
            let answered = std::iter::from_fn(|| conversation.take_complete()).count();
            assert_eq!(answered, sizes.len(), "{cut}");
            // The positions of the next message follow.
            let next = send(&mut conversation, 64, &pattern);
            assert_eq!(next.iter().position(|&byte| byte == b'\n'), Some(63));
            let with_carriage_return = [&next[..63], b"\r\n"].concat();
            assert_eq!(
                conversation.receive(&with_carriage_return[..64], &pattern),
                Received::Wrong
            );
            let explanation = conversation.explain(&with_carriage_return, &pattern);
            assert!(explanation.contains("CR before LF"), "{explanation}");
        }
    }

    #[test]
    fn a_line_that_the_kernel_takes_in_part_goes_on_where_it_was() {
        let plan = Plan {
            lines: true,
            ..Plan::default()
        };
        let plan = CheckedPlan::new(&plan, "127.0.0.1:7".parse().unwrap()).unwrap();
        let pattern = Pattern::of(&plan);
        let mut conversation = over_tcp(3);
        (0..2).for_each(|_| conversation.begin(0, 64, false));
        let whole = conversation.unsent(&pattern).to_vec();
        assert_eq!(whole.len(), 64, "a line is one piece");
        conversation.sent(10, 1);
        assert_eq!(conversation.unsent(&pattern), &whole[10..]);
        conversation.returned(3);
        assert_eq!(conversation.unsent(&pattern), &whole[7..]);
        conversation.sent(57, 2);
        assert_eq!(conversation.waiting(), 1);
        assert_eq!(conversation.unsent(&pattern).len(), 64);
        assert_eq!(conversation.receive(&whole, &pattern), Received::Right);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_right_bytes_is_right(
            sizes in prop::collection::vec(1u64..5000, 1..6),
            connection in 0usize..100_000,
            cuts in prop::collection::vec(1usize..7000, 1..40),
        ) {
            let pattern = Pattern::new();
            let mut conversation = over_tcp(connection);
            for (number, &size) in sizes.iter().enumerate() {
                conversation.begin(number as u64, size, false);
            }
            let message = send_all(&mut conversation, 9, &pattern);
            let (mut rest, mut cuts, mut came, mut answered) = (&message[..], cuts.iter().cycle(), 0, 0);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                prop_assert_eq!(conversation.receive(piece, &pattern), Received::Right);
                came += piece.len() as u64;
                while let Some(message) = conversation.take_complete() {
                    prop_assert_eq!(message.intended_ns, answered);
                    answered += 1;
                }
                let whole = (1..=sizes.len()).take_while(|&n| sizes[..n].iter().sum::<u64>() <= came).count();
                prop_assert_eq!(answered, whole as u64, "a message is answered with its last byte");
                rest = after;
            }
        }

        #[test]
        fn any_wrong_byte_is_seen(size in 1u64..5000, at in 0usize..5000, flip in 1u8..) {
            let pattern = Pattern::new();
            let mut conversation = over_tcp(9);
            let mut message = send(&mut conversation, size, &pattern);
            let at = at % message.len();
            message[at] ^= flip;
            prop_assert_eq!(conversation.receive(&message, &pattern), Received::Wrong);
        }
    }
}
