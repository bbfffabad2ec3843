//! A worker: moves bytes between its engine and its machine, reads the clock, and exchanges a
//! few numbers with the director. It decides nothing.

use std::io;
use std::sync::mpsc::Sender;

use super::machine::{Action, Machine, Phase, Workload};
use super::shared::Shared;
use super::tally::{Cut, Tally};
use super::usage::Usage;
use crate::clock::Clock;
use crate::engine::{Engine, Event, Until};
use record::Transport;
use record::Wait;

/// What is done in a row when much is due or much has come, before the other is looked at: a
/// generator that is behind with one still sees the other. After every single answer would be
/// worse: on a virtual machine it costs more in sleeps that are too short than it gains.
const BURST: usize = 16;

/// A machine and the engine that it drives.
pub struct Worker<'a, E: Engine<'a>, L> {
    engine: E,
    clock: E::Clock,
    machine: Machine<'a, L>,
    shared: &'a Shared<'a>,
    transport: Transport,
    wait: Wait,
    /// What the worker has used up to a time.
    usage: fn(u64) -> Usage,
    usage_before: Option<Usage>,
    cuts: Sender<Cut>,
    /// The counts that the director has last.
    live: usize,
    primed: usize,
    /// The number of open connections that the observer has last.
    opened: usize,
    /// What came in before this time has been handled after the next wait.
    before_wait_ns: u64,
}

/// What a worker counted in a slice.
#[derive(Debug)]
pub struct SliceCounts {
    /// Within the window.
    pub cut: Cut,
    /// Messages that were answered since the slice before, in the window or not.
    pub served: u64,
    /// Whether no answer is missing.
    pub all_answered: bool,
}

impl SliceCounts {
    /// Adds the counts of another worker in the same slice.
    pub fn add(&mut self, other: SliceCounts) {
        self.cut.echoes += other.cut.echoes;
        self.cut.latency += other.cut.latency;
        self.served += other.served;
        self.all_answered &= other.all_answered;
    }
}

/// What the caller of a worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// [Wait](Worker::wait), then take the next turn.
    Wait(Until),
    /// Wait for the other workers, then [begin](Worker::begin_priming).
    Connected,
    /// Nothing more; the tally is complete.
    Done,
}

impl<'a, E: Engine<'a>, L: Workload> Worker<'a, E, L> {
    /// Drives an engine by a machine.
    pub fn new(
        engine: E,
        clock: E::Clock,
        machine: Machine<'a, L>,
        shared: &'a Shared<'a>,
        (transport, wait): (Transport, Wait),
        usage: fn(u64) -> Usage,
        cuts: Sender<Cut>,
    ) -> Self {
        Worker {
            engine,
            clock,
            machine,
            shared,
            transport,
            wait,
            usage,
            usage_before: None,
            cuts,
            live: 0,
            primed: 0,
            opened: 0,
            before_wait_ns: 0,
        }
    }

    /// Does what is due, up to the next wait.
    pub fn turn(&mut self) -> Turn {
        let turn = match self.machine.phase() {
            Phase::Connecting => self.connect_some(),
            Phase::Priming | Phase::Loading => self.load(),
            Phase::Draining => self.drain(),
        };
        self.publish();
        turn
    }

    /// Waits, and handles what has happened.
    pub fn wait(&mut self, until: Until) -> io::Result<()> {
        self.engine.wait(until)?;
        if let Phase::Priming | Phase::Loading = self.machine.phase() {
            // The window may have opened or closed meanwhile, and what has come is after that.
            let now_ns = self.clock.now_ns();
            self.look(now_ns);
            window_may_end(&mut self.machine, self.usage, self.usage_before, now_ns);
        }
        self.handle_events();
        self.machine.give_up_overdue(self.before_wait_ns);
        self.act();
        self.publish();
        Ok(())
    }

    /// All workers have connected: sends the first message on every connection.
    pub fn begin_priming(&mut self) {
        self.machine.begin_priming(self.clock.now_ns());
        self.act();
    }

    /// After a turn that ends a slice: lets the connections rest until the load begins again.
    pub fn rest(&mut self) -> SliceCounts {
        let all_answered = self.machine.rest();
        self.usage_before = None;
        let tally = self.machine.tally();
        SliceCounts {
            cut: tally.take_cut(),
            served: std::mem::take(&mut tally.served),
            all_answered,
        }
    }

    #[cfg(test)]
    pub fn machine(&self) -> &Machine<'a, L> {
        &self.machine
    }

    /// What was counted. Closes the connections.
    pub fn into_tally(self) -> Tally {
        self.machine.into_tally()
    }

    /// The engine, which in a simulation knows when something happens next.
    #[cfg(test)]
    pub fn engine(&self) -> &E {
        &self.engine
    }

    fn connect_some(&mut self) -> Turn {
        let now_ns = self.clock.now_ns();
        let gives_up = self.shared.is_to_end() || self.machine.is_out_of_time(now_ns);
        if self.machine.is_connected() || gives_up {
            if self.machine.end_connecting(now_ns) > 0 {
                self.shared.run_out_of_time();
            }
            self.act();
            return Turn::Connected;
        }
        self.try_postponed(now_ns);
        while self.machine.open_next(now_ns) {
            self.act();
        }
        self.before_wait_ns = now_ns;
        Turn::Wait(self.machine.wake(now_ns))
    }

    fn load(&mut self) -> Turn {
        if self.machine.phase() == Phase::Priming
            && let Some(begin_ns) = self.shared.loading_ns()
        {
            self.machine.begin_load(begin_ns, self.clock.now_ns());
            self.act();
        }
        let now_ns = self.clock.now_ns();
        self.look(now_ns);
        if self.machine.is_window_over(now_ns) {
            end_window(&mut self.machine, self.usage, self.usage_before, now_ns);
            return self.drain();
        }
        self.do_what_is_due(now_ns);
        self.reopen(now_ns);
        self.before_wait_ns = now_ns;
        Turn::Wait(self.wake())
    }

    fn drain(&mut self) -> Turn {
        let now_ns = self.clock.now_ns();
        let is_over_early = self.shared.is_over_early();
        if self.machine.is_drained(now_ns) || is_over_early {
            self.machine.finish(is_over_early, now_ns);
            return Turn::Done;
        }
        self.do_what_is_due(now_ns);
        self.reopen(now_ns);
        self.before_wait_ns = now_ns;
        Turn::Wait(self.wake())
    }

    fn wake(&self) -> Until {
        match self.wait == Wait::Spin {
            true => Until::Now,
            false => self.machine.wake(self.clock.now_ns()),
        }
    }

    /// Learns when the window is.
    fn look(&mut self, now_ns: u64) {
        if self.machine.look(self.shared.window(), now_ns) {
            self.usage_before = Some((self.usage)(now_ns));
        }
    }

    fn do_what_is_due(&mut self, now_ns: u64) {
        for _ in 0..BURST {
            if !self.machine.do_next_due(now_ns) {
                break;
            }
            self.act();
        }
        while self.machine.do_next_timer(now_ns) {
            self.act();
        }
        self.try_postponed(now_ns);
        if self.machine.overran() > 0 {
            self.shared.overrun(self.machine.overran());
            self.shared.end_window(self.clock.now_ns());
        }
    }

    /// Opens lost connections again. Not while events are handled, which may be of those that were lost.
    fn reopen(&mut self, now_ns: u64) {
        while self.machine.reopen_next(now_ns) {
            self.act();
        }
    }

    fn handle_events(&mut self) {
        let mut handled = 0;
        while let Some(event) = self.engine.next() {
            match event {
                Event::Received(at, []) if self.transport == Transport::Tcp => {
                    self.machine.ended(at, self.clock.now_ns());
                }
                Event::Received(at, bytes) => {
                    let now_ns = self.clock.now_ns();
                    // The window may have opened since the last look.
                    if !self.machine.has_opened() && self.machine.look(self.shared.window(), now_ns) {
                        self.usage_before = Some((self.usage)(now_ns));
                    }
                    window_may_end(&mut self.machine, self.usage, self.usage_before, now_ns);
                    self.machine.received(at, bytes, now_ns);
                }
                Event::Room(at) if self.machine.is_connecting(at) => match self.engine.established(at) {
                    Ok(()) => self.machine.established(at, self.clock.now_ns()),
                    Err(failure) => self.machine.failed(at, failure, self.clock.now_ns()),
                },
                Event::Room(at) => self.send(at, false),
                Event::Returned(at, length) => self.machine.returned(at, length),
                Event::Failed(at, error) => self.machine.failed(at, error.into(), self.clock.now_ns()),
            }
            self.act();
            handled += 1;
            // What is due does not wait until a thousand answers are handled.
            if handled % BURST == 0 && self.machine.has_due() {
                let now_ns = self.clock.now_ns();
                if !self.machine.has_opened() {
                    self.look(now_ns);
                }
                self.do_what_is_due(now_ns);
            }
        }
    }

    /// Does what the machine asks for.
    #[inline]
    fn act(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Send { at, counted } => self.send(at, counted),
                Action::Connect(at) => {
                    if self.machine.connecting(at, self.clock.now_ns()) {
                        self.connect(at);
                    }
                }
                Action::ConnectAgain(at) => self.connect(at),
                Action::ShutDown(at) => {
                    self.machine.shutting_down(at, self.clock.now_ns());
                    if let Err(error) = self.engine.shut_down(at) {
                        self.machine.failed(at, error.into(), self.clock.now_ns());
                    }
                }
                Action::Remove(at) => self.engine.remove(at),
            }
        }
    }

    fn connect(&mut self, at: usize) {
        match self.engine.connect(at, self.machine.source(at)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.machine.queue_full(at, self.clock.now_ns());
            }
            Err(error) => self.machine.failed(at, error.into(), self.clock.now_ns()),
        }
    }

    /// Calls the connects that waited for room in the server's queue, until it is full again.
    fn try_postponed(&mut self, now_ns: u64) {
        while self.machine.do_next_postponed(now_ns) {
            self.act();
        }
    }

    /// Sends what is unsent, as far as the kernel accepts it.
    #[inline]
    fn send(&mut self, at: usize, counted: bool) {
        loop {
            let unsent = self.machine.unsent(at);
            if unsent.is_empty() {
                return;
            }
            let now_ns = self.clock.now_ns();
            match self.engine.send(at, unsent) {
                Ok(0) => return,
                Ok(length) => self.machine.sent(at, length, now_ns),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.machine.refused(at, counted);
                }
                Err(error) => return self.machine.failed(at, error.into(), now_ns),
            }
        }
    }

    /// Tells the director what has changed.
    fn publish(&mut self) {
        for cut in self.machine.take_cuts() {
            // The director may have left when the run ends early.
            let _ = self.cuts.send(cut);
        }
        let newly_opened = self.machine.opened() - self.opened;
        if newly_opened > 0 {
            self.shared.open(newly_opened);
            self.opened += newly_opened;
        }
        let (live, primed) = (self.machine.live(), self.machine.primed());
        if (live, primed) != (self.live, self.primed) {
            self.shared.update((self.live, live), (self.primed, primed));
            (self.live, self.primed) = (live, primed);
        }
    }
}

/// Ends the window if it is over, before what happens after it is handled: otherwise an answer that
/// comes just after it would be neither in it nor outstanding at its end.
#[inline]
fn window_may_end<L: Workload>(
    machine: &mut Machine<L>,
    usage: fn(u64) -> Usage,
    before: Option<Usage>,
    now_ns: u64,
) {
    if machine.phase() == Phase::Loading && machine.is_window_over(now_ns) {
        end_window(machine, usage, before, now_ns);
    }
}

fn end_window<L: Workload>(
    machine: &mut Machine<L>,
    usage: fn(u64) -> Usage,
    before: Option<Usage>,
    now_ns: u64,
) {
    if let Some(before) = before {
        machine.tally().usage += usage(now_ns) - before;
    }
    machine.end_window(now_ns);
}
