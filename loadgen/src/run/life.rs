//! The life of a connection: it is dialled, talks, and ends, well or not.

use std::cmp::Reverse;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering::Relaxed;

use super::conversation::{Conversation, Message, Received};
use super::tally::Account;
use super::worker::{BURST, Phase, Worker};
use super::{Failure, dial, nanos};
use crate::engine::{Engine, Event};
use crate::plan::Loop;
use record::{ErrorKind, Span, Transport};

/// How long to leave a connection that failed alone before another takes its place.
const REDIAL_NS: u64 = 10_000_000;

/// One connection, or the place for one.
#[derive(Debug)]
pub struct Slot {
    pub state: State,
    pub conversation: Conversation,
    /// Whether it sends nothing.
    idle: bool,
    /// When its connect was called, and later when its end was sent.
    since_ns: u64,
    /// When it was due, where connections come by a schedule.
    arrived_ns: u64,
    /// Since when it keeps as many messages in flight as it should.
    full_ns: u64,
    /// What a timer must know to be about this connection.
    pub mark: u64,
    /// Number of the connection, which its bytes are a function of.
    number: usize,
    /// Whether anything came back yet.
    reached: bool,
    /// Whether an answer was complete within the window.
    answered: bool,
    /// Whether it was begun within the window.
    of_window: bool,
    /// Time within the window that no recorded latency covers: it waited to send, or for an
    /// answer that came after the window or never.
    unrecorded_ns: u64,
    /// How much of the latencies that were recorded lies before the window.
    before_ns: u64,
}

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none, for now or for good.
    Gone,
    /// Its connect is under way.
    Dialling,
    /// It is open, and nothing was sent.
    Ready,
    /// Its first message is on its way, to see that it is served.
    Priming,
    /// Its first message was answered before the load began.
    Primed,
    /// It carries the load.
    Talking,
    /// Its end was sent, and the server's is awaited.
    Closing,
    /// It is open and says nothing.
    Idle,
}

impl Slot {
    /// A place for a connection that talks, or for an idle one.
    pub fn new(idle: bool) -> Self {
        Slot {
            state: State::Gone,
            conversation: Conversation::new(0, Transport::Tcp),
            idle,
            since_ns: 0,
            arrived_ns: 0,
            full_ns: u64::MAX,
            mark: 0,
            number: 0,
            reached: false,
            answered: false,
            of_window: false,
            unrecorded_ns: 0,
            before_ns: 0,
        }
    }

    /// Whether it has come, and nothing has come back to it.
    pub fn is_new(&self) -> bool {
        let is_there = matches!(self.state, State::Dialling | State::Ready | State::Talking);
        is_there && !self.reached && !self.idle
    }

    fn is_settled(&self) -> bool {
        !matches!(self.state, State::Dialling | State::Closing)
    }
}

impl<'a, E: Engine<'a>> Worker<'a, E> {
    /// Begins a connection in a slot that is free.
    pub fn dial(&mut self, at: usize, due_ns: u64) {
        let number = self.share.index + self.share.of * self.dialled;
        self.dialled += 1;
        let sources = &self.request.sources;
        let source = (!sources.is_empty()).then(|| sources[number % sources.len()]);
        let of_window = !self.request.is_lasting() && self.window.holds(due_ns);
        let now_ns = self.run.clock.now_ns();
        let slot = &mut self.slots[at];
        *slot = Slot {
            state: State::Dialling,
            conversation: Conversation::new(number, self.request.transport),
            since_ns: now_ns,
            arrived_ns: due_ns,
            mark: slot.mark + 1,
            number,
            of_window,
            ..Slot::new(slot.idle)
        };
        self.unsettled += 1;
        if of_window {
            self.tally.asked += 1;
        }
        let begun = dial::start(self.request, source).and_then(|socket| self.engine.add(at, socket));
        if let Err(error) = begun {
            self.fail(at, error.into());
        }
    }

    /// A connection of the schedule comes.
    pub fn arrive(&mut self, due_ns: u64) {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.slots.len() < self.run.plan.most_connections() / self.share.of => {
                self.slots.push(Slot::new(false));
                self.slots.len() - 1
            }
            None => {
                let most = self.run.plan.most_connections();
                self.tally.error(
                    ErrorKind::TooManyOpenFiles,
                    format_args!("{most} connections are open already"),
                );
                return;
            }
        };
        if self.window.holds(due_ns) {
            // Its first message, which is due with it.
            self.outstanding_of_window += 1;
        }
        self.dial(at, due_ns);
        if self.window.holds(due_ns) {
            let lag_ns = self.slots[at].since_ns.saturating_sub(due_ns);
            self.tally.latencies[Span::SendLag].saturating_record(lag_ns);
        }
    }

    /// Sends one message, to see that the connection is served.
    pub fn prime(&mut self, at: usize, now_ns: u64) {
        self.slots[at].state = State::Priming;
        self.say(at, now_ns);
    }

    /// Lets a connection carry the load.
    pub fn start(&mut self, at: usize, due_ns: u64) {
        self.slots[at].state = State::Talking;
        self.slots[at].full_ns = due_ns;
        let depth = match self.request.discipline {
            Loop::Open(_) => return,
            Loop::Closed { depth, .. } => depth,
            Loop::PartlyOpen { .. } => 1,
        };
        for _ in 0..depth {
            self.begin(at, due_ns);
        }
        self.send(at);
        self.close_if_done(at);
    }

    /// Sends a message that was due at a time.
    pub fn say(&mut self, at: usize, due_ns: u64) {
        self.begin(at, due_ns);
        let is_refused = self.send(at);
        // What is caught up on after the window is not what kept it from being sent within.
        let is_counted = self.phase < Phase::Draining && self.window.holds(due_ns);
        if is_refused && is_counted && self.slots[at].conversation.waiting() > 0 {
            self.tally.blocked += 1;
        }
    }

    /// What a timer was for: another connect, or a message after thinking.
    pub fn resume(&mut self, at: usize, due_ns: u64) {
        match self.slots[at].state {
            State::Gone => self.dial(at, due_ns),
            State::Talking => self.say(at, due_ns),
            _ => {}
        }
    }

    /// Begins a message, unless the connection has had all of its own.
    fn begin(&mut self, at: usize, due_ns: u64) {
        let slot = &mut self.slots[at];
        let most = self.request.discipline.messages_per_connection();
        if most.is_some_and(|most| slot.conversation.begun >= most) {
            return;
        }
        let bytes = self
            .request
            .sizes
            .draw(slot.number, slot.conversation.begun, &mut self.random);
        let came_with_its_connection =
            slot.conversation.begun == 0 && matches!(self.request.discipline, Loop::PartlyOpen { .. });
        let of_window = self.window.holds(due_ns);
        slot.conversation.begin(due_ns, bytes, of_window);
        self.outstanding += 1;
        if of_window && !came_with_its_connection {
            self.outstanding_of_window += 1;
        }
    }

    /// Sends what was begun, as far as it is taken. Returns whether the kernel has no room for
    /// the rest.
    fn send(&mut self, at: usize) -> bool {
        loop {
            let slot = &mut self.slots[at];
            let unsent = slot.conversation.unsent(&self.run.pattern);
            if unsent.is_empty() {
                return false;
            }
            let now_ns = self.run.clock.now_ns();
            match self.engine.send(at, unsent) {
                Ok(0) => return false,
                Ok(length) => slot.conversation.sent(length, now_ns),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    self.fail(at, error.into());
                    return false;
                }
            }
        }
    }

    /// Handles what the engine has waited for.
    pub fn handle_events(&mut self) {
        let mut handled = 0;
        while let Some(event) = self.engine.next() {
            match event {
                Event::Received(at, []) if self.request.transport == Transport::Tcp => self.ended(at),
                Event::Received(at, bytes) => {
                    let now_ns = self.run.clock.now_ns();
                    let meaning = self.slots[at].conversation.receive(bytes, &self.run.pattern);
                    self.received(at, meaning, now_ns);
                }
                Event::Room(at) if self.slots[at].state == State::Dialling => self.settle(at),
                Event::Room(at) => {
                    self.send(at);
                }
                Event::Returned(at, length) => self.slots[at].conversation.returned(length),
                Event::Failed(at, error) => self.fail(at, error.into()),
            }
            handled += 1;
            // What is due does not wait until a thousand answers are worked off.
            if handled % BURST == 0 && self.next_due_ns < u64::MAX {
                self.do_what_is_due(self.run.clock.now_ns());
            }
        }
    }

    /// The connect has ended, one way or the other.
    fn settle(&mut self, at: usize) {
        let Some(socket) = self.engine.socket(at) else {
            return;
        };
        if let Err(failure) = dial::settle(socket) {
            return self.fail(at, failure);
        }
        if let Err(error) = self.engine.receive(at) {
            return self.fail(at, error.into());
        }
        let now_ns = self.run.clock.now_ns();
        let slot = &mut self.slots[at];
        self.unsettled -= 1;
        self.tally.established += 1;
        if slot.idle {
            slot.state = State::Idle;
            self.tally.idle += 1;
            return;
        }
        slot.state = State::Ready;
        if self.request.is_lasting() || slot.of_window {
            self.tally.open += 1;
        }
        if self.window.holds(now_ns) {
            self.tally.latencies[Span::Connect].saturating_record(now_ns - slot.since_ns);
        }
        match (self.phase, &self.request.discipline) {
            (Phase::Loading | Phase::Draining, Loop::PartlyOpen { .. }) => {
                let arrived_ns = slot.arrived_ns;
                self.start(at, arrived_ns);
            }
            (Phase::Loading, _) => self.start(at, now_ns),
            (Phase::Priming, _) => self.prime(at, now_ns),
            (Phase::Connecting | Phase::Draining, _) => {}
        }
    }

    fn received(&mut self, at: usize, meaning: Received, now_ns: u64) {
        // A thread that was kept from running may not know yet that the window has opened.
        if self.window.start_ns == u64::MAX {
            self.look_at_window(now_ns);
        }
        let slot = &mut self.slots[at];
        if !slot.reached {
            slot.reached = true;
            if self.window.holds(now_ns) {
                self.tally.latencies[Span::FirstByte].saturating_record(now_ns - slot.since_ns);
            }
        }
        match meaning {
            Received::Right => {}
            Received::Stale => self.tally.error(
                ErrorKind::Stale,
                "an answer to an earlier message, late or repeated",
            ),
            Received::Wrong => {
                return self.fail(
                    at,
                    Failure::Kind(ErrorKind::WrongBytes, "bytes came back that were not due"),
                );
            }
        }
        let mut completed = 0;
        while let Some(message) = self.slots[at].conversation.take_complete() {
            self.complete(at, message, now_ns);
            completed += 1;
        }
        if completed > 0 {
            self.go_on(at, completed, now_ns);
        }
    }

    /// Counts a message whose answer is complete.
    fn complete(&mut self, at: usize, message: Message, now_ns: u64) {
        self.forget(&message);
        self.cut(now_ns);
        let in_window = self.window.holds(now_ns);
        if in_window {
            self.tally.cut.echoes += 1;
            let slot = &mut self.slots[at];
            if !std::mem::replace(&mut slot.answered, true) && (self.request.is_lasting() || slot.of_window) {
                self.tally.answered += 1;
            }
        }
        match self.request.discipline {
            Loop::Closed { .. } if in_window => {
                self.tally.cut.latency.saturating_record(now_ns - message.sent_ns);
                self.account_for_waiting(at, &message);
                self.slots[at].before_ns += self.window.start_ns.saturating_sub(message.sent_ns);
            }
            // The window has just closed, and nobody has looked at the clock yet.
            Loop::Closed { .. } if now_ns >= self.window.end_ns => self.account_for_unrecorded(at, message),
            Loop::Open(_) | Loop::PartlyOpen { .. } if message.of_window => {
                self.tally
                    .cut
                    .latency
                    .saturating_record(now_ns - message.intended_ns);
                self.tally.latencies[Span::Service].saturating_record(now_ns - message.sent_ns);
                if let Loop::Open(_) = self.request.discipline {
                    self.tally.latencies[Span::SendLag]
                        .saturating_record(message.sent_ns - message.intended_ns);
                }
            }
            _ => {}
        }
    }

    /// What follows on so many answers.
    fn go_on(&mut self, at: usize, completed: usize, now_ns: u64) {
        match self.slots[at].state {
            State::Priming if self.phase < Phase::Loading => {
                self.slots[at].state = State::Primed;
                self.run.primed.fetch_add(1, Relaxed);
                return;
            }
            State::Priming => return self.start(at, now_ns),
            State::Talking => {}
            _ => return,
        }
        let think = self.request.discipline.think();
        match self.request.discipline {
            _ if self.phase == Phase::Draining => {}
            Loop::Open(_) => return,
            _ if think.is_zero() => {
                for _ in 0..completed {
                    self.begin(at, now_ns);
                }
                self.send(at);
            }
            _ => {
                for _ in 0..completed {
                    self.call_back(at, now_ns + nanos(think));
                }
            }
        }
        self.close_if_done(at);
    }

    fn call_back(&mut self, at: usize, time_ns: u64) {
        self.timers.push(Reverse((time_ns, at, self.slots[at].mark)));
    }

    /// Ends a connection that has had all its messages answered.
    fn close_if_done(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(most) = self.request.discipline.messages_per_connection() else {
            return;
        };
        let is_done = slot.conversation.begun >= most && slot.conversation.unanswered().next().is_none();
        if slot.state != State::Talking || !is_done {
            return;
        }
        slot.state = State::Closing;
        slot.mark += 1;
        slot.since_ns = self.run.clock.now_ns();
        self.unsettled += 1;
        let end = self
            .engine
            .socket(at)
            .map(|socket| socket.shutdown(Shutdown::Write));
        if let Some(Err(error)) = end {
            self.fail(at, error.into());
        }
    }

    /// The server has ended the connection.
    fn ended(&mut self, at: usize) {
        let example = match self.slots[at].state {
            State::Closing => return self.finish(at),
            State::Idle => "the server ended an idle connection",
            _ => "the server ended the connection",
        };
        self.fail(at, Failure::Kind(ErrorKind::EarlyEnd, example));
    }

    /// Both sides have ended the connection.
    fn finish(&mut self, at: usize) {
        let now_ns = self.run.clock.now_ns();
        self.unsettled -= 1;
        if self.window.holds(now_ns) {
            self.tally.closed += 1;
            self.tally.latencies[Span::Close].saturating_record(now_ns - self.slots[at].since_ns);
        }
        self.engine.remove(at);
        self.slots[at].state = State::Gone;
        match self.request.discipline {
            _ if self.phase == Phase::Draining => {}
            Loop::PartlyOpen { .. } => self.free.push(at),
            _ => self.dial(at, now_ns),
        }
    }

    /// Counts what went wrong with a connection, and closes it.
    pub fn fail(&mut self, at: usize, failure: Failure) {
        match failure {
            Failure::System(error) => self.tally.io_error(&error),
            Failure::Kind(kind, example) => self.tally.error(kind, example),
            Failure::InVain(what, timeout) => {
                self.tally
                    .error(ErrorKind::TimedOut, format_args!("{what} within {timeout:?}"));
            }
        }
        let slot = &mut self.slots[at];
        if !slot.is_settled() {
            self.unsettled -= 1;
        }
        slot.mark += 1;
        let (idle, was) = (slot.idle, std::mem::replace(&mut slot.state, State::Gone));
        // Over UDP that nobody is there shows only now.
        if self.request.transport == Transport::Udp && !slot.reached && was != State::Dialling {
            self.tally.established -= 1;
            self.tally.open -= 1;
        }
        let never_asked = was == State::Dialling && slot.of_window;
        if never_asked && matches!(self.request.discipline, Loop::PartlyOpen { .. }) {
            self.outstanding_of_window = self.outstanding_of_window.saturating_sub(1);
            self.tally.unanswered += 1;
        }
        let conversation = std::mem::replace(&mut slot.conversation, Conversation::new(0, Transport::Tcp));
        for message in conversation.unanswered() {
            self.forget(message);
            if self.request.discipline.pace().is_some() && message.of_window {
                self.tally.unanswered += 1;
            }
        }
        self.engine.remove(at);
        if idle {
            return;
        }
        if self.request.is_lasting() {
            if self.phase > Phase::Connecting {
                self.alive -= 1;
                self.run.live.fetch_sub(1, Relaxed);
            }
            return;
        }
        match self.request.discipline {
            Loop::PartlyOpen { .. } => self.free.push(at),
            _ => self.call_back(at, self.run.clock.now_ns() + REDIAL_NS),
        }
        self.failures += 1;
        if self.is_hopeless() {
            self.run.live.fetch_sub(std::mem::take(&mut self.alive), Relaxed);
        }
    }

    /// Leaves a message, answered or not.
    fn forget(&mut self, message: &Message) {
        self.outstanding -= 1;
        if message.of_window {
            self.outstanding_of_window = self.outstanding_of_window.saturating_sub(1);
        }
    }

    /// Gives up what has been waited for long enough: a connect, an end, a datagram.
    pub fn give_up_overdue(&mut self, at: usize, now_ns: u64) {
        let timeout = self.request.connect_timeout;
        let slot = &self.slots[at];
        let is_late = now_ns.saturating_sub(slot.since_ns) > nanos(timeout);
        match slot.state {
            State::Dialling | State::Closing if is_late => {
                let what = match slot.state {
                    State::Dialling => "no connection",
                    _ => "the server did not end the connection",
                };
                self.fail(at, Failure::InVain(what, timeout));
            }
            State::Priming | State::Talking if self.request.transport == Transport::Udp => {
                self.give_up_datagrams(at, now_ns);
            }
            _ => {}
        }
    }

    fn give_up_datagrams(&mut self, at: usize, now_ns: u64) {
        let patience = self.request.answer_timeout;
        let mut lost = 0;
        while let Some(message) = self.slots[at].conversation.give_up(now_ns, nanos(patience)) {
            self.forget(&message);
            if self.window.holds(now_ns) {
                self.account_for_waiting(at, &message);
                self.slots[at].unrecorded_ns += now_ns - message.sent_ns.max(self.window.start_ns);
            }
            self.tally
                .error(ErrorKind::Lost, format_args!("no answer within {patience:?}"));
            lost += 1;
        }
        if lost > 0 && !matches!(self.request.discipline, Loop::Open(_)) && self.phase < Phase::Draining {
            // The next one, also where the load has not begun: this one told nothing.
            (0..lost).for_each(|_| self.begin(at, now_ns));
            self.send(at);
        }
    }

    /// Takes note of how long a message waited to be sent, in a closed loop, since the
    /// answer to the one before it.
    fn account_for_waiting(&mut self, at: usize, message: &Message) {
        let think_ns = nanos(self.request.discipline.think());
        let free_ns = message
            .intended_ns
            .saturating_sub(think_ns)
            .max(self.window.start_ns);
        self.slots[at].unrecorded_ns += message.sent_ns.min(self.window.end_ns).saturating_sub(free_ns);
    }

    /// Takes note of a message that had no answer, or was not even sent, when the window
    /// closed.
    fn account_for_unrecorded(&mut self, at: usize, mut message: Message) {
        if message.sent_ns == 0 {
            message.sent_ns = self.window.end_ns;
        }
        self.account_for_waiting(at, &message);
        let begin_ns = message.sent_ns.max(self.window.start_ns);
        self.slots[at].unrecorded_ns += self.window.end_ns.saturating_sub(begin_ns);
    }

    /// Adds up, at the end of a closed loop, what its connections that were answered did in
    /// the window, to be compared with how long that was.
    pub fn settle_accounts(&mut self) {
        let Loop::Closed { depth, think, .. } = self.request.discipline else {
            return;
        };
        let window = self.window;
        if !self.request.is_lasting() || window.start_ns >= window.end_ns {
            return;
        }
        let mut thinking = std::mem::take(&mut self.timers).into_vec();
        thinking.retain(|Reverse((_, at, mark))| self.slots[*at].mark == *mark && self.slots[*at].answered);
        for Reverse((due_ns, at, _)) in thinking {
            let free_ns = due_ns.saturating_sub(nanos(think)).max(window.start_ns);
            self.slots[at].unrecorded_ns += window.end_ns.saturating_sub(free_ns);
        }
        let mut account = Account::default();
        for at in 0..self.slots.len() {
            if !self.slots[at].answered {
                continue;
            }
            let messages: Vec<_> = self.slots[at].conversation.unanswered().copied().collect();
            for message in messages {
                self.account_for_unrecorded(at, message);
            }
            let slot = &self.slots[at];
            account.unrecorded_ns += slot.unrecorded_ns;
            account.before_ns += slot.before_ns;
            account.expected_ns += u64::from(depth) * (window.end_ns - window.start_ns);
            // Where one failed or came late, there is no such sum.
            account.is_whole &= slot.state == State::Talking && slot.full_ns <= window.start_ns;
        }
        self.tally.account = Some(account);
    }
}
