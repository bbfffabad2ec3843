//! Whether the windows of a scenario are sliced, and how long a slice is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use loadgen::can_be_sliced;
use loadgen::plan::CheckedPlan;
use record::units::Time;
use record::{Plan, Slice, units};

/// The shortest slice: long against the wake-ups at its start and its end.
const SHORTEST: Duration = Duration::from_millis(20);

/// What a slice has for each message in flight. A turn of 1,000 connections takes 18 ms, and a slice
/// should hold several answers of each.
const PER_MESSAGE: Duration = Duration::from_micros(30);

/// Descriptors that the harness needs for each server, beside its connections.
const PER_SERVER: usize = 16;

/// Descriptors that it needs for itself.
const OWN: usize = 128;

/// How long a slice of this length runs before it is measured.
pub fn settle(slice: Duration) -> Duration {
    slice / Slice::SETTLING
}

/// Turns until each server has been measured for the time that a plan asks for.
fn turns(plan: &Plan, slice: Duration) -> u32 {
    plan.duration().0.div_duration_f64(slice).ceil() as u32
}

/// A slice holds this many answers of each connection, at least. Of a server that the harness starts the
/// answers come at all times. Over a network they come together, a round trip after the start of the
/// slice, so the last of them may or may not be counted: one in many must not matter.
const ANSWERS: u32 = 2;
const ANSWERS_OVER_A_NETWORK: u32 = 50;

/// How long a slice has to be for a server that answered so many messages in a slice.
pub fn slice_needed(plan: &Plan, measured: Duration, echoes: u64, is_own: bool) -> Duration {
    let in_flight = plan.connections() as f64 * f64::from(plan.depth);
    let answers = if is_own { ANSWERS } else { ANSWERS_OVER_A_NETWORK };
    // One that answered nothing would have answered half a message.
    let rounds = (echoes as f64).max(0.5) / in_flight;
    let round = Duration::try_from_secs_f64(measured.as_secs_f64() / rounds);
    round.unwrap_or(Duration::MAX).saturating_mul(answers)
}

/// Slices that other programs disturbed are made up for by further turns, until this many times the time
/// that was planned has been measured.
const MOST_TIME: u32 = 2;

/// Counts the turns of a block.
#[derive(Debug)]
pub struct Turns {
    planned: Duration,
    begun: u32,
    /// Measured without disturbance, as a mean over the servers.
    undisturbed: Duration,
    all: Duration,
}

impl Turns {
    /// The turns that a plan asks for.
    pub fn of(plan: &Plan) -> Self {
        Turns {
            planned: plan.duration().0,
            begun: 0,
            undisturbed: Duration::ZERO,
            all: Duration::ZERO,
        }
    }

    /// The number of the next turn, from 0; `None` if each server was measured for long enough.
    pub fn begin(&mut self) -> Option<u32> {
        let is_due = self.undisturbed < self.planned && self.all < self.planned * MOST_TIME;
        is_due.then(|| {
            self.begun += 1;
            self.begun - 1
        })
    }

    /// A turn has ended whose slices had this length, and of which this share was disturbed.
    pub fn ended(&mut self, slice: Duration, disturbed: f64) {
        self.all += slice;
        self.undisturbed += slice.mul_f64(1.0 - disturbed);
    }
}

/// The time of a whole window in slices.
pub fn time(plan: &Plan, slice: Duration) -> Duration {
    turns(plan, slice) * (slice + settle(slice))
}

/// How the windows of the servers in a block lie in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Slicing {
    /// In slices if the load can be sliced, else one after the other.
    #[default]
    Auto,
    /// One after the other.
    Off,
    /// In slices of this length.
    Every(Duration),
}

/// As it is parsed.
impl fmt::Display for Slicing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Slicing::Auto => f.write_str("auto"),
            Slicing::Off => f.write_str("off"),
            Slicing::Every(slice) => Time(*slice).fmt(f),
        }
    }
}

/// `auto`, `off`, or a time.
impl FromStr for Slicing {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "auto" => Ok(Slicing::Auto),
            "off" => Ok(Slicing::Off),
            time => {
                let slice = units::time(time).context("give `auto`, `off`, or a time such as 20ms")?;
                ensure!(slice >= Duration::from_millis(1), "a slice lasts at least 1ms");
                Ok(Slicing::Every(slice))
            }
        }
    }
}

impl Slicing {
    /// The length of the slices; `None` for whole windows. `shared_descriptors` is how many this process may
    /// open, if the connections of all servers count together. An error if slices are asked for and
    /// impossible.
    pub fn slice(
        self,
        plan: &CheckedPlan,
        servers: usize,
        shared_descriptors: Option<u64>,
    ) -> anyhow::Result<Option<Duration>> {
        if self == Slicing::Off {
            return Ok(None);
        }
        match (obstacle(plan, servers, shared_descriptors), self) {
            (None, Slicing::Every(slice)) => Ok(Some(slice)),
            (None, _) => Ok(Some(usual(plan))),
            (Some(obstacle), Slicing::Every(_)) => bail!("its windows cannot be sliced: {obstacle}"),
            (Some(_), _) => Ok(None),
        }
    }
}

/// What keeps the windows of a load from being sliced.
fn obstacle(plan: &CheckedPlan, servers: usize, shared_descriptors: Option<u64>) -> Option<String> {
    if !can_be_sliced(plan) {
        return Some(
            "only a closed loop that keeps its connections, opens none again and does not think can rest between slices"
                .into(),
        );
    }
    let words = plan.words();
    let connections = words.connections() + words.idle;
    let needed = (OWN + servers * (connections + PER_SERVER)) as u64;
    let limit = shared_descriptors.filter(|&limit| needed > limit)?;
    Some(format!(
        "{servers} servers with {connections} connections each need {needed} descriptors, and this process may \
         open {limit}"
    ))
}

fn usual(plan: &CheckedPlan) -> Duration {
    let words = plan.words();
    let in_flight = words.connections() as u32 * words.depth;
    SHORTEST + PER_MESSAGE * in_flight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::NO_TARGET;

    fn plan(connections: usize, change: impl FnOnce(&mut Plan)) -> CheckedPlan {
        let mut plan = Plan {
            connections: Some(connections),
            ..Plan::default()
        };
        change(&mut plan);
        CheckedPlan::new(&plan, NO_TARGET).unwrap()
    }

    #[test]
    fn a_slice_holds_several_answers_of_each_connection() {
        let slice = |connections| {
            let plan = plan(connections, |_| {});
            Slicing::Auto.slice(&plan, 7, None).unwrap().unwrap()
        };
        assert_eq!(slice(1), Duration::from_micros(20_030));
        assert_eq!(slice(1000), Duration::from_millis(50));
    }

    #[test]
    fn a_slow_server_needs_longer_slices() {
        let plan = plan(100, |_| {});
        let needed = |milliseconds, echoes, is_own| {
            slice_needed(plan.words(), Duration::from_millis(milliseconds), echoes, is_own)
        };
        // 1,000 answers are ten of each connection.
        assert_eq!(needed(50, 1000, true), Duration::from_millis(10));
        assert_eq!(needed(50, 1000, false), Duration::from_millis(250));
        assert_eq!(needed(100, 100, true), Duration::from_millis(200));
        assert_eq!(needed(100, 0, true), Duration::from_secs(40));
    }

    #[test]
    fn a_window_in_slices_lasts_as_long_as_the_plan_asks_for_and_settles_in_between() {
        let plan = plan(10, |plan| plan.duration = "210ms".parse().ok());
        let slice = Duration::from_millis(50);
        assert_eq!(turns(plan.words(), slice), 5);
        assert_eq!(time(plan.words(), slice), Duration::from_millis(5 * 60));
    }

    #[test]
    fn disturbed_slices_are_made_up_for_as_long_as_there_are_not_too_many() {
        let plan = plan(10, |plan| plan.duration = "100ms".parse().ok());
        let run = |share: f64, disturbed: &[u32]| {
            let mut turns = Turns::of(plan.words());
            let mut all = Vec::new();
            while let Some(turn) = turns.begin() {
                all.push(turn);
                let share = if disturbed.contains(&turn) { share } else { 0.0 };
                turns.ended(Duration::from_millis(25), share);
            }
            all
        };
        assert_eq!(run(1.0, &[]), [0, 1, 2, 3]);
        assert_eq!(run(1.0, &[1, 4]), [0, 1, 2, 3, 4, 5]);
        // Two servers of four in two turns are one turn in all.
        assert_eq!(run(0.5, &[1, 2]), [0, 1, 2, 3, 4]);
        let all: Vec<u32> = (0..100).collect();
        assert_eq!(run(1.0, &all), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn loads_that_cannot_rest_and_crowds_that_do_not_fit_have_whole_windows() {
        let open = plan(10, |plan| plan.rate = Some("1k/s".parse().unwrap()));
        let churn = plan(10, |plan| plan.messages_per_connection = Some(3));
        let thinking = plan(10, |plan| plan.think = "5ms".parse().unwrap());
        let reopening = plan(10, |plan| plan.reconnect = true);
        for plan in [open, churn, thinking, reopening] {
            assert_eq!(Slicing::Auto.slice(&plan, 2, None).unwrap(), None);
            let error = "10ms".parse::<Slicing>().unwrap().slice(&plan, 2, None);
            assert!(error.unwrap_err().to_string().contains("closed loop"));
        }
        let crowd = plan(1000, |_| {});
        assert!(Slicing::Auto.slice(&crowd, 29, None).unwrap().is_some());
        let shared = Some(20_000);
        assert!(Slicing::Auto.slice(&crowd, 19, shared).unwrap().is_some());
        assert_eq!(Slicing::Auto.slice(&crowd, 29, shared).unwrap(), None);
        let error = Slicing::Every(SHORTEST).slice(&crowd, 29, shared).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("29 servers with 1000 connections each need")
        );
    }

    #[test]
    fn a_slicing_is_a_word_or_a_time() {
        let parse = |text: &str| text.parse::<Slicing>();
        assert_eq!(parse("auto").unwrap(), Slicing::Auto);
        assert_eq!(parse("off").unwrap(), Slicing::Off);
        assert_eq!(parse("35ms").unwrap(), Slicing::Every(Duration::from_millis(35)));
        for wrong in ["", "on", "20", "0ms", "1us"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
