//! What has begun and not ended: messages without an answer, and connections that are not
//! established, not answered or not closed. Each counts with the time that it has lasted.
//!
//! Of a schedule the messages that were due within the window count. A closed loop has no such
//! messages: there those count that were outstanding in the window. A message that is answered
//! after the window of a closed loop belongs to what would have followed, and does not count.

use super::conversation::Message;
use super::core::{Core, Window};
use super::slot::{Slot, State};
use crate::plan::CheckedPlan;
use crate::run::tally::Remainder;
use crate::run::unfinished::Unfinished;
use record::{LoopKind, Span};

/// Which messages and connections count, at a time.
#[derive(Clone, Copy)]
struct View<'a> {
    plan: &'a CheckedPlan,
    window: Window,
    now_ns: u64,
}

impl<'a> Core<'a> {
    /// Counts a message that is given up over UDP: it is lost.
    pub fn leave_lost(&mut self, message: &Message, now_ns: u64) {
        let view = self.view(now_ns);
        if view.counts(message) {
            view.add_message(message, &mut self.tally.given_up);
        }
    }

    /// Counts what a connection that has failed leaves unfinished.
    pub fn leave_failed(&mut self, at: usize, now_ns: u64) {
        let view = self.view(now_ns);
        let tally = &mut self.tally;
        tally.broken_off += view.add_slot(&self.slots[at], &mut tally.given_up);
    }

    /// Counts a message that was due and that no connection could carry.
    pub fn leave_uncarried(&mut self, due_ns: u64, now_ns: u64) {
        self.tally.broken_off += 1;
        self.tally
            .given_up
            .record(Span::Response, now_ns.saturating_sub(due_ns));
    }

    /// Counts a message, or a connection with its first one, that was due and not begun when the run
    /// ended.
    pub fn leave_unbegun(&mut self, due_ns: u64, now_ns: u64) {
        let tally = &mut self.tally;
        tally.outstanding_at_end += 1;
        tally.waiting_at_end += 1;
        if !self.window.holds(due_ns) {
            return;
        }
        tally.due += 1;
        tally.remainder.unanswered += 1;
        for span in [Span::Response, Span::SendLag] {
            let lasted_ns = now_ns.saturating_sub(due_ns);
            tally.remainder.unfinished.record(span, lasted_ns);
        }
    }

    /// Counts what is unfinished when the window is over and no answer is waited for any more.
    pub fn count_remainder(&mut self, now_ns: u64) {
        let view = self.view(now_ns);
        let mut remainder = Remainder::default();
        for slot in &self.slots {
            remainder.unanswered += view.add_slot(slot, &mut remainder.unfinished);
        }
        // What an earlier slice has left is there still.
        self.tally.remainder = remainder;
    }

    /// Whether a connection is being established or closed since a time in the window, and may only be
    /// slow.
    pub fn awaits_connections(&self, now_ns: u64) -> bool {
        if self.plan.keeps_connections() || self.unsettled == 0 {
            return false;
        }
        let (view, enough_ns) = (self.view(now_ns), self.standstill_ns());
        let mut unsettled = self.slots.iter().filter(|slot| !slot.is_settled());
        unsettled.any(|slot| view.covers(slot) && now_ns.saturating_sub(slot.since_ns) <= enough_ns)
    }

    fn view(&self, now_ns: u64) -> View<'a> {
        View {
            plan: self.plan,
            window: self.window,
            now_ns,
        }
    }
}

impl View<'_> {
    /// Whether a message without an answer counts.
    fn counts(self, message: &Message) -> bool {
        match self.plan.pace {
            Some(_) => message.of_window,
            None => self.window.start_ns <= self.now_ns,
        }
    }

    /// Whether what a connection began last was begun before the window closed, and had not ended
    /// when it opened.
    fn covers(self, slot: &Slot) -> bool {
        !slot.idle && slot.since_ns < self.window.end_ns && self.window.start_ns <= self.now_ns
    }

    fn add_message(self, message: &Message, unfinished: &mut Unfinished) {
        let since = |time_ns: u64| self.now_ns.saturating_sub(time_ns);
        if self.plan.pace.is_some() {
            unfinished.record(Span::Response, since(message.intended_ns));
        }
        match (message.first_sent_ns(), self.plan.loop_kind) {
            (0, LoopKind::Open) => unfinished.record(Span::SendLag, since(message.intended_ns)),
            // It has not begun.
            (0, _) => {}
            (sent_ns, _) => unfinished.record(Span::Service, since(sent_ns)),
        }
    }

    /// Adds what a connection has not finished. Returns how many messages have no answer.
    fn add_slot(self, slot: &Slot, unfinished: &mut Unfinished) -> u64 {
        let mut unanswered = 0;
        for message in slot
            .conversation
            .unanswered()
            .filter(|message| self.counts(message))
        {
            self.add_message(message, unfinished);
            unanswered += 1;
        }
        if self.plan.keeps_connections() || slot.idle {
            return unanswered;
        }
        if self.plan.pace.is_some() && slot.state == State::Connecting && slot.of_window {
            // Its first message was due with it.
            unfinished.record(Span::Response, self.now_ns.saturating_sub(slot.arrived_ns));
            unanswered += 1;
        }
        if self.covers(slot) {
            let spans: &[Span] = match slot.state {
                State::Connecting => &[Span::Connect, Span::FirstByte],
                State::Closing => &[Span::Close],
                // One that sends nothing any more gets no answer.
                State::Priming | State::Talking if !slot.reached => &[Span::FirstByte],
                _ => &[],
            };
            for &span in spans {
                unfinished.record(span, self.now_ns.saturating_sub(slot.since_ns));
            }
        }
        unanswered
    }
}
