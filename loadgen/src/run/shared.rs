//! The few numbers that the workers and the director share.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use super::director::Counts;
use super::machine::Window;

/// Written by one side, read by the other.
pub struct Shared<'a> {
    /// Raised by the caller to end the run.
    stop: &'a AtomicBool,
    /// Whether a worker has failed, which ends the run for all.
    failed: AtomicBool,
    /// Whether a worker had no time left to open its connections, which does too.
    out_of_time: AtomicBool,
    /// Connections that were opened at the start, so far.
    opened: AtomicUsize,
    /// How many messages a worker had on their way when it gave up, which does too.
    overran: AtomicUsize,
    /// Connections that still carry load, or may.
    live: AtomicUsize,
    /// Connections whose first message was answered before the load began.
    primed: AtomicUsize,
    /// Whether the load has begun, and when.
    loading: AtomicBool,
    loading_ns: AtomicU64,
    /// The window; its end moves forward when the run ends early.
    start_ns: AtomicU64,
    end_ns: AtomicU64,
}

impl<'a> Shared<'a> {
    /// Before the run.
    pub fn new(stop: &'a AtomicBool) -> Self {
        Shared {
            stop,
            failed: AtomicBool::new(false),
            out_of_time: AtomicBool::new(false),
            opened: AtomicUsize::new(0),
            overran: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            primed: AtomicUsize::new(0),
            loading: AtomicBool::new(false),
            loading_ns: AtomicU64::new(0),
            start_ns: AtomicU64::new(u64::MAX),
            end_ns: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether the caller has ended the run.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Whether the run is to end early, or has no connection left.
    pub fn is_over_early(&self) -> bool {
        self.is_to_end() || self.overran() > 0 || self.is_deserted()
    }

    /// Whether no connection carries load any more, or may.
    pub fn is_deserted(&self) -> bool {
        self.live.load(Relaxed) == 0
    }

    /// Whether the run is to end, whatever connections there are.
    pub fn is_to_end(&self) -> bool {
        self.is_stopped() || self.failed.load(Relaxed) || self.out_of_time.load(Relaxed)
    }

    /// A worker has failed.
    pub fn fail(&self) {
        self.failed.store(true, Relaxed);
    }

    /// A worker has no time left to open its connections.
    pub fn run_out_of_time(&self) {
        self.out_of_time.store(true, Relaxed);
    }

    /// A worker has opened that many further connections at the start.
    pub fn open(&self, connections: usize) {
        self.opened.fetch_add(connections, Relaxed);
    }

    /// Connections that were opened at the start, so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Relaxed)
    }

    /// A worker gives up with this many messages outstanding.
    pub fn overrun(&self, messages: usize) {
        self.overran.store(messages, Relaxed);
    }

    /// How many messages a worker had on their way when it gave up; 0 if none did.
    pub fn overran(&self) -> usize {
        self.overran.load(Relaxed)
    }

    /// A worker's numbers of live and primed connections have changed.
    pub fn update(&self, live: (usize, usize), primed: (usize, usize)) {
        let change = |number: &AtomicUsize, (before, after): (usize, usize)| match after >= before {
            true => number.fetch_add(after - before, Relaxed),
            false => number.fetch_sub(before - after, Relaxed),
        };
        change(&self.live, live);
        change(&self.primed, primed);
    }

    /// What the director decides on.
    pub fn counts(&self) -> Counts {
        Counts {
            live: self.live.load(Relaxed),
            primed: self.primed.load(Relaxed),
            is_over_early: self.is_over_early(),
            end_ns: self.end_ns.load(Relaxed),
        }
    }

    /// The load begins.
    pub fn begin_load(&self, begin_ns: u64) {
        self.loading_ns.store(begin_ns, Relaxed);
        // With its time.
        self.loading.store(true, Release);
    }

    /// When the load began, if it has.
    pub fn loading_ns(&self) -> Option<u64> {
        self.loading.load(Acquire).then(|| self.loading_ns.load(Relaxed))
    }

    /// Announces the window.
    pub fn open_window(&self, window: Window) {
        self.end_ns.store(window.end_ns, Relaxed);
        self.start_ns.store(window.start_ns, Relaxed);
    }

    /// Ends the window at this time, unless it has ended before.
    pub fn end_window(&self, now_ns: u64) {
        self.end_ns.fetch_min(now_ns, Relaxed);
    }

    /// The window, as far as it is known.
    pub fn window(&self) -> Window {
        Window {
            start_ns: self.start_ns.load(Relaxed),
            end_ns: self.end_ns.load(Relaxed),
        }
    }
}
