//! The clock of a run: nanoseconds since it began.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Tells the time of a run. The simulated engine has a virtual one.
pub trait Clock: Copy {
    /// Nanoseconds since the run began.
    fn now_ns(self) -> u64;
}

/// CLOCK_MONOTONIC from the moment that the value was made.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic {
    begin_ns: u64,
}

impl Monotonic {
    /// Starts at 0.
    pub fn start() -> Self {
        Monotonic {
            begin_ns: monotonic_ns(),
        }
    }

    /// A time of this clock as the kernel counts it, for timers that take an absolute one.
    pub fn absolute_ns(self, time_ns: u64) -> u64 {
        self.begin_ns + time_ns
    }
}

impl Clock for Monotonic {
    #[inline]
    fn now_ns(self) -> u64 {
        monotonic_ns() - self.begin_ns
    }
}

/// A duration in nanoseconds.
pub fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[inline]
fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
