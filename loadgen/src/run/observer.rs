//! What a caller of a run may watch.

use super::intervals::Snapshot;

/// Is called when the measured window opens and closes; all connections are open at both
/// times, so the caller can read what the server has used.
pub trait Observer {
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
