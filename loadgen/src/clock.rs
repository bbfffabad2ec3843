//! The clock of a run: nanoseconds of CLOCK_MONOTONIC since it began.

use nix::time::{ClockId, clock_gettime};

/// A clock that began when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    begin_ns: u64,
}

impl Clock {
    /// Begins.
    pub fn start() -> Self {
        Clock {
            begin_ns: monotonic_ns(),
        }
    }

    /// The time since it began.
    #[inline]
    pub fn now_ns(self) -> u64 {
        monotonic_ns() - self.begin_ns
    }

    /// A time of this clock as the kernel counts it, for timers that take an absolute one.
    pub fn monotonic_ns(self, time_ns: u64) -> u64 {
        self.begin_ns + time_ns
    }
}

#[inline]
fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
