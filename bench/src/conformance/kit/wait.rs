//! Waits for conditions that nothing reports.

use std::thread;
use std::time::{Duration, Instant};

/// Time without progress after which a server is stuck rather than slow.
pub const STALL: Duration = Duration::from_secs(10);

/// Time between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls a condition until it holds or the time is over; returns whether it holds.
pub fn wait_until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL_INTERVAL);
    }
    true
}
