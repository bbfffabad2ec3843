//! What a client does in a random walk, as a value that follows from a seed alone.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// The life of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Which one it is.
    pub number: u64,
    /// When it connects, counted from the first.
    pub begins: Duration,
    /// Whether it takes little at a time.
    pub narrow: bool,
    /// What it does; [`Step::Reset`] or [`Step::End`] is the last.
    pub steps: Vec<Step>,
}

/// One thing that a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sends so many bytes.
    Write { bytes: u64, reading: bool },
    /// Sends nothing for a while.
    Pause { time: Duration, reading: bool },
    /// Reads until everything is back.
    CatchUp,
    /// Says that there is no more input.
    HalfClose,
    /// Closes with a reset, whatever is on its way.
    Reset,
    /// Reads until everything is back, after a half-close also to the end, and closes.
    End,
}

/// Steps of a walk before its end.
const STEPS: std::ops::RangeInclusive<usize> = 2..=12;

/// Clients begin within so many milliseconds, and pause for as many at most: they overlap, and
/// those of a server that serves one at a time are done in seconds.
const BEGINS_MS: u64 = 500;
const PAUSE_MS: u64 = 25;

/// Writes have up to two to the power of this many bytes, which is 4 MiB: a few of them are more
/// than both directions of a connection hold, and a small part is for one that is narrow.
const LARGEST_WRITE: u32 = 22;

impl Walk {
    /// The walk of that number under a seed: one that failed can be taken by itself.
    pub fn new(seed: u64, number: u64) -> Self {
        // Neighbouring seeds are to share no walk.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd134_2543_de82_ef95);
        let mut rng = Rng::with_seed(mixed);
        let begins = Duration::from_millis(rng.u64(..BEGINS_MS));
        let narrow = rng.bool();
        let mut steps: Vec<_> = (0..rng.usize(STEPS)).map(|_| step(&mut rng)).collect();
        steps.extend(end(&mut rng));
        Walk {
            number,
            begins,
            narrow,
            steps,
        }
    }

    /// Whether everything is due back on it.
    pub fn is_whole(&self) -> bool {
        self.steps.last() == Some(&Step::End)
    }

    /// How many bytes it sends.
    pub fn bytes(&self) -> u64 {
        let bytes = |step: &Step| match step {
            Step::Write { bytes, .. } => *bytes,
            _ => 0,
        };
        self.steps.iter().map(bytes).sum()
    }
}

/// So many walks of a seed, in the order in which they begin.
pub fn schedule(seed: u64, walks: u64) -> Vec<Walk> {
    let mut schedule: Vec<_> = (0..walks).map(|number| Walk::new(seed, number)).collect();
    schedule.sort_by_key(|walk| walk.begins);
    schedule
}

/// A length of up to two to a power: there are some of every order of magnitude, and large ones
/// are more often than small ones.
pub fn length(rng: &mut Rng, largest_power: u32) -> u64 {
    let power = rng.u32(..=largest_power).max(rng.u32(..=largest_power));
    rng.u64(1..=1 << power)
}

fn step(rng: &mut Rng) -> Step {
    match rng.u8(..8) {
        0..5 => Step::Write {
            bytes: length(rng, LARGEST_WRITE),
            reading: rng.bool(),
        },
        5..7 => pause(rng),
        _ => Step::CatchUp,
    }
}

fn pause(rng: &mut Rng) -> Step {
    Step::Pause {
        time: Duration::from_millis(rng.u64(1..=PAUSE_MS)),
        reading: rng.bool(),
    }
}

/// Half of all half-close, and wait a while before they look; a third are reset.
fn end(rng: &mut Rng) -> Vec<Step> {
    let mut steps = Vec::new();
    if rng.bool() {
        steps.push(Step::HalfClose);
        if rng.bool() {
            steps.push(pause(rng));
        }
    }
    steps.push(match rng.u8(..3) {
        0 => Step::Reset,
        _ => Step::End,
    });
    steps
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let while_reading = |reading| {
            if reading {
                "while reading"
            } else {
                "without reading"
            }
        };
        match *self {
            Step::Write { bytes, reading } => write!(f, "write {bytes} bytes {}", while_reading(reading)),
            Step::Pause { time, reading } => write!(f, "pause for {time:?} {}", while_reading(reading)),
            Step::CatchUp => f.write_str("read until all is back"),
            Step::HalfClose => f.write_str("half-close"),
            Step::Reset => f.write_str("reset"),
            Step::End => f.write_str("read to the end and close"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SEED;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_walks_and_more_of_them_the_same_first(seed: u64, walks in 0..50u64) {
            let all = schedule(seed, 50);
            let mut first = schedule(seed, walks);
            first.retain(|walk| !all.contains(walk));
            prop_assert_eq!(first, []);
            prop_assert_eq!(schedule(seed, 50), all);
        }

        #[test]
        fn another_seed_gives_another_schedule(seed: u64, other: u64) {
            prop_assume!(seed != other);
            prop_assert_ne!(schedule(seed, 10), schedule(other, 10));
        }

        #[test]
        fn a_walk_ends_once_and_writes_nothing_after_its_half_close(seed: u64, number: u64) {
            let walk = Walk::new(seed, number);
            let (end, rest) = walk.steps.split_last().unwrap();
            prop_assert!(matches!(end, Step::End | Step::Reset));
            prop_assert!(!rest.iter().any(|step| matches!(step, Step::End | Step::Reset)));
            let mut after = rest.iter().skip_while(|step| **step != Step::HalfClose).skip(1);
            let only_pauses = after.all(|step| matches!(step, Step::Pause { .. }));
            prop_assert!(only_pauses);
        }
    }

    /// What a few walks have to have in them to be worth the time.
    #[test]
    fn the_walks_that_are_taken_by_default_do_something_of_everything() {
        let walks = schedule(SEED, 50);
        let steps = || walks.iter().flat_map(|walk| &walk.steps);
        let resets = walks.iter().filter(|walk| !walk.is_whole()).count();
        assert!((5..20).contains(&resets), "{resets}");
        assert!(steps().filter(|step| **step == Step::HalfClose).count() >= 5);
        let deaf = |step: &&Step| {
            matches!(
                step,
                Step::Write {
                    bytes: 1_000_000..,
                    reading: false
                }
            )
        };
        assert!(steps().filter(deaf).count() >= 2);
        let bytes: u64 = walks.iter().map(Walk::bytes).sum();
        assert!((10_000_000..80_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_step_says_what_it_is() {
        let step = Step::Write {
            bytes: 7,
            reading: false,
        };
        assert_eq!(step.to_string(), "write 7 bytes without reading");
    }
}
