//! Scripts of clients: what a client does on one connection, drawn from a seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// Everything that happens on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its number.
    pub number: u64,
    /// When it connects, relative to the first script.
    pub begins: Duration,
    /// Whether its connection takes little at a time.
    pub narrow: bool,
    /// What it does; the last step is [`Step::Reset`] or [`Step::End`].
    pub steps: Vec<Step>,
}

/// One action of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sends that many bytes.
    Write {
        /// How many.
        bytes: u64,
        /// Whether it reads meanwhile.
        reading: bool,
    },
    /// Sends nothing for a while.
    Pause {
        /// For how long.
        time: Duration,
        /// Whether it reads meanwhile.
        reading: bool,
    },
    /// Reads until everything is back.
    CatchUp,
    /// Ends its input with a FIN.
    HalfClose,
    /// Closes with a reset, even if data is outstanding.
    Reset,
    /// Reads until everything is back, and to the FIN after a half-close, then closes.
    End,
}

/// Number of steps before the end of a script.
const STEPS: std::ops::RangeInclusive<usize> = 2..=12;

/// Scripts begin within this time and pause for at most that long: they overlap, and a server
/// that serves one connection at a time still finishes them in seconds.
const BEGINS_MS: u64 = 500;
const PAUSE_MS: u64 = 25;

/// The longest write is two to this power, 4 MiB: a few of them exceed what both directions of
/// a connection hold, and a narrow connection takes a small part of one.
const LARGEST_WRITE: u32 = 22;

impl Script {
    /// The script of that number under a seed: a failed one can be replayed alone.
    pub fn new(seed: u64, number: u64) -> Self {
        // Mixed, so that neighbouring seeds have no script in common.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd134_2543_de82_ef95);
        let mut rng = Rng::with_seed(mixed);
        let begins = Duration::from_millis(rng.u64(..BEGINS_MS));
        let narrow = rng.bool();
        let mut steps: Vec<_> = (0..rng.usize(STEPS)).map(|_| step(&mut rng)).collect();
        steps.extend(end(&mut rng));
        Script {
            number,
            begins,
            narrow,
            steps,
        }
    }

    /// Whether every byte is due back on it.
    pub fn is_complete(&self) -> bool {
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

/// The first scripts of a seed, in the order in which they begin.
pub fn schedule(seed: u64, scripts: u64) -> Vec<Script> {
    let mut schedule: Vec<_> = (0..scripts).map(|number| Script::new(seed, number)).collect();
    schedule.sort_by_key(|script| script.begins);
    schedule
}

/// A length of up to two to a power. Every order of magnitude occurs, the larger ones more
/// often.
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

/// Half of the scripts half-close, and half of those pause afterwards; a third ends by a reset.
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
            Step::CatchUp => f.write_str("read until everything is back"),
            Step::HalfClose => f.write_str("half-close"),
            Step::Reset => f.write_str("reset"),
            Step::End => f.write_str("read to the end and close"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::kit::setup::SEED;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seed_determines_its_scripts_whatever_their_number(seed: u64, scripts in 0..50u64) {
            let all = schedule(seed, 50);
            let mut first = schedule(seed, scripts);
            first.retain(|script| !all.contains(script));
            prop_assert_eq!(first, []);
            prop_assert_eq!(schedule(seed, 50), all);
        }

        #[test]
        fn different_seeds_give_different_schedules(seed: u64, other: u64) {
            prop_assume!(seed != other);
            prop_assert_ne!(schedule(seed, 10), schedule(other, 10));
        }

        #[test]
        fn a_script_ends_once_and_writes_nothing_after_its_half_close(seed: u64, number: u64) {
            let script = Script::new(seed, number);
            let (end, rest) = script.steps.split_last().unwrap();
            prop_assert!(matches!(end, Step::End | Step::Reset));
            prop_assert!(!rest.iter().any(|step| matches!(step, Step::End | Step::Reset)));
            let mut after = rest.iter().skip_while(|step| **step != Step::HalfClose).skip(1);
            let only_pauses = after.all(|step| matches!(step, Step::Pause { .. }));
            prop_assert!(only_pauses);
        }
    }

    #[test]
    fn the_scripts_of_the_default_seed_contain_every_kind_of_step() {
        let scripts = schedule(SEED, 50);
        let steps = || scripts.iter().flat_map(|script| &script.steps);
        let resets = scripts.iter().filter(|script| !script.is_complete()).count();
        assert!((5..20).contains(&resets), "{resets}");
        assert!(steps().filter(|step| **step == Step::HalfClose).count() >= 5);
        let without_reading = |step: &&Step| {
            matches!(
                step,
                Step::Write {
                    bytes: 1_000_000..,
                    reading: false
                }
            )
        };
        assert!(steps().filter(without_reading).count() >= 2);
        let bytes: u64 = scripts.iter().map(Script::bytes).sum();
        assert!((10_000_000..80_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_step_is_shown_in_words() {
        let step = Step::Write {
            bytes: 7,
            reading: false,
        };
        assert_eq!(step.to_string(), "write 7 bytes without reading");
    }
}
