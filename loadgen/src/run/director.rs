//! When the load begins and when the window opens and closes: decisions from counts and a
//! time. The caller reads the clock and sleeps.

use std::time::Duration;

use super::machine::Window;
use crate::clock::nanos;

/// The longest sleep: an early end is noticed within this. Each look takes some 20 us from a
/// worker that shares the processor, which at 20 looks a second does not reach the p99 of
/// 20,000 messages a second.
const GLANCE: Duration = Duration::from_millis(50);

/// The longest sleep until the connections have been answered once.
const PRIMING_GLANCE: Duration = Duration::from_millis(1);

/// The load begins once no further connection was answered for this long; the rest is taken
/// for starved. Long against the time that a server takes to accept or to start a process,
/// short against a trial.
const PRIMING_PATIENCE: Duration = Duration::from_millis(250);

/// The window is announced this long before it opens: longer than a worker sleeps until then,
/// so that the first messages of a low rate are not late.
const ANNOUNCED: Duration = Duration::from_millis(2);

/// What the workers report.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Connections that still carry load, or may.
    pub live: usize,
    /// Connections whose first message was answered.
    pub primed: usize,
    /// Whether the run is to end early, or has no connection left.
    pub is_over_early: bool,
    /// When the window ends; at the end of time until it is known.
    pub end_ns: u64,
}

/// What the caller is to do before it asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sleep for this long.
    Sleep(Duration),
    /// Begin the load, at this time.
    BeginLoad(u64),
    /// Call the observer, then [`Director::open`].
    OpenWindow,
    /// End the window now, and the run. `None` if the window did not open.
    End(Option<Window>),
}

/// Directs one run, from the moment that all workers have connected.
#[derive(Debug)]
pub struct Director {
    warmup_ns: u64,
    duration_ns: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Each connection sends one message. The kernel reports a connection as established
    /// before the server has seen it. A load that began then would keep a server that makes a
    /// process or a thread for each connection from accepting the rest, and measure how it
    /// starts instead of how it runs.
    Priming {
        primed: usize,
        since_ns: u64,
    },
    WarmingUp {
        until_ns: u64,
    },
    Opening,
    Measuring(Window),
}

impl Director {
    /// All workers have connected now.
    pub fn new(warmup: Duration, duration: Duration, now_ns: u64) -> Self {
        Director {
            warmup_ns: nanos(warmup),
            duration_ns: nanos(duration),
            stage: Stage::Priming {
                primed: 0,
                since_ns: now_ns,
            },
        }
    }

    /// What is to be done now.
    pub fn next(&mut self, counts: Counts, now_ns: u64) -> Step {
        match &mut self.stage {
            Stage::Priming { primed, since_ns } => {
                if counts.primed > *primed {
                    (*primed, *since_ns) = (counts.primed, now_ns);
                }
                let patient = now_ns - *since_ns < nanos(PRIMING_PATIENCE);
                if *primed < counts.live && patient && !counts.is_over_early {
                    return Step::Sleep(PRIMING_GLANCE);
                }
                let until_ns = now_ns + self.warmup_ns;
                self.stage = Stage::WarmingUp { until_ns };
                Step::BeginLoad(now_ns)
            }
            _ if counts.is_over_early => match self.stage {
                Stage::Measuring(window) => Step::End(Some(window)),
                _ => Step::End(None),
            },
            Stage::WarmingUp { until_ns } if now_ns < *until_ns => sleep(*until_ns - now_ns),
            Stage::WarmingUp { .. } | Stage::Opening => {
                self.stage = Stage::Opening;
                Step::OpenWindow
            }
            Stage::Measuring(window) => match window.end_ns.min(counts.end_ns).saturating_sub(now_ns) {
                0 => Step::End(Some(*window)),
                left_ns => sleep(left_ns),
            },
        }
    }

    /// The observer was called: the window that is to be announced.
    pub fn open(&mut self, now_ns: u64) -> Window {
        let start_ns = now_ns + nanos(ANNOUNCED);
        let window = Window {
            start_ns,
            end_ns: start_ns + self.duration_ns,
        };
        self.stage = Stage::Measuring(window);
        window
    }
}

fn sleep(left_ns: u64) -> Step {
    Step::Sleep(Duration::from_nanos(left_ns).min(GLANCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn counts(primed: usize, live: usize) -> Counts {
        Counts {
            live,
            primed,
            is_over_early: false,
            end_ns: u64::MAX,
        }
    }

    fn director() -> Director {
        Director::new(Duration::from_millis(70), Duration::from_millis(100), 0)
    }

    #[test]
    fn the_load_begins_once_every_connection_was_answered() {
        let mut director = director();
        assert_eq!(director.next(counts(0, 2), 0), Step::Sleep(PRIMING_GLANCE));
        assert_eq!(director.next(counts(1, 2), 200 * MS), Step::Sleep(PRIMING_GLANCE));
        assert_eq!(
            director.next(counts(2, 2), 449 * MS),
            Step::BeginLoad(449 * MS),
            "each answer restarts the patience"
        );
    }

    #[test]
    fn connections_that_stay_unanswered_hold_the_load_up_for_the_patience() {
        let mut director = director();
        assert_eq!(director.next(counts(1, 2), 100 * MS), Step::Sleep(PRIMING_GLANCE));
        assert_eq!(director.next(counts(1, 2), 349 * MS), Step::Sleep(PRIMING_GLANCE));
        assert_eq!(director.next(counts(1, 2), 350 * MS), Step::BeginLoad(350 * MS));
    }

    /// A director whose window is 100 ms from 72 ms on.
    fn measuring() -> Director {
        let mut director = director();
        assert_eq!(director.next(counts(2, 2), 0), Step::BeginLoad(0));
        assert_eq!(director.next(counts(2, 2), 0), Step::Sleep(GLANCE));
        let left = Step::Sleep(Duration::from_millis(20));
        assert_eq!(director.next(counts(2, 2), 50 * MS), left);
        assert_eq!(director.next(counts(2, 2), 70 * MS), Step::OpenWindow);
        let window = director.open(70 * MS);
        assert_eq!((window.start_ns, window.end_ns), (72 * MS, 172 * MS));
        director
    }

    const WINDOW: Window = Window {
        start_ns: 72 * MS,
        end_ns: 172 * MS,
    };

    #[test]
    fn the_window_follows_the_warm_up_and_has_its_duration() {
        let mut director = measuring();
        assert_eq!(director.next(counts(2, 2), 72 * MS), Step::Sleep(GLANCE));
        let last = Step::Sleep(Duration::from_nanos(1));
        assert_eq!(director.next(counts(2, 2), 172 * MS - 1), last);
        assert_eq!(director.next(counts(2, 2), 172 * MS), Step::End(Some(WINDOW)));
    }

    #[test]
    fn an_early_end_is_one_in_every_stage() {
        let over = Counts {
            is_over_early: true,
            ..counts(0, 2)
        };
        let mut director = director();
        assert_eq!(director.next(over, 5), Step::BeginLoad(5));
        assert_eq!(director.next(over, 5), Step::End(None));
        assert_eq!(measuring().next(over, 80 * MS), Step::End(Some(WINDOW)));
        let ended = Counts {
            end_ns: 79 * MS,
            ..counts(2, 2)
        };
        assert_eq!(measuring().next(ended, 80 * MS), Step::End(Some(WINDOW)));
    }
}
