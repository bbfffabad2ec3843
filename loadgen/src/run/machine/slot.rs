//! One connection, or the place for one.

use super::conversation::Conversation;
use record::Transport;

/// One connection, or the place for one. Connections that follow each other share a slot.
#[derive(Debug)]
pub struct Slot {
    pub state: State,
    pub conversation: Conversation,
    /// Whether it sends nothing.
    pub idle: bool,
    /// When its connect was called, and later when this side was shut down.
    pub since_ns: u64,
    /// When it was due, where connections arrive by a schedule.
    pub arrived_ns: u64,
    /// Since when it keeps the full number of messages in flight.
    pub full_ns: u64,
    /// Tells the timers of this connection from those of earlier ones in the slot.
    pub generation: u64,
    /// Number of the connection; its bytes depend on it.
    pub number: usize,
    /// Whether a byte has come back.
    pub reached: bool,
    /// Whether a message was answered within the window.
    pub answered: bool,
    /// Whether a message was ever answered, on this connection or an earlier one of the slot.
    pub served: bool,
    /// Whether it was ever open.
    pub opened: bool,
    /// With `reconnect`: that its connection was lost, until it is back.
    pub down: Option<Down>,
    /// Over UDP: when the first message was sent of those that were lost since the last answer.
    pub lost_since_ns: Option<u64>,
    /// Whether it was begun within the window.
    pub of_window: bool,
    /// Time within the window that no recorded latency covers: waiting to send, or waiting for
    /// an answer that came after the window or never.
    pub unrecorded_ns: u64,
    /// How much of the recorded latencies lies before the window.
    pub before_ns: u64,
}

/// A connection that was lost, and whose successor was not answered yet.
#[derive(Debug, Clone, Copy)]
pub struct Down {
    /// When it was lost.
    pub since_ns: u64,
    /// The state of its successor: [`State::Ready`] if it has to send its first message again.
    pub resumes: State,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none, for now or for good.
    Gone,
    /// It was lost, and will be opened again.
    Lost,
    /// Its connect is under way.
    Connecting,
    /// It is open, and nothing was sent.
    Ready,
    /// Its first message was sent, to see that it is served.
    Priming,
    /// Its first message was answered before the load began.
    Primed,
    /// It carries the load.
    Talking,
    /// This side was shut down; the server's end is awaited.
    Closing,
    /// It is open and sends nothing.
    Idle,
}

impl Slot {
    /// A place for a connection, which may be an idle one.
    pub fn new(idle: bool) -> Self {
        Slot {
            state: State::Gone,
            conversation: Conversation::new(0, Transport::Tcp),
            idle,
            since_ns: 0,
            arrived_ns: 0,
            full_ns: u64::MAX,
            generation: 0,
            number: 0,
            reached: false,
            answered: false,
            served: false,
            opened: false,
            down: None,
            lost_since_ns: None,
            of_window: false,
            unrecorded_ns: 0,
            before_ns: 0,
        }
    }

    /// Whether the connection is there, or on its way, and nothing has come back.
    pub fn is_new(&self) -> bool {
        let is_there = matches!(self.state, State::Connecting | State::Ready | State::Talking);
        is_there && !self.reached && !self.idle
    }

    /// Whether its connection was lost, and none has replaced it yet.
    #[inline]
    pub fn is_away(&self) -> bool {
        self.down.is_some() && matches!(self.state, State::Lost | State::Connecting)
    }

    /// Whether it is neither connecting nor closing.
    pub fn is_settled(&self) -> bool {
        !matches!(self.state, State::Connecting | State::Closing)
    }

    /// Whether no message is without an answer, except those that were given up.
    pub fn is_answered(&self) -> bool {
        self.conversation.unanswered().next().is_none()
    }

    /// When the oldest message was sent that has no answer and was not given up. A message that the
    /// kernel had no room for waits since it was due.
    pub fn outstanding_since_ns(&self) -> Option<u64> {
        let oldest = self.conversation.unanswered().next();
        oldest.map(|message| match message.sent_ns {
            0 => message.intended_ns,
            sent_ns => sent_ns,
        })
    }

    /// When the oldest message was sent that has no answer.
    pub fn waiting_since_ns(&self) -> Option<u64> {
        self.lost_since_ns.or(self.outstanding_since_ns())
    }
}
