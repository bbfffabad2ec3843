//! Which side set the pace of a load, and whether the other side kept up.
//!
//! This is the only place that judges the generator's utilisation.

use std::fmt;

use crate::load::{Generator, Load};
use crate::plan::{LoopKind, Wait};

/// From this share of its threads' time on the generator counts as saturated. A thread that
/// never waits shows a little less than 1, since the kernel does not charge all of its work
/// for sockets to a thread.
pub const SATURATED: f64 = 0.9;

/// A server that echoes less than this share of the messages due did not keep up. Random arrivals
/// differ from their rate by less than that in any window of some seconds.
const KEPT_UP: f64 = 0.99;

/// Whether the generator had time to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saturation {
    /// It slept at times.
    None,
    /// It ran, or was ready to run while something else had its processors, all the time.
    HeldUp,
    /// It ran, or was ready to run while mostly a quota throttled it, all the time.
    Throttled,
    /// It ran all the time.
    Full,
    /// It busy-polls, so its utilisation does not tell.
    Unknown,
}

impl Saturation {
    fn of_sleeper(utilisation: f64, kept_waiting: f64, throttled: f64) -> Self {
        match () {
            () if utilisation >= SATURATED => Saturation::Full,
            () if utilisation + kept_waiting < SATURATED => Saturation::None,
            () if throttled > kept_waiting / 2.0 => Saturation::Throttled,
            () => Saturation::HeldUp,
        }
    }
}

impl Generator {
    /// Whether it busy-polls.
    pub fn spins(&self) -> bool {
        self.wait == Wait::Spin
    }

    /// Whether it had time to spare.
    pub fn saturation(&self) -> Saturation {
        match self.spins() {
            true => Saturation::Unknown,
            false => Saturation::of_sleeper(self.utilisation, self.kept_waiting, self.throttled()),
        }
    }
}

/// Which side set the pace of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaceSetter {
    /// The generator, which was saturated: the server may be faster.
    Generator,
    /// What else ran on the generator's processors: the server may be faster.
    OtherPrograms,
    /// The quota of the generator: the server may be faster.
    Quota,
    /// Closed loop: the server, or the path to it.
    Server,
    /// Closed loop with a think time: that, and the server or the path to it.
    ThinkTime,
    /// The schedule, with which the server kept up.
    Schedule,
    /// The server, or the path to it, which fell behind the schedule.
    ServerBehind,
    /// Closed loop of a generator that busy-polls.
    Unknown,
    /// A generator that busy-polls, or the server, fell behind the schedule.
    UnknownBehind,
}

impl PaceSetter {
    /// Which side set the pace of this load.
    pub fn of(load: &Load) -> Self {
        let saturation = load.generator.saturation();
        match load.plan.loop_kind() {
            LoopKind::Closed => PaceSetter::of_closed_loop(saturation, !load.plan.think.0.is_zero()),
            LoopKind::Open | LoopKind::PartlyOpen => PaceSetter::of_schedule(saturation, fell_behind(load)),
        }
    }

    fn of_closed_loop(saturation: Saturation, thinks: bool) -> Self {
        match saturation {
            Saturation::Full => PaceSetter::Generator,
            Saturation::HeldUp => PaceSetter::OtherPrograms,
            Saturation::Throttled => PaceSetter::Quota,
            Saturation::Unknown => PaceSetter::Unknown,
            Saturation::None if thinks => PaceSetter::ThinkTime,
            Saturation::None => PaceSetter::Server,
        }
    }

    fn of_schedule(saturation: Saturation, fell_behind: bool) -> Self {
        match saturation {
            Saturation::Full => PaceSetter::Generator,
            Saturation::HeldUp => PaceSetter::OtherPrograms,
            Saturation::Throttled => PaceSetter::Quota,
            Saturation::Unknown if fell_behind => PaceSetter::UnknownBehind,
            Saturation::None if fell_behind => PaceSetter::ServerBehind,
            Saturation::Unknown | Saturation::None => PaceSetter::Schedule,
        }
    }

    /// Whether the generator or its host was the limit: the server may be faster.
    pub fn is_generator(self) -> bool {
        matches!(
            self,
            PaceSetter::Generator | PaceSetter::OtherPrograms | PaceSetter::Quota
        )
    }
}

/// Whether less came back than was due. Nothing is due in a closed loop.
pub fn fell_behind(load: &Load) -> bool {
    let summary = &load.summary;
    let due = summary.offered_per_s.unwrap_or(0.0);
    let is_behind = summary.unanswered > 0 || (summary.echoes_per_s < due * KEPT_UP && !summary.is_valid());
    is_behind && load.plan.loop_kind() != LoopKind::Closed
}

impl fmt::Display for PaceSetter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            PaceSetter::Generator => "saturated: the server may be faster than this",
            PaceSetter::OtherPrograms => {
                "held up by other programs on its processors: the server may be faster than this"
            }
            PaceSetter::Quota => "throttled by its processor quota: the server may be faster than this",
            PaceSetter::Server => "not saturated: the server, or the path to it, set the pace",
            PaceSetter::ThinkTime => {
                "not saturated: the think time, the server and the path to it set the pace"
            }
            PaceSetter::Schedule => "not saturated: the schedule set the pace",
            PaceSetter::ServerBehind => "not saturated: the server, or the path to it, fell behind",
            PaceSetter::Unknown => "it busy-polls, so this does not tell which side set the pace",
            PaceSetter::UnknownBehind => "it busy-polls, so this does not tell which side fell behind",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_sleeps_is_saturated_by_its_own_time_or_held_up_by_others_or_a_quota() {
        let table = [
            (0.89, 0.0, 0.0, Saturation::None),
            (0.5, 0.39, 0.0, Saturation::None),
            (0.5, 0.39, 0.39, Saturation::None),
            (0.5, 0.4, 0.0, Saturation::HeldUp),
            (0.89, 0.2, 0.0, Saturation::HeldUp),
            (0.5, 0.4, 0.2, Saturation::HeldUp),
            (0.5, 0.4, 0.21, Saturation::Throttled),
            (0.9, 0.0, 0.0, Saturation::Full),
            (0.97, 0.5, 0.5, Saturation::Full),
        ];
        for (utilisation, kept_waiting, throttled, expected) in table {
            let saturation = Saturation::of_sleeper(utilisation, kept_waiting, throttled);
            assert_eq!(saturation, expected, "{utilisation}, {kept_waiting}, {throttled}");
        }
    }

    #[test]
    fn the_side_without_time_to_spare_sets_the_pace() {
        use PaceSetter::*;
        let table = [
            (Saturation::None, [Server, ThinkTime, Schedule, ServerBehind]),
            (Saturation::HeldUp, [OtherPrograms; 4]),
            (Saturation::Throttled, [Quota; 4]),
            (Saturation::Full, [Generator; 4]),
            (Saturation::Unknown, [Unknown, Unknown, Schedule, UnknownBehind]),
        ];
        for (saturation, expected) in table {
            let closed = [false, true].map(|thinks| PaceSetter::of_closed_loop(saturation, thinks));
            let open = [false, true].map(|behind| PaceSetter::of_schedule(saturation, behind));
            assert_eq!([closed, open].concat(), expected, "{saturation:?}");
        }
    }

    #[test]
    fn each_side_has_its_sentence() {
        let table = [
            (
                PaceSetter::Generator,
                "saturated: the server may be faster than this",
            ),
            (
                PaceSetter::OtherPrograms,
                "held up by other programs on its processors: the server may be faster than this",
            ),
            (
                PaceSetter::Quota,
                "throttled by its processor quota: the server may be faster than this",
            ),
            (
                PaceSetter::Server,
                "not saturated: the server, or the path to it, set the pace",
            ),
            (
                PaceSetter::ThinkTime,
                "not saturated: the think time, the server and the path to it set the pace",
            ),
            (PaceSetter::Schedule, "not saturated: the schedule set the pace"),
            (
                PaceSetter::ServerBehind,
                "not saturated: the server, or the path to it, fell behind",
            ),
            (
                PaceSetter::Unknown,
                "it busy-polls, so this does not tell which side set the pace",
            ),
            (
                PaceSetter::UnknownBehind,
                "it busy-polls, so this does not tell which side fell behind",
            ),
        ];
        for (setter, sentence) in table {
            assert_eq!(setter.to_string(), sentence);
        }
    }
}
