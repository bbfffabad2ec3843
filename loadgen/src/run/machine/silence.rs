//! Connections that went silent: a server that once drops the end of an answer leaves the
//! connection waiting for ever, and nothing else in a closed loop shows it.

use super::core::Core;
use super::slot::State;

/// A correct server, and the host that it runs on, may stand still for this long at the end of
/// the window.
const FLOOR_NS: u64 = 1_000_000_000;

/// What is far above the largest latency of the window.
const FACTOR: u64 = 10;

/// Takes note, at the end of the window, of how long each connection has waited that was served
/// before, and of how many never were. A connection that thinks waits for nothing.
pub fn count(core: &mut Core) {
    let end_ns = core.window.end_ns;
    for slot in &core.slots {
        match slot.state {
            State::Priming | State::Talking if slot.served => {
                let since_ns = slot.waiting_since_ns();
                let waits_ns = since_ns.map(|since_ns| end_ns.saturating_sub(since_ns));
                core.tally.waits_ns.extend(waits_ns);
            }
            State::Ready | State::Priming | State::Talking => core.tally.unserved += 1,
            _ => {}
        }
    }
}

/// How long a connection may have waited for an answer at the end of the window before it has
/// gone silent: ten times the largest latency within the window, and at least a second; but no
/// longer than the window, or no connection could go silent in a short one. A server that is
/// slow for the window is allowed twice the largest latency of the whole run, warm-up and
/// priming included.
pub fn bound_ns(window_ns: u64, largest_in_window_ns: u64, largest_ns: u64) -> u64 {
    let far_above = largest_in_window_ns.saturating_mul(FACTOR).max(FLOOR_NS);
    far_above.min(window_ns).max(largest_ns.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_latencies_within_a_second_and_the_window() {
        let ms = |milliseconds: u64| milliseconds * 1_000_000;
        let table = [
            // window, largest in it, largest of all, bound
            (ms(10_000), ms(1), ms(1), ms(1000)),
            (ms(10_000), ms(300), ms(300), ms(3000)),
            (ms(10_000), ms(2000), ms(2000), ms(10_000)),
            (ms(200), ms(1), ms(1), ms(200)),
            // A server that takes longer than the window is slow, not silent.
            (ms(2000), ms(1500), ms(5000), ms(10_000)),
            (ms(2000), 0, ms(5000), ms(10_000)),
        ];
        for (window, in_window, of_all, bound) in table {
            assert_eq!(bound_ns(window, in_window, of_all), bound);
        }
    }
}
