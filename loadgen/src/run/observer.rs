//! What a caller of a run may watch.

use std::time::Duration;

use super::intervals::Snapshot;

/// Is called when the measured window opens and closes; all connections are open at both
/// times, so the caller can read what the server has used.
pub trait Observer {
    /// So many of the connections that the run begins with are open. Is called several times a second
    /// if opening them takes longer than a second.
    fn connecting(&mut self, _open: usize, _of: usize, _elapsed: Duration) {}
    /// The warm-up is over; the window opens when this returns.
    fn window_opened(&mut self) {}
    /// Whether to call [`progress`](Observer::progress). A summary takes some 100 us for each
    /// interval, from a worker if that shares the processor.
    fn wants_progress(&self) -> bool {
        false
    }
    /// An interval of the window is over.
    fn progress(&mut self, _snapshot: &Snapshot) {}
    /// The last message has been counted.
    fn window_closed(&mut self) {}
}

/// Watches nothing.
impl Observer for () {}
