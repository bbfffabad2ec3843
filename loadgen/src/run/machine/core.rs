//! What every loop has in common: the slots, the schedule's bookkeeping, timers and counts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fastrand::Rng;

use super::conversation::{Conversation, Message};
#[cfg(test)]
use super::ledger::Ledger;
use super::lost::Lost;
use super::slot::{Slot, State};
use crate::clock::nanos;
use crate::engine::Failure;
use crate::gates::STANDSTILL_NS;
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;
use crate::run::tally::{Cut, Tally};
use record::{ErrorKind, Span, Transport};

/// Connects under way at once: enough to hide a round trip to another host. On loopback a
/// connect is over before the server has accepted, so there it only bounds bursts.
pub const UNDER_WAY: usize = 100;

/// Pause before a connection that failed is replaced.
const RECONNECT_NS: u64 = 10_000_000;

/// Pause before the next connect when the server's queue of connections is full: nothing reports
/// that it is not. Short against any time that matters to a user, and a connect each millisecond
/// takes hardly any CPU time.
const FULL_NS: u64 = 1_000_000;

/// What the worker is to do. Actions come out of the machine in order, and each is done before
/// the next input goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start the connect of a slot.
    Connect(usize),
    /// Call the connect of a slot again, or for the first time if it was postponed before that.
    ConnectAgain(usize),
    /// Send what the slot has unsent.
    Send {
        at: usize,
        /// Whether to count it if the kernel has no room.
        counted: bool,
    },
    /// End this side of the stream.
    ShutDown(usize),
    /// Close the socket.
    Remove(usize),
}

/// The stage that a worker is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are opened.
    Connecting,
    /// Each connection sends one message, to see that it is served.
    Priming,
    /// The load, warm-up and window.
    Loading,
    /// What was due within the window is waited for.
    Draining,
}

/// The measured window; at the end of time until it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Window {
    /// Not known yet.
    pub const UNKNOWN: Window = Window {
        start_ns: u64::MAX,
        end_ns: u64::MAX,
    };

    /// Whether a time is within it.
    pub fn holds(self, time_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&time_ns)
    }
}

/// A connection that waits for an answer.
struct AnswerWait {
    at: usize,
    generation: u64,
    since_ns: u64,
}

/// The state of a worker that every loop works on.
pub struct Core<'a> {
    pub plan: &'a CheckedPlan,
    pub pattern: &'a Pattern,
    pub share: Share,
    /// After how many messages a connection is closed, if it is.
    pub messages_per_connection: Option<u64>,
    pub slots: Vec<Slot>,
    pub actions: VecDeque<Action>,
    pub phase: Phase,
    pub window: Window,
    pub tally: Tally,
    /// Intervals of the window that have ended, and that the worker has not taken yet.
    pub cuts: Vec<Cut>,
    /// Connections that still carry load, or may.
    pub live: usize,
    /// Connections that were opened at the start, so far.
    pub opened: usize,
    /// Connections whose first message was answered before the load began.
    pub primed: usize,
    /// With `reconnect`: the lost connections, and when to try them again.
    pub lost: Lost,
    /// Slots whose connection was lost and is not back.
    pub down: usize,
    /// How many of them have no connection, without the idle ones.
    pub away: usize,
    /// Slots that are connecting or closing.
    pub unsettled: usize,
    /// Messages that were begun and are not answered.
    pub outstanding: usize,
    /// How many of them were due within the window.
    pub outstanding_of_window: u64,
    /// Slots whose connect has to wait for room in the server's queue, in order, each with its
    /// generation.
    postponed: VecDeque<(usize, u64)>,
    /// When to try the first of them.
    try_again_ns: u64,
    /// When to do what with a slot, if its generation is still the same.
    pub timers: BinaryHeap<Reverse<(u64, usize, u64)>>,
    /// Connections that waited for an answer when the window closed.
    waits: Vec<AnswerWait>,
    /// Where every message went, for tests.
    #[cfg(test)]
    pub ledger: Ledger,
    /// Connections begun so far.
    begun: usize,
    /// Connections that failed, where others replace them.
    failures: usize,
    random: Rng,
    next_cut_ns: u64,
    interval_ns: u64,
}

impl<'a> Core<'a> {
    /// For the share of one worker; `interval_ns` is the length of the pieces that the window
    /// is cut into.
    pub fn new(
        plan: &'a CheckedPlan,
        pattern: &'a Pattern,
        share: Share,
        seed: u64,
        interval_ns: u64,
    ) -> Self {
        Core {
            plan,
            pattern,
            share,
            messages_per_connection: plan.messages_per_connection,
            slots: Vec::with_capacity(part(plan.connections + plan.idle, share)),
            actions: VecDeque::new(),
            phase: Phase::Connecting,
            window: Window::UNKNOWN,
            tally: Tally::new(),
            cuts: Vec::new(),
            live: 0,
            opened: 0,
            primed: 0,
            lost: Lost::new(),
            down: 0,
            away: 0,
            unsettled: 0,
            outstanding: 0,
            outstanding_of_window: 0,
            postponed: VecDeque::new(),
            try_again_ns: 0,
            timers: BinaryHeap::new(),
            waits: Vec::new(),
            #[cfg(test)]
            ledger: Ledger::default(),
            begun: 0,
            failures: 0,
            random: Rng::with_seed(seed),
            next_cut_ns: u64::MAX,
            interval_ns,
        }
    }

    /// Starts a connection in a free slot.
    pub fn connect(&mut self, at: usize, due_ns: u64) {
        let number = self.next_number();
        let of_window = self.messages_per_connection.is_some() && self.window.holds(due_ns);
        let slot = &mut self.slots[at];
        *slot = Slot {
            state: State::Connecting,
            conversation: Conversation::new(number, self.plan.transport),
            arrived_ns: due_ns,
            generation: slot.generation + 1,
            number,
            of_window,
            served: slot.served,
            ..Slot::new(slot.idle)
        };
        self.unsettled += 1;
        if of_window {
            self.tally.asked += 1;
        }
        self.actions.push_back(Action::Connect(at));
    }

    /// Whether connects are waiting for room in the server's queue.
    pub fn is_queue_full(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// Lets the connect of a slot wait behind the others.
    pub fn postpone(&mut self, at: usize) {
        self.postponed.push_back((at, self.slots[at].generation));
    }

    /// The server's queue was full: the connect of a slot is the next to be tried.
    pub fn try_again(&mut self, at: usize, now_ns: u64) {
        self.postponed.push_front((at, self.slots[at].generation));
        self.try_again_ns = now_ns + FULL_NS;
    }

    /// When to try the next connect that waits; at the end of time if there is none.
    pub fn try_again_ns(&self) -> u64 {
        match self.postponed.is_empty() {
            true => u64::MAX,
            false => self.try_again_ns,
        }
    }

    /// A slot that will connect again with the same generation has given up its connect.
    pub fn give_up_connect(&mut self, at: usize) {
        self.postponed.retain(|(slot, _)| *slot != at);
    }

    /// The connect to try now, of those that wait. Some were given up meanwhile.
    pub fn next_postponed(&mut self, now_ns: u64) -> Option<usize> {
        while now_ns >= self.try_again_ns() {
            let (at, generation) = self.postponed.pop_front()?;
            if self.slots[at].generation == generation {
                return Some(at);
            }
        }
        None
    }

    /// The number of a new connection.
    pub fn next_number(&mut self) -> usize {
        let number = self.share.index + self.share.of * self.begun;
        self.begun += 1;
        number
    }

    /// The connection in a slot begins to carry the load, or will once it is open again.
    pub fn begin_to_carry(&mut self, at: usize, since_ns: u64) {
        let slot = &mut self.slots[at];
        slot.full_ns = since_ns;
        match &mut slot.down {
            Some(down) if matches!(slot.state, State::Lost | State::Connecting) => {
                down.resumes = State::Talking
            }
            _ => slot.state = State::Talking,
        }
    }

    /// Begins a message and sends it.
    pub fn send_one(&mut self, at: usize, due_ns: u64) {
        self.begin(at, due_ns);
        // After the window the backlog is worked off; what has no room then did not keep a
        // message from being sent within it.
        let counted = self.phase < Phase::Draining && self.window.holds(due_ns);
        self.actions.push_back(Action::Send { at, counted });
    }

    /// Begins several messages at once and sends them.
    pub fn send_several(&mut self, at: usize, messages: usize, due_ns: u64) {
        for _ in 0..messages {
            self.begin(at, due_ns);
        }
        self.send(at);
    }

    /// Sends what was begun.
    pub fn send(&mut self, at: usize) {
        self.actions.push_back(Action::Send { at, counted: false });
    }

    /// Begins a message, unless the connection has had all of its own.
    pub fn begin(&mut self, at: usize, due_ns: u64) {
        let of_window = self.window.holds(due_ns);
        if self.begin_uncounted(at, due_ns) && of_window {
            self.outstanding_of_window += 1;
        }
    }

    /// The same for a message that was counted before, together with its connection.
    pub fn begin_uncounted(&mut self, at: usize, due_ns: u64) -> bool {
        let slot = &mut self.slots[at];
        let begun = slot.conversation.begun;
        if self.messages_per_connection.is_some_and(|most| begun >= most) {
            return false;
        }
        let bytes = self.plan.sizes.draw(slot.number, begun, &mut self.random);
        let of_window = self.window.holds(due_ns);
        match slot.is_away() {
            true => slot
                .conversation
                .begin_without_connection(due_ns, bytes, of_window),
            false => slot.conversation.begin(due_ns, bytes, of_window),
        }
        self.outstanding += 1;
        #[cfg(test)]
        self.ledger.begin();
        true
    }

    /// What follows on answers where each is followed by a message: at once, or after thinking.
    pub fn follow(&mut self, at: usize, answers: usize, think_ns: u64, now_ns: u64) {
        match think_ns {
            _ if self.phase == Phase::Draining => {}
            0 => self.send_several(at, answers, now_ns),
            _ => (0..answers).for_each(|_| self.call_back(at, now_ns + think_ns)),
        }
        self.close_if_done(at);
    }

    /// Sets a timer for the connection in a slot.
    pub fn call_back(&mut self, at: usize, time_ns: u64) {
        let generation = self.slots[at].generation;
        self.timers.push(Reverse((time_ns, at, generation)));
    }

    /// Closes a connection all of whose messages are answered.
    pub fn close_if_done(&mut self, at: usize) {
        let Some(most) = self.messages_per_connection else {
            return;
        };
        let slot = &mut self.slots[at];
        let is_done = slot.conversation.begun >= most && slot.conversation.unanswered().next().is_none();
        if slot.state != State::Talking || !is_done {
            return;
        }
        slot.state = State::Closing;
        slot.generation += 1;
        self.unsettled += 1;
        self.actions.push_back(Action::ShutDown(at));
    }

    /// Both sides have ended the connection.
    pub fn closed(&mut self, at: usize, now_ns: u64) {
        self.unsettled -= 1;
        let slot = &mut self.slots[at];
        slot.state = State::Gone;
        if self.window.holds(now_ns) {
            self.tally.closed += 1;
            self.tally.latencies[Span::Close].saturating_record(now_ns - slot.since_ns);
        }
        self.actions.push_back(Action::Remove(at));
    }

    /// Counts a failure and closes its connection. Returns the state that it was in; its
    /// messages have no answer.
    pub fn fail(&mut self, at: usize, failure: &Failure, now_ns: u64) -> State {
        self.tally.failure(failure);
        self.leave_failed(at, now_ns);
        let slot = &mut self.slots[at];
        if !slot.is_settled() {
            self.unsettled -= 1;
        }
        slot.generation += 1;
        let was = std::mem::replace(&mut slot.state, State::Gone);
        // Over UDP only now it shows that there is no server.
        if self.plan.transport == Transport::Udp && !slot.reached && was != State::Connecting {
            self.tally.established -= 1;
            self.tally.open -= 1;
        }
        self.forget_loss(at, was);
        self.break_off(at);
        self.actions.push_back(Action::Remove(at));
        was
    }

    /// Gives up the messages of a connection that have no answer.
    pub fn break_off(&mut self, at: usize) {
        let none = Conversation::new(0, Transport::Tcp);
        let conversation = std::mem::replace(&mut self.slots[at].conversation, none);
        for message in conversation.unanswered() {
            self.forget(message);
            #[cfg(test)]
            self.ledger.break_off();
        }
    }

    /// A connection that was to stay has failed.
    pub fn lose(&mut self) {
        if self.phase > Phase::Connecting {
            self.live = self.live.saturating_sub(1);
        }
    }

    /// A connection that another replaces has failed.
    pub fn count_failure(&mut self) {
        self.failures += 1;
        if self.is_hopeless() {
            self.live = 0;
        }
    }

    /// Connects again after a pause.
    pub fn reconnect(&mut self, at: usize, now_ns: u64) {
        self.call_back(at, now_ns + RECONNECT_NS);
    }

    /// Whether none of many connections has succeeded, where others replace those that fail.
    pub fn is_hopeless(&self) -> bool {
        self.failures >= UNDER_WAY && self.tally.established == 0
    }

    /// Removes a message from the counts, answered or not.
    pub fn forget(&mut self, message: &Message) {
        self.outstanding -= 1;
        if message.of_window {
            self.outstanding_of_window = self.outstanding_of_window.saturating_sub(1);
        }
    }

    /// The next message that was waited for long enough, over UDP. It is lost.
    pub fn give_up(&mut self, at: usize, now_ns: u64) -> Option<Message> {
        let patience = self.plan.answer_timeout;
        let slot = &mut self.slots[at];
        let message = slot.conversation.give_up(now_ns, nanos(patience))?;
        slot.lost_since_ns.get_or_insert(message.sent_ns);
        self.forget(&message);
        self.leave_lost(&message, now_ns);
        #[cfg(test)]
        self.ledger.lose();
        self.tally
            .error(ErrorKind::Lost, format_args!("no answer within {patience:?}"));
        Some(message)
    }

    /// The window has opened: its first interval begins.
    pub fn open_window(&mut self) {
        self.next_cut_ns = self.window.start_ns + self.interval_ns;
    }

    /// Ends the intervals of the window that are over.
    #[inline]
    pub fn cut(&mut self, now_ns: u64) {
        while now_ns >= self.next_cut_ns && self.next_cut_ns < self.window.end_ns {
            self.next_cut_ns += self.interval_ns;
            self.cuts.push(self.tally.take_cut());
        }
    }

    /// Finds the connections that wait for an answer when the window closes, among those that
    /// were served before. A connection that thinks waits for nothing.
    pub fn find_waits(&mut self) {
        let served = { self.slots.iter().enumerate() }
            // One that was lost is judged by whether it comes back.
            .filter(|(_, slot)| slot.served && slot.down.is_none());
        let waiting = served.filter(|(_, slot)| matches!(slot.state, State::Priming | State::Talking));
        self.waits = waiting
            .filter_map(|(at, slot)| {
                let since_ns = slot.waiting_since_ns()?;
                Some(AnswerWait {
                    at,
                    generation: slot.generation,
                    since_ns,
                })
            })
            .collect();
    }

    /// Counts the connections that are there, or on their way, and were never served.
    pub fn count_never_served(&mut self) {
        let unserved = self.slots.iter().filter(|slot| !slot.served && !slot.idle);
        self.tally.never_served = unserved.filter(|slot| slot.state != State::Gone).count() as u64;
    }

    /// Closed loop: whether a connection may have gone silent or may be slow, and time will tell.
    /// Without this, silence that begins late in a window would stay unnoticed. Over UDP a message
    /// that is given up meanwhile is lost.
    pub fn awaits_answers(&self, now_ns: u64) -> bool {
        let enough_ns = self.standstill_ns();
        let served = self.slots.iter().filter(|slot| slot.served);
        let carrying = served.filter(|slot| matches!(slot.state, State::Priming | State::Talking));
        let mut waiting = carrying.filter_map(Slot::outstanding_since_ns);
        waiting.any(|since_ns| now_ns.saturating_sub(since_ns) <= enough_ns)
    }

    /// How long a connection of a closed loop may wait for an answer without being silent.
    pub fn standstill_ns(&self) -> u64 {
        STANDSTILL_NS.max(self.tally.longest_ns.saturating_mul(2))
    }

    /// Since when connections that carry the load wait for an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = u64> {
        let talking = self.slots.iter().filter(|slot| slot.state == State::Talking);
        // What was lost over UDP is not waited for any more.
        talking
            .filter(|slot| !slot.is_answered())
            .filter_map(Slot::waiting_since_ns)
    }

    /// Counts how long connections have waited, of those that still wait.
    pub fn count_unanswered(&mut self, now_ns: u64) {
        let waits_ns = self.unanswered().map(|since_ns| now_ns.saturating_sub(since_ns));
        self.tally.waits_ns = waits_ns.collect();
    }

    /// Connections that have all of their answers are as before the load. Whether all have.
    pub fn rest(&mut self) -> bool {
        let mut all = true;
        for slot in self.slots.iter_mut().filter(|slot| slot.state == State::Talking) {
            match slot.is_answered() {
                true => {
                    slot.state = State::Primed;
                    (slot.unrecorded_ns, slot.before_ns) = (0, 0);
                }
                false => all = false,
            }
        }
        all
    }

    /// Counts how long connections have waited: until the window closed, or until now if a closed
    /// loop waited longer for them.
    pub fn count_waits(&mut self, now_ns: u64) {
        for wait in std::mem::take(&mut self.waits) {
            let until_ns = match self.still_waits(&wait) {
                true => now_ns.max(self.window.end_ns),
                false => self.window.end_ns,
            };
            self.tally.waits_ns.push(until_ns.saturating_sub(wait.since_ns));
        }
    }

    fn still_waits(&self, wait: &AnswerWait) -> bool {
        let slot = &self.slots[wait.at];
        slot.generation == wait.generation && slot.waiting_since_ns() == Some(wait.since_ns)
    }

    /// How many of the connections that are opened at the start are this worker's.
    pub fn connections(&self) -> usize {
        part(self.plan.connections, self.share)
    }

    /// The same for idle ones.
    pub fn idle(&self) -> usize {
        part(self.plan.idle, self.share)
    }

    /// Connections that stay open and carry the load, of which some may be lost for the moment.
    pub fn lasting(&self) -> usize {
        match self.in_state(State::Ready) {
            // There is no server, rather than one that restarts.
            0 => 0,
            _ => self.may_carry(),
        }
    }

    /// Connections that carry the load, or may.
    pub fn may_carry(&self) -> usize {
        let there = self.slots.iter().filter(|slot| slot.state != State::Gone);
        there.filter(|slot| !slot.idle).count()
    }

    /// How many connections it opens at the start.
    pub fn to_open(&self) -> usize {
        self.connections() + self.idle()
    }

    /// How many slots are in a state.
    pub fn in_state(&self, state: State) -> usize {
        self.slots.iter().filter(|slot| slot.state == state).count()
    }
}

/// A worker's part of `all`: number i belongs to the worker whose index is i modulo the number
/// of workers.
fn part(all: usize, share: Share) -> usize {
    (share.index..all).step_by(share.of).len()
}
