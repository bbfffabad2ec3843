//! Clocks: `clock_gettime(2)`, and conversions to the kernel's time types.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// A time-out for `poll` and `epoll_wait`: -1 waits for ever.
///
/// Rounds up: rounding down to 0 would busy-poll until the time is due.
pub(super) fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    let Some(timeout) = timeout else { return -1 };
    timeout
        .as_nanos()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(libc::c_int::MAX)
}

/// A time for `select` and `setitimer`, rounded up too.
pub(super) fn timeval(time: Duration) -> libc::timeval {
    let time = time.saturating_add(Duration::from_nanos(999));
    libc::timeval {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_usec: time.subsec_micros().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positive_time_out_is_never_rounded_down_to_zero() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_millis(20))), 20);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
    }
}
