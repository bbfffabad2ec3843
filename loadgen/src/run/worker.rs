//! A worker: one thread, its engine and its share of the connections; when it does what.
//!
//! What happens on a connection is in the module `life`; the engine only moves bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::mpsc::Sender;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::prctl;

use super::due::Due;
use super::latch::Arrival;
use super::life::{Slot, State};
use super::tally::{Cut, Tally};
use super::usage::Usage;
use super::{Run, nanos};
use crate::affinity;
use crate::engine::{Engine, Until};
use crate::pacer::Share;
use crate::plan::{Loop, Request, Wait};
use record::Transport;

/// Connects under way at once: enough to hide a round trip to another host. On loopback a
/// connect is over before the server has accepted, so there it bounds nothing but bursts.
const UNDER_WAY: usize = 100;

/// The longest sleep: an early end, and a connect that takes too long, are noticed within
/// this.
const GLANCE_MS: u16 = 20;

/// The longest sleep before the load has begun: its begin is noticed within this.
const PRIMING_GLANCE_MS: u16 = 1;

/// Messages that are sent in a row, when many are due, before answers and the window are
/// looked at again, and answers that are taken in a row before what is due: a generator that
/// is behind in the one still sees the other. After every single answer would be worse: on a
/// virtual machine it costs more in sleeps that are too short than it gains in time.
pub const BURST: usize = 16;

/// Messages on their way beyond which a run ends: a server that is so far behind does not
/// catch up, and they take some 64 MB.
const MOST_OUTSTANDING: usize = 1 << 21;

/// How long after the window an answer to a message of the window is waited for: long
/// against any latency that is worth a histogram.
const GRACE_NS: u64 = 5_000_000_000;

/// Times that are kept to test the law of the schedule: enough to see a wrong one.
const LAW_SAMPLE: usize = 8192;

/// A worker with its connections.
pub struct Worker<'a, E> {
    pub(super) run: &'a Run<'a>,
    pub(super) request: &'a Request,
    pub(super) engine: E,
    pub(super) slots: Vec<Slot>,
    /// Slots that connections have left, where they come by themselves.
    pub(super) free: Vec<usize>,
    pub(super) share: Share,
    /// Connections that it has begun.
    pub(super) dialled: usize,
    /// Connections that failed, where others take their place.
    pub(super) failures: usize,
    /// What it has added to the connections that still talk, or may.
    pub(super) alive: usize,
    /// Slots that are dialling or closing.
    pub(super) unsettled: usize,
    /// Messages that were begun and are not answered.
    pub(super) outstanding: usize,
    /// How many of them were due within the window.
    pub(super) outstanding_of_window: u64,
    /// What is to be done with a slot at a time, if it has that mark still.
    pub(super) timers: BinaryHeap<Reverse<(u64, usize, u64)>>,
    pub(super) random: Rng,
    pub(super) phase: Phase,
    pub(super) window: Window,
    pub(super) tally: Tally,
    due: Option<Due>,
    /// What of `due` comes next; never, where there is nothing.
    pub(super) next_due_ns: u64,
    /// The first times of the window that it gave, from its begin.
    intended_ns: Vec<u64>,
    /// Where the next message of the schedule goes.
    turn: usize,
    usage_before: Option<Usage>,
    cuts: Sender<Cut>,
    next_cut_ns: u64,
    interval_ns: u64,
    next_look_ns: u64,
}

/// What a worker is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It opens connections.
    Connecting,
    /// Each connection sends one message, to see that it is served.
    Priming,
    /// The load, warm-up and window.
    Loading,
    /// What was due within the window is waited for.
    Draining,
}

/// The measured window; never, until it is known.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Window {
    pub fn holds(self, time_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&time_ns)
    }
}

/// Runs worker number `index`: connects its share, talks until the window closes, waits for
/// what is on its way, and keeps the connections open until everybody has counted.
pub fn work<'a, E: Engine<'a>>(
    run: &'a Run<'a>,
    index: usize,
    arrival: Arrival,
    cuts: Sender<Cut>,
) -> io::Result<Tally> {
    let mut worker = Worker::<E>::prepare(run, index, cuts)?;
    worker.connect()?;
    drop(arrival);
    run.connected.wait();
    worker.talk()?;
    worker.drain()?;
    run.counted.wait();
    Ok(worker.tally)
}

impl<'a, E: Engine<'a>> Worker<'a, E> {
    fn prepare(run: &'a Run<'a>, index: usize, cuts: Sender<Cut>) -> io::Result<Self> {
        let request = run.plan.request();
        if !request.cpus.is_empty() {
            affinity::pin(&[request.cpus[index % request.cpus.len()]])?;
        }
        // Else the kernel may let every sleep last 50 us longer.
        prctl::set_timerslack(1)?;
        let share = Share {
            index,
            of: request.threads,
        };
        let slots = part(request.connections, share) + part(request.idle, share);
        Ok(Worker {
            run,
            request,
            engine: E::new(request, slots, run.clock)?,
            slots: Vec::with_capacity(slots),
            free: Vec::new(),
            share,
            dialled: 0,
            failures: 0,
            alive: 0,
            unsettled: 0,
            outstanding: 0,
            outstanding_of_window: 0,
            timers: BinaryHeap::new(),
            random: Rng::with_seed(run.seeds[index]),
            phase: Phase::Connecting,
            window: Window {
                start_ns: u64::MAX,
                end_ns: u64::MAX,
            },
            tally: Tally::new(),
            due: None,
            next_due_ns: u64::MAX,
            intended_ns: Vec::new(),
            turn: 0,
            usage_before: None,
            cuts,
            next_cut_ns: u64::MAX,
            interval_ns: nanos(run.interval),
            next_look_ns: 0,
        })
    }

    /// Opens the connections that are there from the begin, and the idle ones.
    fn connect(&mut self) -> io::Result<()> {
        let busy = part(self.request.connections, self.share);
        let all = busy + part(self.request.idle, self.share);
        while (self.slots.len() < all || self.unsettled > 0) && !self.run.stop.load(Relaxed) {
            let now_ns = self.run.clock.now_ns();
            while self.slots.len() < all && self.unsettled < UNDER_WAY {
                let slot = self.slots.len();
                self.slots.push(Slot::new(slot >= busy));
                self.dial(slot, now_ns);
            }
            self.engine.wait(Until::About(GLANCE_MS))?;
            self.handle_events();
            self.look_for_overdue(now_ns);
        }
        self.alive = match self.request.discipline {
            _ if self.is_hopeless() => 0,
            // As long as there is hope for the next ones.
            Loop::PartlyOpen { .. } => 1,
            _ if !self.request.is_lasting() => busy,
            _ => self.in_state(State::Ready),
        };
        self.run.live.fetch_add(self.alive, Relaxed);
        Ok(())
    }

    /// Sends the first message on every connection, what follows once the load has begun,
    /// and handles what comes until the window closes.
    fn talk(&mut self) -> io::Result<()> {
        self.phase = Phase::Priming;
        let now_ns = self.run.clock.now_ns();
        self.each_in(State::Ready, |worker, slot| worker.prime(slot, now_ns));
        loop {
            if self.phase == Phase::Priming && self.run.loading.load(Acquire) {
                self.load();
            }
            let now_ns = self.run.clock.now_ns();
            self.look_at_window(now_ns);
            if now_ns >= self.window.end_ns {
                break;
            }
            self.do_what_is_due(now_ns);
            self.wait()?;
            // The window may have opened meanwhile, and what has come is of it.
            self.look_at_window(self.run.clock.now_ns());
            self.handle_events();
            // What had come by then has been read.
            self.look_for_overdue(now_ns);
        }
        if let Some(before) = self.usage_before {
            self.tally.usage = self.usage() - before;
            self.tally.outstanding_at_end = self.on_their_way();
            self.tally.waiting_at_end = self.waiting();
        }
        self.tally.intended_ns.push(std::mem::take(&mut self.intended_ns));
        self.settle_accounts();
        Ok(())
    }

    /// Begins the load.
    fn load(&mut self) {
        self.phase = Phase::Loading;
        let now_ns = self.run.clock.now_ns();
        if let Some(pace) = self.request.discipline.pace() {
            // From the same moment for all workers, so that evenly spaced ones stay so.
            let begin_ns = self.run.loading_ns.load(Relaxed);
            self.due = Some(Due::new(
                self.run.draw,
                pace,
                self.share,
                self.request.seed,
                begin_ns,
            ));
        }
        self.each_in(State::Primed, |worker, slot| worker.start(slot, now_ns));
    }

    /// Learns when the window is, and does what its begin and its intervals need.
    pub(super) fn look_at_window(&mut self, now_ns: u64) {
        self.window = Window {
            start_ns: self.run.start_ns.load(Relaxed),
            end_ns: self.run.end_ns.load(Relaxed),
        };
        self.look_ahead();
        if now_ns >= self.window.start_ns && self.usage_before.is_none() {
            self.usage_before = Some(self.usage());
            self.tally.outstanding_at_start = self.on_their_way();
            self.tally.waiting_at_start = self.waiting();
            self.next_cut_ns = self.window.start_ns + self.interval_ns;
        }
        self.cut(now_ns);
    }

    /// Hands over what was counted in the intervals that have ended.
    pub(super) fn cut(&mut self, now_ns: u64) {
        while now_ns >= self.next_cut_ns && self.next_cut_ns < self.window.end_ns {
            self.next_cut_ns += self.interval_ns;
            // The watching thread may have left when the run ends early.
            let _ = self.cuts.send(self.tally.take_cut());
        }
    }

    /// Messages and connections of the schedule, and those that waited for a time of their
    /// own.
    pub(super) fn do_what_is_due(&mut self, now_ns: u64) {
        for _ in 0..BURST {
            if self.next_due_ns > now_ns.min(self.window.end_ns - 1) {
                break;
            }
            self.do_next();
        }
        while let Some(&Reverse((time_ns, slot, mark))) = self.timers.peek() {
            if time_ns > now_ns {
                break;
            }
            self.timers.pop();
            if self.slots[slot].mark == mark && self.phase < Phase::Draining {
                self.resume(slot, time_ns);
            }
        }
    }

    /// Learns what is due next, now that more may be known of the window.
    fn look_ahead(&mut self) {
        if let Some(due) = &mut self.due {
            due.open_window(self.window.start_ns);
            self.next_due_ns = due.next_ns.unwrap_or(u64::MAX);
        }
    }

    /// What the schedule has next: a message, or a connection.
    fn do_next(&mut self) {
        let due_ns = self.next_due_ns;
        let Some(due) = &mut self.due else { return };
        due.advance();
        self.look_ahead();
        if self.phase == Phase::Draining {
            // It was due, and not even begun, when the window closed.
            self.tally.waiting_at_end += 1;
        }
        if self.window.holds(due_ns) {
            self.tally.due += 1;
            if self.intended_ns.len() < LAW_SAMPLE {
                self.intended_ns.push(due_ns - self.window.start_ns);
            }
        }
        match self.request.discipline {
            Loop::PartlyOpen { .. } => self.arrive(due_ns),
            _ => self.say_next(due_ns),
        }
        if self.outstanding > MOST_OUTSTANDING {
            self.run.overran.store(self.outstanding, Relaxed);
            self.run.end_ns.fetch_min(self.run.clock.now_ns(), Relaxed);
        }
    }

    /// Sends a message of the schedule on the connection whose turn it is; those that have
    /// failed are passed over.
    fn say_next(&mut self, due_ns: u64) {
        // The idle ones come after those.
        let busy = part(self.request.connections, self.share);
        for _ in 0..busy {
            let slot = self.turn;
            self.turn = (self.turn + 1) % busy;
            if matches!(self.slots[slot].state, State::Primed | State::Talking) {
                return self.say(slot, due_ns);
            }
        }
        // There is nobody to send it to.
        if self.window.holds(due_ns) {
            self.tally.unanswered += 1;
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        if self.request.wait == Wait::Spin {
            return self.engine.wait(Until::Now);
        }
        if self.phase < Phase::Loading {
            return self.engine.wait(Until::About(PRIMING_GLANCE_MS));
        }
        let now_ns = self.run.clock.now_ns();
        let timer_ns = self
            .timers
            .peek()
            .map_or(u64::MAX, |Reverse((time_ns, ..))| *time_ns);
        let exact_ns = match self.next_due_ns {
            due_ns if due_ns < self.window.end_ns => due_ns.min(timer_ns),
            // It will not be sent any more.
            _ => timer_ns,
        };
        let glance_ns = now_ns + u64::from(GLANCE_MS) * 1_000_000;
        let until = match exact_ns.min(glance_ns) {
            // The end is no moment to be met exactly: what comes later is not counted.
            // Rounded up, so that the last wait does not poll.
            time_ns if time_ns < exact_ns => {
                let next_ns = match self.phase {
                    // It is over, and what is on its way wakes up by itself.
                    Phase::Draining => glance_ns,
                    _ => self.window.end_ns.min(glance_ns),
                };
                let left_ns = next_ns.saturating_sub(now_ns);
                Until::About(left_ns.div_ceil(1_000_000).min(GLANCE_MS.into()) as u16)
            }
            time_ns => Until::Time(time_ns),
        };
        self.engine.wait(until)
    }

    /// Sends what was due within the window and is not sent yet, and waits for the answers.
    fn drain(&mut self) -> io::Result<()> {
        self.phase = Phase::Draining;
        let deadline_ns = self.run.clock.now_ns() + GRACE_NS;
        loop {
            let now_ns = self.run.clock.now_ns();
            let late = self.next_due_ns < self.window.end_ns;
            let given_up = now_ns >= deadline_ns || self.run.is_over_early();
            if self.due.is_none() || given_up || (!late && self.outstanding_of_window == 0) {
                break;
            }
            self.do_what_is_due(now_ns);
            self.wait()?;
            self.handle_events();
            // What had come by then has been read.
            self.look_for_overdue(now_ns);
        }
        if self.due.is_some() {
            self.tally.unanswered += self.outstanding_of_window;
        }
        while self.next_due_ns < self.window.end_ns && !self.run.is_over_early() {
            let Some(due) = &mut self.due else { break };
            self.tally.due += 1;
            self.tally.unanswered += 1;
            self.tally.waiting_at_end += 1;
            due.advance();
            self.next_due_ns = due.next_ns.unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// Looks for connects, ends and datagrams that have been waited for long enough.
    fn look_for_overdue(&mut self, now_ns: u64) {
        let datagrams = self.request.transport == Transport::Udp;
        if now_ns < self.next_look_ns || (self.unsettled == 0 && !datagrams) {
            return;
        }
        let glance_ns = u64::from(GLANCE_MS) * 1_000_000;
        self.next_look_ns = now_ns + glance_ns.min(nanos(self.request.answer_timeout));
        for slot in 0..self.slots.len() {
            self.give_up_overdue(slot, now_ns);
        }
    }

    /// Whether none of its connections came about, where others take their place.
    pub(super) fn is_hopeless(&self) -> bool {
        self.failures >= UNDER_WAY && self.tally.established == 0
    }

    fn each_in(&mut self, state: State, mut act: impl FnMut(&mut Self, usize)) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].state == state {
                act(self, slot);
            }
        }
    }

    fn in_state(&self, state: State) -> usize {
        self.slots.iter().filter(|slot| slot.state == state).count()
    }

    fn usage(&self) -> Usage {
        Usage::of_this_thread(Duration::from_nanos(self.run.clock.now_ns()))
    }

    /// What was due and is not done with: connections without their first answer, where they
    /// arrive, or messages.
    fn on_their_way(&self) -> u64 {
        match self.request.discipline {
            Loop::PartlyOpen { .. } => self.slots.iter().filter(|slot| slot.is_new()).count() as u64,
            _ => self.outstanding as u64,
        }
    }

    /// Messages that are due and have no byte with the kernel.
    fn waiting(&self) -> u64 {
        self.slots
            .iter()
            .map(|slot| slot.conversation.waiting() as u64)
            .sum()
    }
}

/// How many of so many are somebody's own: number i goes to him whose index is i modulo the
/// number of those who share.
fn part(all: usize, share: Share) -> usize {
    (share.index..all).step_by(share.of).len()
}
