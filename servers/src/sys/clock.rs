//! Clocks: `clock_gettime(2)`.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Processor time that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
