//! Clocks: `clock_gettime(2)`, and times as the kernel takes them.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Processor time that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// A time-out as `poll` and `epoll_wait` take it: -1 is for ever.
///
/// Rounds up: a time-out rounded down to 0 would poll in a loop until it is due.
pub(super) fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    let Some(timeout) = timeout else { return -1 };
    timeout
        .as_nanos()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(libc::c_int::MAX)
}

/// A time as `select` and `setitimer` take it, rounded up as well.
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
    fn a_time_out_is_never_rounded_down_to_none() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_millis(20))), 20);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
    }
}
