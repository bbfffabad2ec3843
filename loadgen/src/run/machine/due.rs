//! The schedule of a worker in the time of the run: the initial rate during the warm-up, and the
//! whole schedule from the start of the window.

use std::iter;

use crate::pacer::{Pace, Schedule, Share};

/// The times at which a share of a pace is due, in nanoseconds from its start.
pub type Times = Box<dyn Iterator<Item = u64>>;

/// Draws the times of a schedule with a seed. Tests replace [`draw`] by a wrong one.
pub type Draw = fn(&Pace, Share, u64) -> Times;

/// Draws the times of a schedule.
pub fn draw(pace: &Pace, share: Share, seed: u64) -> Times {
    Box::new(Schedule::new(pace, share, seed))
}

/// A worker's share of the schedule.
pub struct Due {
    draw: Draw,
    pace: Pace,
    share: Share,
    seed: u64,
    times: Times,
    begin_ns: u64,
    /// Whether this is the schedule of the window.
    in_window: bool,
    /// The next time; none after the last.
    pub next_ns: Option<u64>,
}

impl Due {
    /// Begins the warm-up. Without one nothing is due until the window opens.
    pub fn new(draw: Draw, pace: &Pace, share: Share, seed: u64, begin_ns: u64, warms_up: bool) -> Self {
        let times = match warms_up {
            // Not the seed of the window, which would repeat the warm-up.
            true => draw(&pace.as_it_begins(), share, !seed),
            false => Box::new(iter::empty()),
        };
        let mut due = Due {
            draw,
            pace: pace.clone(),
            share,
            seed,
            times,
            begin_ns,
            in_window: false,
            next_ns: None,
        };
        due.advance();
        due
    }

    /// The window opens at this time, at the end of time if it is not known yet. Times before it
    /// stay due.
    pub fn open_window(&mut self, start_ns: u64) {
        let is_known = start_ns < u64::MAX;
        if is_known && !self.in_window && self.next_ns.is_none_or(|next_ns| next_ns >= start_ns) {
            self.in_window = true;
            self.begin_ns = start_ns;
            self.times = (self.draw)(&self.pace, self.share, self.seed);
            self.advance();
        }
    }

    /// Moves on to the next time.
    pub fn advance(&mut self) {
        self.next_ns = self.times.next().map(|time_ns| self.begin_ns + time_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacer::Stage;
    use record::Arrivals;
    use std::time::Duration;

    #[test]
    fn the_window_has_the_whole_schedule_however_long_the_warm_up_was() {
        let pace = Pace {
            stages: vec![Stage {
                duration: Duration::from_secs(1),
                from: 10.0,
                to: 30.0,
            }],
            arrivals: Arrivals::Constant,
        };
        let share = Share { index: 0, of: 1 };
        let mut due = Due::new(draw, &pace, share, 1, 5_000_000_000, true);
        let mut times = Vec::new();
        while let Some(next_ns) = due.next_ns {
            times.push(next_ns);
            due.advance();
            // The window is known ahead of its start.
            if times.len() >= 3 {
                due.open_window(5_350_000_000);
            }
        }
        let warmup = [5_000_000_000, 5_100_000_000, 5_200_000_000, 5_300_000_000];
        assert_eq!(times[..4], warmup);
        let whole: Vec<_> = Schedule::new(&pace, share, 1)
            .map(|time_ns| 5_350_000_000 + time_ns)
            .collect();
        assert_eq!(times[4..], whole);
        assert_eq!(whole.len(), 20);
    }

    #[test]
    fn without_a_warm_up_nothing_is_due_before_the_window() {
        let pace = Pace {
            stages: vec![Stage::steady(Duration::from_secs(1), 10.0)],
            arrivals: Arrivals::Constant,
        };
        let share = Share { index: 0, of: 1 };
        let mut due = Due::new(draw, &pace, share, 1, 5_000_000_000, false);
        due.open_window(u64::MAX);
        assert_eq!(due.next_ns, None);
        due.open_window(5_350_000_000);
        assert_eq!(due.next_ns, Some(5_350_000_000));
    }
}
